"""How far a sweep is, in the words of one line on a terminal. Light: no torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class SweepPlace:
    """Where this process is in its sweep, so that a line can say how much is left of it.

    Args:
        number, total: the run that is made now, from 1, and the number of all runs; 0 outside a sweep.
        seconds: of each run that this process has made.
    """

    number: int = 0
    total: int = 0
    seconds: list[float] = field(default_factory=list)

    @property
    def text(self) -> str:
        """`[3/12]`, or nothing outside a sweep."""
        return f"[{self.number}/{self.total}]" if self.total else ""

    def seconds_left(self, elapsed: float, share: float) -> float:
        """Seconds until the end of the sweep, if runs that have not begun take as long as the others.

        Args:
            elapsed: seconds since the training began.
            share: the part of the training that is done, above 0 and at most 1.
        """
        this_run = elapsed / share
        typical = sum(self.seconds) / len(self.seconds) if self.seconds else this_run
        return this_run - elapsed + typical * max(0, self.total - self.number)


SWEEP_PLACE = SweepPlace()


def can_rewrite_line() -> bool:
    """True where standard output is a terminal on which a line can be written again."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def short_title(config: Mapping[str, Any], stage: str = "") -> str:
    """The run in a few words: `lora digits s0`, and the stage of a searched run."""
    names = config["names"]
    return " ".join(filter(None, (str(names["method"]), str(names["task"]), f"s{config['seed']}", stage.strip())))


def clock_text(seconds: float) -> str:
    """A duration: `0:07`, `2:10`, `1:02:10`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def fit_line(place: str, title: str, facts: Sequence[str], width: int) -> str:
    """Join the parts of a line; where it is too long, leave out the loss, then the title, then the place.

    Args:
        place, title: the first two parts; may be empty.
        facts: the epoch, the loss (may be empty) and the time left (may be empty).
        width: the most characters.
    """
    epoch, loss, left = facts
    first = " ".join(filter(None, (place, title)))
    for parts in ((first, epoch, loss, left), (first, epoch, left), (place, epoch, left), (epoch, left), (epoch,)):
        line = "  ".join(filter(None, parts))
        if len(line) <= width:
            return line
    return epoch[:width]
