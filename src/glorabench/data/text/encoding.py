"""Examples as tokens. Prompt and completion are tokenised apart, so it is exact which token belongs to which.

A split is tokenised once and kept in the cache, by a key of examples, settings and tokenizer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from glorabench.data.cache import load_or_make
from glorabench.data.text.task import TextExample, TextSettings
from glorabench.data.text.templates import TEMPLATES
from glorabench.errors import BadInput, one_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_VERSION: Final = 1  # of the files in the cache
Tokens = NDArray[np.int32]


@dataclass(frozen=True)
class Encoded:
    """The rows of a split: one for each example, or one for each choice of an example.

    Args:
        tokens: of all rows, one after the other.
        starts: where each row begins; the last entry is the number of tokens.
        prompts: how many tokens of each row are prompt.
        owners: the example of each row.
        truncated: how many rows lost a part of their prompt.
    """

    tokens: Tokens
    starts: NDArray[np.int64]
    prompts: Tokens
    owners: Tokens
    truncated: int

    def __len__(self) -> int:
        return len(self.prompts)

    def row(self, index: int) -> Tokens:
        """The tokens of a row."""
        return self.tokens[self.starts[index] : self.starts[index + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of tokens of each row."""
        return np.diff(self.starts)


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
            one_of("data.truncate", self.settings.truncate, ("left", "right"))
        if self.context is not None and self.settings.max_length > self.context:
            raise BadInput(
                f"data.max_length is {self.settings.max_length}, but the backbone reads {self.context} tokens at most: "
                f"data.max_length={self.context}"
            )
        if self.tokenizer.eos_token_id is None:
            raise BadInput("the tokenizer has no token that ends a text (eos): set eos_token in tokenizer_config.json")

    def split(self, examples: Sequence[TextExample], fingerprint: str, all_choices: bool, cache: Path) -> Encoded:
        """The rows of a split, out of the cache or tokenised now.

        Args:
            examples: of the split.
            fingerprint: of the examples.
            all_choices: a row for every choice, not for the right one only.
            cache: the folder of the cache.
        """
        settings = self.settings  # of these the tokens depend on three
        chosen = [settings.template, settings.max_length, settings.truncate]
        frame = [] if self.start is None else [self._frame]
        key = [_VERSION, fingerprint, self.digest, all_choices, *chosen, *frame]
        name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
        return load_or_make(
            cache / "tokens" / name,
            lambda: _load(cache / "tokens" / name),
            lambda: self.encode(examples, all_choices),
            _save,
        )

    def encode(self, examples: Sequence[TextExample], all_choices: bool) -> Encoded:
        """Tokenise examples. A completion ends with the token that ends a text; a choice that is only scored does not.

        Raises:
            BadInput: a completion is empty, or an example is longer than data.max_length and must not be cut.
        """
        template = TEMPLATES[self.settings.template]
        prompts = self._ids([template.format(prompt=example.prompt) if example.prompt else "" for example in examples])
        endings = [
            (i, ending) for i, e in enumerate(examples) for ending in (e.choices if all_choices else (e.completion,))
        ]
        if empty := [i for i, ending in endings if not ending.strip()]:
            raise BadInput(f"example {empty[0]} has an empty completion: remove it from the data")
        completions = self._ids([ending for _, ending in endings])
        end = [] if all_choices else [self.tokenizer.eos_token_id]
        rows, sizes, truncated = [], [], 0
        for (owner, _), completion in zip(endings, completions, strict=True):
            prompt, is_cut = self._fit(prompts[owner], len(completion) + len(end), owner)
            rows.append([*prompt, *completion, *end])
            sizes.append(len(prompt))
            truncated += is_cut
        return Encoded(
            tokens=np.array([token for row in rows for token in row], np.int32),
            starts=np.cumsum([0, *map(len, rows)]),
            prompts=np.array(sizes, np.int32),
            owners=np.array([owner for owner, _ in endings], np.int32),
            truncated=truncated,
        )

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

    def _fit(self, prompt: list[int], completion: int, example: int) -> tuple[list[int], bool]:
        """The prompt with its special tokens, cut if it must be; whether it was."""
        before, behind = self._frame
        room = self.settings.max_length - completion - len(before) - len(behind)
        if room < 0:
            raise BadInput(f"the completion of example {example} alone is longer than data.max_length: raise it")
        if len(prompt) <= room:
            return [*before, *prompt, *behind], False
        if self.settings.truncate is None:
            total = self.settings.max_length - room + len(prompt)
            raise BadInput(
                f"example {example} has {total} tokens, more than data.max_length={self.settings.max_length}: raise "
                "it, or let prompts be cut with data.truncate=left or right"
            )
        part = prompt[len(prompt) - room :] if self.settings.truncate == "left" else prompt[:room]
        return [*before, *part, *behind], True


def _save(folder: Path, encoded: Encoded) -> None:
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in vars(encoded).items()}
    np.savez(folder / "rows.npz", **arrays)


def _load(folder: Path) -> Encoded:
    with np.load(folder / "rows.npz") as arrays:
        return Encoded(
            **{name: arrays[name] for name in arrays.files if name != "truncated"}, truncated=int(arrays["truncated"])
        )


def fingerprint_of_examples(splits: Mapping[str, Sequence[TextExample]]) -> str:
    """Sha256 over the names of splits and all that their examples say."""
    digest = hashlib.sha256()
    for name, examples in splits.items():
        digest.update(json.dumps([name, [list(vars(example).values()) for example in examples]]).encode())
    return digest.hexdigest()
