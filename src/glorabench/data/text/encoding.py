"""Examples as tokens. Prompt and completion are tokenised apart, so it is exact which token belongs to which.

A split is tokenised once and kept in the cache, by a key of examples, settings and tokenizer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from glorabench.data.cache import load_or_make
from glorabench.data.text.task import TextExample, TextSettings
from glorabench.data.text.templates import TEMPLATES, chat_template
from glorabench.errors import BadInput, one_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_VERSION: Final = 1  # of the files in the cache
TRUNCATIONS: Final = ("left", "right", "end", "split")
Tokens = NDArray[np.int32]


@dataclass(frozen=True)
class Encoded:
    """The rows of a split: one for each example, or one for each choice of an example, or several for a long text.

    Args:
        tokens: of all rows, one after the other.
        starts: where each row begins; the last entry is the number of tokens.
        prompts: how many tokens of each row are prompt.
        owners: the example of each row.
        truncated: how many rows lost a part.
        dropped: how many examples have no row, because cutting left nothing of them to score.
        scored: of chats, which tokens are of a turn of the assistant; None where all after the prompt are scored.
    """

    tokens: Tokens
    starts: NDArray[np.int64]
    prompts: Tokens
    owners: Tokens
    truncated: int
    dropped: int = 0
    scored: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.prompts)

    def row(self, index: int) -> Tokens:
        """The tokens of a row."""
        return self.tokens[self.starts[index] : self.starts[index + 1]]

    def targets(self, index: int, with_prompt: bool) -> NDArray[np.int64]:
        """The places, in a row, of the tokens that are scored; the first token of a row never is.

        Args:
            index: of the row.
            with_prompt: score all of the row, the prompt or the turns of the user included.
        """
        size = int(self.starts[index + 1] - self.starts[index])
        if self.scored is not None and not with_prompt:
            places = np.flatnonzero(self.scored[self.starts[index] : self.starts[index + 1]])
            return places[places > 0]
        return np.arange(1 if with_prompt else max(1, int(self.prompts[index])), size)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of tokens of each row."""
        return np.diff(self.starts)


@dataclass(frozen=True)
class _Row:
    """The tokens of a row: the prompt, what is scored, or, in a chat, which of the tokens are."""

    owner: int
    prompt: list[int]
    rest: list[int]
    scored: list[bool] | None = None
    is_cut: bool = False


