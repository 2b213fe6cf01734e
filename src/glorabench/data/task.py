"""What every task has, whatever its examples are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol


class LeakError(RuntimeError):
    """Somebody asked for test labels outside the one final test step."""


class Task(Protocol):
    """A task: splits of examples, and what they are called.

    Its class says by `reads` what a backbone has to read (`images` or `tokens`), so that a command can refuse a
    backbone before any data is loaded.
    """

    reads: ClassVar[str]
    # The name of its kind, which chooses data module and objective; of a task of your own, the kind itself
    # (see training/kinds.py).
    kind: ClassVar[Any]

    @property
    def suite(self) -> str:
        """What it is part of."""
        ...

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def fingerprint(self) -> str:
        """Of the data: a record that was made on other data does not answer for this task."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """What else a record says of the data; records that differ in it do not compare."""
        ...

    @property
    def tests(self) -> list[str]:
        """The test sets: `test`, then further ones."""
        ...
