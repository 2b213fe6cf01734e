"""What each configuration reaches and costs, and the Pareto fronts of accuracy against cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glorabench.analysis import statistics
from glorabench.analysis.cells import Cell, cells
from glorabench.errors import BadInput
from glorabench.records.compatibility import comparable, draw_of
from glorabench.records.record import Record, bits

Floats = NDArray[np.float64]
Draw = tuple[int, int]  # a seed, and that of the shots

_CHUNK = 50  # bootstrap samples whose examples are drawn together


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
    def top1(self) -> statistics.Estimate:
        """Mean over tasks, with Student's t over seeds."""
        each = [[found[draw].metrics["top1"] for draw in self.draws] for found in self.runs.values()]
        return statistics.mean([round(float(value), 12) for value in np.mean(each, axis=0)])

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


def front(top1: Floats, cost: Floats) -> NDArray[np.bool_]:
    """Which points no other beats: none is as good in both and better in one. Equal points stand or fall together.

    Args:
        top1, cost: ... x points.
    """
    order = np.lexsort((-top1, cost), axis=-1)  # the cheapest first, of equal cost the best
    best, paid = np.take_along_axis(top1, order, -1), np.take_along_axis(cost, order, -1)
    new = np.concatenate([np.ones_like(paid[..., :1], bool), paid[..., 1:] != paid[..., :-1]], axis=-1)
    first = np.maximum.accumulate(np.where(new, np.arange(paid.shape[-1]), 0), axis=-1)  # of those of equal cost
    beaten = best < np.take_along_axis(best, first, -1)
    below = np.take_along_axis(np.maximum.accumulate(best, axis=-1), np.maximum(first - 1, 0), -1)  # of lower cost
    beaten |= (first > 0) & (below >= best)
    on = np.empty_like(beaten)
    np.put_along_axis(on, order, ~beaten, -1)
    return on


@dataclass(frozen=True)
class Standing:
    """Whether a point is on the front of an axis, and the share of bootstrap samples in which it is."""

    on: bool
    probability: float


Standings = Mapping[str, Sequence[Standing | None]]  # by axis, then in the order of the points


def standings(made: Sequence[Point], repeats: int = 2000) -> Standings:
    """For each axis, each point's standing; None of what is not judged or does not know this cost.

    A bootstrap with two levels: seeds, then the examples of each task; configurations share the draws, those of seeds
    where they have the same seeds. A cost that varies over seeds follows them. Its generator is fixed.

    Raises:
        BadInput: outcomes are not kept, or not of the same examples.
    """
    judged = [i for i, point in enumerate(made) if point.judged]
    found: dict[str, list[Standing | None]] = {axis.name: [None] * len(made) for axis in AXES}
    if not judged:
        return found
    generator = np.random.default_rng(0)
    sets = sorted({made[i].draws for i in judged})
    seeds = {draws: generator.integers(len(draws), size=(repeats, len(draws))) for draws in sets}
    drawn = dict(zip(judged, _accuracies([made[i] for i in judged], seeds, generator), strict=True))
    for axis in AXES:
        costs = {i: made[i].costs(axis.of, axis.reduce) for i in judged}
        known = {i: values for i, values in costs.items() if values is not None}
        if not known:
            continue
        top1 = np.array([made[i].top1.value for i in known]).round(9)
        now = front(top1, np.array([reduced(values, axis.reduce) for values in known.values()]))
        paid = [reduced(values[seeds[made[i].draws]], axis.reduce) for i, values in known.items()]
        often = front(np.stack([drawn[i] for i in known], -1), np.stack(paid, -1)).mean(axis=0)
        for index, i in enumerate(known):
            found[axis.name][i] = Standing(bool(now[index]), float(often[index]))
    return found


def _accuracies(made: Sequence[Point], seeds: Mapping[Any, NDArray[np.int_]], generator: Any) -> list[Floats]:
    """Mean over tasks of each point in each bootstrap sample."""
    weights = {draws: (rows[..., None] == np.arange(len(draws))).sum(axis=1) for draws, rows in seeds.items()}
    sums = [np.zeros(len(next(iter(seeds.values())))) for _ in made]
    tasks = list(made[0].runs)
    for task in tasks:
        each = [_outcomes(point.runs[task].values()) for point in made]
        if len({matrix.shape[1] for matrix in each}) > 1:
            raise BadInput(f"the runs of {task} were not scored on the same examples")
        rows, ends, n = np.concatenate(each), np.cumsum([len(matrix) for matrix in each]), each[0].shape[1]
        own = [(weights[point.draws], n * len(point.draws)) for point in made]
        for start in range(0, len(sums[0]), _CHUNK):
            part = slice(start, min(start + _CHUNK, len(sums[0])))
            picks = [np.bincount(generator.integers(n, size=n), minlength=n) for _ in range(part.stop - start)]
            hits = np.split(np.asarray(picks, np.float32) @ rows.T, ends[:-1], axis=1)  # whole numbers: exact
            for index, (weight, count) in enumerate(own):
                sums[index][part] += (weight[part] * hits[index]).sum(axis=1) / count
    return [np.round(total / len(tasks), 9) for total in sums]


def _outcomes(runs: Iterable[Record]) -> NDArray[np.float32]:
    """Seeds x examples."""
    runs = list(runs)
    if lacking := [r.run_id for r in runs if not r.outcomes]:
        raise BadInput(f"{lacking[0]} does not keep which examples were right: repeat its run")
    found = [bits(r.outcomes or "") for r in runs]
    if len(set(map(len, found))) > 1:
        raise BadInput(f"the runs of {runs[0].names['task']} were not scored on the same examples")
    return np.array(found, np.float32)


Stood = tuple[list[Record], list[Point], Standings]


def stood(records: Iterable[Record]) -> list[Stood]:
    """Each table's records, what its configurations cost, and where these stand on the fronts.

    Raises:
        BadInput: the records do not compare.
    """
    return [(group, made := points(group), standings(made)) for group in comparable(records)]
