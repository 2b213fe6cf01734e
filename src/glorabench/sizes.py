"""Sizes: how many numbers a method trains, and how many bytes a task takes on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from glorabench.record import Record

SIZES = ("params", "head", "stored kB")
EXACT = ("params", "head", "stored_bytes", "supernet")
NOTE = (
    "params: trained parameters without the head, mean over runs (supernet in brackets); head: those of the head; "
    "stored kB: what is kept for a task, in 1,000 bytes"
)


@dataclass(frozen=True)
class Sizes:
    """Means over tasks, of means over runs: trained parameters without the head, of the head, bytes to keep for a task;
    then parameters of the supernet, where there is one."""

    params: float
    head: float
    stored_bytes: float
    supernet: int | None

    @classmethod
    def of(cls, done: Sequence[Record]) -> Sizes:
        """Of runs that have a result."""
        tasks: dict[str, list[Record]] = {}
        for r in done:
            tasks.setdefault(r.names["task"], []).append(r)

        def mean(name: str) -> float:
            return fmean(fmean(r.params[name] or 0 for r in own) for own in tasks.values())

        return cls(mean("method"), mean("head"), mean("stored_bytes"), done[0].params["supernet"])

    @property
    def texts(self) -> tuple[str, str, str]:
        """For people, as the columns SIZES."""
        supernet = f" [{self.supernet:,}]" if self.supernet else ""
        return f"{self.params:,.0f}{supernet}", f"{self.head:,.0f}", f"{self.stored_bytes / 1000:,.0f}"

    @property
    def exact(self) -> tuple[str, ...]:
        """For programs, as the columns EXACT."""
        numbers = (self.params, self.head, self.stored_bytes, self.supernet)
        return tuple("" if number is None else f"{number:.10g}" for number in numbers)
