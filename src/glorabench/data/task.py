"""The interface of a task, for any kind of examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol


class LeakError(RuntimeError):
    """Somebody asked for test labels outside the one final test step."""


class Task(Protocol):
    """A task: its splits, its names and its facts.

    The attribute `reads` of its class says what a backbone must read (`images` or `tokens`), so that a command can
    refuse a backbone before it loads any data.
    """

    reads: ClassVar[str]

    @property
    def kind(self) -> Any:
        """The name of its kind, which chooses the data module and the objective.

        A task of your own may have the kind itself here (see training/kinds.py).
        """
        ...

    @property
    def suite(self) -> str:
        """The name of its suite."""
        ...

    @property
    def name(self) -> str:
        """The name of the task."""
        ...

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the data. A record with another fingerprint is not a result of this task."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """Further facts about the data for the record. Records with different facts are not compared."""
        ...

    @property
    def tests(self) -> list[str]:
        """The test sets: `test`, then further ones."""
        ...
