"""Text tasks: what an example is, and what a task asks a model to do with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from glorabench.data.task import LeakError
from glorabench.errors import BadInput

TextKind = Literal["generation", "multiple_choice", "language_modelling"]


@dataclass(frozen=True)
class TextExample:
    """One example.

    Args:
        prompt: what stands before the completion; empty in language modelling.
        completion: what the model should write, or, in multiple choice, the right answer.
        choices: the answers to choose from, in multiple choice, or the words of which a generated text names one.
        needed: words that a good completion contains, where the task scores them, or the right answer in a word.
        context: a text that the prompt is about, where the template has a place of its own for it.
        turns: of a chat, as (role, text), the roles user and assistant in turn; prompt is then its system text.
        group: the test set that the example is of, where a task has several under one mean.
    """

    prompt: str
    completion: str
    choices: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    context: str = ""
    turns: tuple[tuple[str, str], ...] = ()
    group: str = ""

    @property
    def answer(self) -> int:
        """The place of the right answer among the choices."""
        return self.choices.index(self.completion)


@dataclass(frozen=True)
class TextSettings:
    """How a task is put to a model: part of the identity of a run.

    Args:
        template: the name of the prompt template.
        max_length: the most tokens of prompt and completion.
        truncate: the side from which a longer prompt or chat is cut, `left` or `right`; `end` cuts the end of prompt
            and completion together, in training; `split` divides a text without a prompt into several rows; None
            refuses what is longer.
        loss_on: `response`, or `all` tokens, the prompt included.
        max_new_tokens: the most tokens that are generated for an example.
        pack: put several examples into one row of a training batch.
        num_beams: the beams of a beam search; 1 takes the likeliest token each time.

    Raises:
        BadInput: a number of tokens is too small.
    """

    template: str
    max_length: int
    truncate: str | None
    loss_on: str
    max_new_tokens: int
    pack: bool = False
    num_beams: int = 1

    def __post_init__(self) -> None:
        for name, least in (("max_length", 4), ("max_new_tokens", 1), ("num_beams", 1)):
            if getattr(self, name) < least:
                raise BadInput(f"data.{name} must be at least {least}, got {getattr(self, name)}")


@dataclass(frozen=True)
class TextTask:
    """What a task is.

    Args:
        suite, name, group: what it is called and what its mean is part of.
        kind: what is asked: `generation`, `multiple_choice` or `language_modelling`.
        metrics: the names of its metrics; the first decides.
        splits: train, val, trainval and test.
        fingerprint: of the examples.
        settings: how it is put to a model.
        cache_dir: the folder below which tokens are kept.
        facts: what else a record says of the data.
        groups: the names of the test sets under one mean, where the examples of test belong to several.
    """

    reads: ClassVar[str] = "tokens"

    suite: str
    name: str
    group: str
    kind: TextKind
    metrics: tuple[str, ...]
    splits: Mapping[str, Sequence[TextExample]]
    fingerprint: str
    settings: TextSettings
    cache_dir: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] = ()

    @property
    def tests(self) -> list[str]:
        """The test sets: `test`, then further ones."""
        return ["test", *(name for name in self.splits if name not in ("train", "val", "trainval", "test"))]

    def split(self, name: str) -> Sequence[TextExample]:
        """Train, val or trainval.

        Raises:
            LeakError: asked for a test set, which only the final test step opens.
        """
        if name not in ("train", "val", "trainval"):
            raise LeakError("test labels are read by the final test step only")
        return self.splits[name]