@dataclass(frozen=True)
class Encoder:
    """How examples become tokens.

    Args:
        tokenizer: of the backbone.
        digest: sha256 of the tokenizer.
        settings: of the task.
        context: the most tokens that the backbone reads; None is no limit.
        start: the token with which a decoder begins, where an encoder reads the prompt. For an encoder a prompt has the
            special tokens that the tokenizer gives a text; in one row with its completion it has the token that begins
            a text, if there is one.
    """

    tokenizer: PreTrainedTokenizerBase
    digest: str
    settings: TextSettings
    context: int | None
    start: int | None = None

    def __post_init__(self) -> None:
        one_of("data.template", self.settings.template, TEMPLATES)
        if self.settings.truncate is not None:
            one_of("data.truncate", self.settings.truncate, TRUNCATIONS)
        if self.context is not None and self.settings.max_length > self.context:
            raise BadInput(
                f"data.max_length is {self.settings.max_length}, but the backbone reads {self.context} tokens at most: "
                f"data.max_length={self.context}"
            )
        if self.tokenizer.eos_token_id is None:
            raise BadInput("the tokenizer has no token that ends a text (eos): set eos_token in tokenizer_config.json")

    def split(
        self, examples: Sequence[TextExample], fingerprint: str, all_choices: bool, cache: Path, whole: bool = False
    ) -> Encoded:
        """The rows of a split, out of the cache or tokenised now.

        Args:
            examples: of the split.
            fingerprint: of the examples.
            all_choices, whole: see `encode`.
            cache: the folder of the cache.
        """
        settings = self.settings  # of these the tokens depend on three
        chosen = [settings.template, settings.max_length, settings.truncate]
        frame = [] if self.start is None else [self._frame]
        key = [_VERSION, fingerprint, self.digest, all_choices, *chosen, *([self.context] if whole else []), *frame]
        name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
        return load_or_make(
            cache / "tokens" / name,
            lambda: _load(cache / "tokens" / name),
            lambda: self.encode(examples, all_choices, whole),
            _save,
        )

    def encode(self, examples: Sequence[TextExample], all_choices: bool, whole: bool = False) -> Encoded:
        """Tokenise examples. A completion ends with the token that ends a text; a choice that is only scored does not.

        Args:
            examples: to tokenise.
            all_choices: a row for every choice, not for the right one only. A choice is never cut.
            whole: keep what the backbone can read, though it be longer than data.max_length, for prompts to answer.

        Raises:
            BadInput: a completion is empty, or an example is longer than data.max_length and must not be cut.
        """
        is_chat = any(example.turns for example in examples)
        rows = list(self._chats(examples) if is_chat else self._completions(examples, all_choices, whole))
        dropped = len(examples) - len({row.owner for row in rows})
        if examples and not rows:
            raise BadInput(f"no example has anything to score within data.max_length={self.settings.max_length}")
        return Encoded(
            tokens=np.array([token for row in rows for token in (*row.prompt, *row.rest)], np.int32),
            starts=np.cumsum([0, *(len(row.prompt) + len(row.rest) for row in rows)]),
            prompts=np.array([len(row.prompt) for row in rows], np.int32),
            owners=np.array([row.owner for row in rows], np.int32),
            truncated=sum(row.is_cut for row in rows),
            dropped=dropped,
            scored=np.array([flag for row in rows for flag in row.scored or ()], np.bool_) if is_chat else None,
        )

    def _completions(self, examples: Sequence[TextExample], all_choices: bool, whole: bool) -> Iterator[_Row]:
        """The rows of prompts and completions. What is cut down to its prompt has none."""
        template = TEMPLATES[self.settings.template]
        prompts = self._ids([template.render(example) for example in examples])
        endings = [
            (i, ending) for i, e in enumerate(examples) for ending in (e.choices if all_choices else (e.completion,))
        ]
        if empty := [i for i, ending in endings if not ending.strip()]:
            raise BadInput(f"example {empty[0]} has an empty completion: remove it from the data")
        completions = self._ids([ending for _, ending in endings])
        end = [] if all_choices else self._end
        for (owner, _), completion in zip(endings, completions, strict=True):
            if self.settings.truncate == "end" and not (all_choices or whole):
                row = self._cut_end(owner, prompts[owner], [*completion, *end])
                yield from [row] if row.rest else []
            elif self.settings.truncate == "split":
                yield from self._parts(owner, prompts[owner], [*completion, *end])
            else:
                prompt, is_cut = self._fit(prompts[owner], len(completion) + len(end), owner, whole)
                yield _Row(owner, prompt, [*completion, *end], is_cut=is_cut)

    def _chats(self, examples: Sequence[TextExample]) -> Iterator[_Row]:
        """The rows of chats, tokenised turn by turn. What is cut until no turn of the assistant is left has none."""
        template = chat_template(self.settings.template)
        blank = " " if template.blank and not self._writes_blanks() else ""
        for owner, example in enumerate(examples):
            texts = [
                (blank if role == "assistant" else "") + template.turn(role, text, example.prompt if n == 0 else None)
                for n, (role, text) in enumerate(example.turns)
            ]
            tokens, scored = list(self._begin), [False] * len(self._begin)
            for number, ((role, _), ids) in enumerate(zip(example.turns, self._ids(texts), strict=True)):
                is_answer = role == "assistant"
                begin = self._begin if template.restarts and number and not is_answer else []
                tokens += [*begin, *ids, *(self._end if is_answer else [])]
                scored += [False] * len(begin) + [is_answer] * (len(ids) + is_answer * len(self._end))
            row = self._fit_chat(owner, tokens, scored)
            if row.scored and any(row.scored[1:]):
                yield row

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        return self.tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []  # type: ignore[return-value]

    @cached_property
    def _frame(self) -> tuple[list[int], list[int]]:
        """The special tokens before and behind a prompt."""
        if self.start is None:
            begin = self.tokenizer.bos_token_id
            return ([] if begin is None else [int(begin)]), []  # type: ignore[arg-type]
        (bare,), whole = self._ids(["a"]), list(self.tokenizer("a")["input_ids"])  # type: ignore[arg-type]
        start = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
        return whole[:start], whole[start + len(bare) :]

    @property
    def _begin(self) -> list[int]:
        """The tokens that begin a text, if there are any."""
        return self._frame[0]

    @property
    def _end(self) -> list[int]:
        return [int(self.tokenizer.eos_token_id)]  # type: ignore[arg-type]

    def _writes_blanks(self) -> bool:
        """True where the tokenizer writes a blank before every text, as that of Llama does."""
        (first, *_), (second, *_) = self._ids(["a b", " a b"])
        return first == second or str(self.tokenizer.convert_ids_to_tokens(first)).startswith(("\u2581", "\u0120"))

    def _fit(self, prompt: list[int], completion: int, example: int, whole: bool) -> tuple[list[int], bool]:
        """The prompt with its special tokens, cut if it must be; whether it was."""
        before, behind = self._frame
        most = self.context if whole else self.settings.max_length
        room = len(prompt) if most is None else most - completion - len(before) - len(behind)
        if room < 0:
            way = "be cut, too, with data.truncate=end" if prompt else "be divided with data.truncate=split"
            raise BadInput(
                f"the completion of example {example} alone is longer than data.max_length: raise it, or let "
                f"completions {way}"
            )
        if len(prompt) <= room:
            return [*before, *prompt, *behind], False
        if self.settings.truncate is None:
            raise self._too_long(example, len(before) + len(prompt) + len(behind) + completion)
        cut = prompt[:room] if self.settings.truncate == "right" else prompt[len(prompt) - room :]
        return [*before, *cut, *behind], True

    def _too_long(self, example: int, total: int) -> BadInput:
        return BadInput(
            f"example {example} has {total} tokens, more than data.max_length={self.settings.max_length}: raise "
            "it, or let prompts be cut with data.truncate=left or right"
        )

    def _cut_end(self, owner: int, prompt: list[int], completion: list[int]) -> _Row:
        """Prompt and completion, cut together at data.max_length."""
        before, behind = self._frame
        prompt, most = [*before, *prompt, *behind], self.settings.max_length
        is_cut = len(prompt) + len(completion) > most
        return _Row(owner, prompt[:most], completion[: max(0, most - len(prompt))], is_cut=is_cut)

    def _parts(self, owner: int, prompt: list[int], text: list[int]) -> Iterator[_Row]:
        """A long text as several rows. Each begins with the token that begins a text; no token is lost."""
        if prompt:
            raise BadInput(
                f"data.truncate=split divides texts, but example {owner} has a prompt: data.truncate=left, right or end"
            )
        size = self.settings.max_length - len(self._begin)
        for start in range(0, len(text), size):
            if len(self._begin) + len(text[start : start + size]) > 1:  # else nothing in it is predicted
                yield _Row(owner, list(self._begin), text[start : start + size])

    def _fit_chat(self, owner: int, tokens: list[int], scored: list[bool]) -> _Row:
        """A chat, cut at data.max_length if it must be."""
        most = self.settings.max_length
        is_cut = len(tokens) > most
        if is_cut and self.settings.truncate in (None, "split"):
            raise self._too_long(owner, len(tokens))
        if is_cut and self.settings.truncate == "left":
            keep = most - len(self._begin)
            tokens = [*self._begin, *tokens[len(tokens) - keep :]]
            scored = [False] * len(self._begin) + scored[len(scored) - keep :]
        return _Row(owner, [], tokens[:most], scored[:most], is_cut)


def _save(folder: Path, encoded: Encoded) -> None:
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in vars(encoded).items() if value is not None}
    np.savez(folder / "rows.npz", **arrays)


def _load(folder: Path) -> Encoded:
    with np.load(folder / "rows.npz") as arrays:
        values: dict[str, Any] = {name: arrays[name] for name in arrays.files}
    values |= {name: int(values[name]) for name in ("truncated", "dropped") if name in values}
    return Encoded(**values)


def fingerprint_of_examples(splits: Mapping[str, Sequence[TextExample]]) -> str:
    """Sha256 over the names of splits and all that their examples say."""
    digest = hashlib.sha256()
    for name, examples in splits.items():
        digest.update(json.dumps([name, [_content(example) for example in examples]]).encode())
    return digest.hexdigest()


def _content(example: TextExample) -> list[Any]:
    """All that an example says. What only some have counts only where it is there."""
    values = list(vars(example).values())
    further = {name: value for name, value in list(vars(example).items())[4:] if value}
    return [*values[:4], *([further] if further else [])]
