"""Points: what each configuration reaches on the tasks of a table, and what it costs there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glorabench import stats
from glorabench.cells import Cell, cells
from glorabench.record import Record
from glorabench.table import draw_of

Floats = NDArray[np.float64]
Draw = tuple[int, int]  # a seed, and that of the shots


@dataclass(frozen=True)
class Axis:
    """Something that a configuration costs.

    Args:
        name: in CSV.
        short: heads a column.
        of: its value in a record; None where the record does not say it.
        reduce: over tasks, then over seeds: mean, or the median of what is measured with outliers.
        measured: it is of the machine, so it compares on one machine alone.
    """

    name: str
    short: str
    of: Callable[[Record], float | None]
    reduce: Callable[..., Any] = np.mean
    measured: bool = False


def spent(r: Record, what: str) -> float | None:
    """Seconds or FLOPs of all stages of a run, the search included."""
    stages = r.cost.get("stages")
    return float(sum(stage[what] for stage in stages.values())) if stages else None


def ratio(r: Record, batch: int, network: str) -> float | None:
    """Measured latency of the `unmerged` or the `merged` network relative to the plain backbone; None without one."""
    timing = (r.cost.get("latency_ms") or {}).get(f"batch_{batch}", {})
    return timing[network]["median"] / timing["plain"]["median"] if network in timing else None


def mergeable(r: Record) -> bool:
    """True where what is deployed is the plain network with other weights."""
    return bool((r.merge or {}).get("mergeable"))


def deployed(r: Record, batch: int) -> float | None:
    """Latency of what would be deployed, relative to the plain backbone.

    It is 1 where all can be merged, and no network that does more than the plain one is faster: what the stopwatch
    says beside that is noise, and noise must not decide who is on a front.
    """
    measured = ratio(r, batch, "unmerged")
    return None if measured is None else 1.0 if mergeable(r) else max(1.0, measured)


AXES = (
    Axis("params", "parameters", lambda r: r.params["method"]),
    Axis("flops", "FLOPs", partial(spent, what="flops")),
    Axis("seconds", "seconds", partial(spent, what="seconds"), measured=True),
    Axis("peak_bytes", "memory", lambda r: r.cost.get("peak_bytes"), measured=True),
    Axis("latency_64", "latency 64", partial(deployed, batch=64), np.median, measured=True),
    Axis("latency_1", "latency 1", partial(deployed, batch=1), np.median, measured=True),
)


@dataclass(frozen=True)
class Point:
    """A configuration on all tasks of its table.

    Args:
        method: its label.
        runs: by task, then by the seeds that all its tasks have.
        contaminated: something was chosen on the test split, so it is on no front and beats nothing.
        reason: why it has no accuracy, and so is on no front either.
    """

    method: str
    runs: Mapping[str, Mapping[Draw, Record]]
    contaminated: bool = False
    reason: str = ""

    @property
    def judged(self) -> bool:
        """True when it may be on a front."""
        return not (self.contaminated or self.reason)

    @property
    def draws(self) -> tuple[Draw, ...]:
        """The seeds, in their order."""
        return tuple(next(iter(self.runs.values()), {}))

    @property
    def records(self) -> list[Record]:
        """All its runs."""
        return [r for found in self.runs.values() for r in found.values()]

    @property
    def top1(self) -> stats.Estimate:
        """Mean over tasks, with Student's t over seeds."""
        each = [[found[draw].metrics["top1"] for draw in self.draws] for found in self.runs.values()]
        return stats.mean([round(float(value), 12) for value in np.mean(each, axis=0)])

    def costs(self, of: Callable[[Record], float | None], reduce: Callable[..., Any] = np.mean) -> Floats | None:
        """A value for each seed; None where a run has none."""
        each = [[of(found[draw]) for draw in self.draws] for found in self.runs.values()]
        if not each or any(value is None for row in each for value in row):
            return None
        return reduce(np.asarray(each, np.float64), axis=0)

    def cost(self, axis: Axis) -> float | None:
        """The value of an axis."""
        values = self.costs(axis.of, axis.reduce)
        return None if values is None else float(reduced(values, axis.reduce))


def points(records: Iterable[Record]) -> list[Point]:
    """One for each configuration, in the order in which they came.

    Raises:
        BadInput: the records do not compare (see `cells.cells`).
    """
    made = cells(records)
    tasks = sorted({cell.task for cell in made})
    own: dict[str, list[Cell]] = {}
    for cell in made:
        own.setdefault(cell.method, []).append(cell)
    return [_point(found, method, tasks) for method, found in own.items()]


def _point(own: Sequence[Cell], method: str, tasks: Sequence[str]) -> Point:
    done = {cell.task: {draw_of(r): r for r in cell.done} for cell in own if cell.done}
    contaminated = any(cell.contaminated for cell in own)
    if lacking := [task for task in tasks if task not in done]:
        return Point(method, {}, contaminated, f"no result on {', '.join(lacking)}")
    common = sorted(set.intersection(*map(set, done.values())))
    if not common:
        return Point(method, {}, contaminated, "no seed has a result on every task")
    return Point(method, {task: {draw: done[task][draw] for draw in common} for task in tasks}, contaminated)


def reduced(values: Floats, reduce: Callable[..., Any] = np.mean) -> Floats:
    """Over the last axis, rounded: what is equal must not differ by what floating point leaves."""
    return np.round(reduce(values, axis=-1), 9)
