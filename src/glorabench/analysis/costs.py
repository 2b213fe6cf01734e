"""What each configuration reaches and costs, and the Pareto fronts of its score against cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glorabench.analysis import statistics
from glorabench.analysis.cells import Cell, Draw, Group
from glorabench.analysis.fronts import on_front
from glorabench.errors import BadInput
from glorabench.records.metrics import Metric, equal_scale
from glorabench.records.outcomes import unpack
from glorabench.records.record import Record

Floats = NDArray[np.float64]

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
        reason: why it has no score, and so is on no front either.
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
        return [r for by_draw in self.runs.values() for r in by_draw.values()]

    @property
    def metric(self) -> Metric:
        """The metric that decides on its tasks, which they share."""
        return self.records[0].metric

    @cached_property
    def score(self) -> statistics.Estimate:
        """Mean over tasks of the metric that decides, with Student's t over seeds."""
        table = [[by_draw[draw].score for draw in self.draws] for by_draw in self.runs.values()]
        return statistics.mean([round(float(value), 12) for value in np.mean(table, axis=0)])

    def costs(self, of: Callable[[Record], float | None], reduce: Callable[..., Any] = np.mean) -> Floats | None:
        """A value for each seed; None where a run has none."""
        table = [[of(by_draw[draw]) for draw in self.draws] for by_draw in self.runs.values()]
        if not table or any(value is None for row in table for value in row):
            return None
        return reduce(np.asarray(table, np.float64), axis=0)

    def cost(self, axis: Axis) -> float | None:
        """The value of an axis."""
        values = self.costs(axis.of, axis.reduce)
        return None if values is None else float(reduced(values, axis.reduce))


def points(group: Group) -> list[Point]:
    """One for each configuration, in the order in which they came.

    Raises:
        BadInput: the records do not compare (see `cells.cells`).
    """
    cells_of: dict[str, list[Cell]] = {}
    for cell in group.cells:
        cells_of.setdefault(cell.method, []).append(cell)
    return [_point(method, cells, sorted(group.by_task)) for method, cells in cells_of.items()]


def _point(method: str, cells: Sequence[Cell], tasks: Sequence[str]) -> Point:
    runs = {cell.task: cell.by_draw() for cell in cells if cell.done}
    contaminated = any(cell.contaminated for cell in cells)
    if lacking := [task for task in tasks if task not in runs]:
        return Point(method, {}, contaminated, f"no result on {', '.join(lacking)}")
    if not equal_scale(cell.metric for cell in cells if cell.done):
        names = dict.fromkeys(cell.metric.label for cell in cells if cell.done)
        return Point(method, {}, contaminated, f"no mean, as its tasks are scored by {' and '.join(names)}")
    common = sorted(set.intersection(*map(set, runs.values())))
    if not common:
        return Point(method, {}, contaminated, "no seed has a result on every task")
    return Point(method, {task: {draw: runs[task][draw] for draw in common} for task in tasks}, contaminated)


def reduced(values: Floats, reduce: Callable[..., Any] = np.mean) -> Floats:
    """Over the last axis, rounded: what is equal must not differ by what floating point leaves."""
    return np.round(reduce(values, axis=-1), 9)


@dataclass(frozen=True)
class Standing:
    """Whether a point is on the front of an axis, and the share of bootstrap samples in which it is."""

    on: bool
    probability: float


Standings = Mapping[str, Sequence[Standing | None]]  # by axis, then in the order of the points


def standings(points: Sequence[Point], repeats: int = 2000) -> Standings:
    """For each axis, each point's standing; None of what is not judged or does not know this cost.

    A bootstrap with two levels: seeds, then the examples of each task; configurations share the draws, those of seeds
    where they have the same seeds. A cost that varies over seeds follows them. Its generator is fixed.

    Raises:
        BadInput: outcomes are not kept, or not of the same examples.
    """
    judged = [i for i, point in enumerate(points) if point.judged]
    result: dict[str, list[Standing | None]] = {axis.name: [None] * len(points) for axis in AXES}
    if not judged:
        return result
    generator = np.random.default_rng(0)
    sign = points[judged[0]].metric.sign
    seed_sets = sorted({points[i].draws for i in judged})
    seeds = {draws: generator.integers(len(draws), size=(repeats, len(draws))) for draws in seed_sets}
    scores = dict(zip(judged, _bootstrap_scores([points[i] for i in judged], seeds, generator), strict=True))
    for axis in AXES:
        costs = {i: points[i].costs(axis.of, axis.reduce) for i in judged}
        costs = {i: values for i, values in costs.items() if values is not None}
        if not costs:
            continue
        score = np.array([points[i].score.value for i in costs]).round(9)
        on = on_front(sign * score, np.array([reduced(values, axis.reduce) for values in costs.values()]))
        drawn_costs = [reduced(values[seeds[points[i].draws]], axis.reduce) for i, values in costs.items()]
        drawn_scores = np.stack([scores[i] for i in costs], -1)
        often = on_front(sign * drawn_scores, np.stack(drawn_costs, -1)).mean(axis=0)
        for index, i in enumerate(costs):
            result[axis.name][i] = Standing(bool(on[index]), float(often[index]))
    return result


def _bootstrap_scores(
    points: Sequence[Point], seeds: Mapping[Any, NDArray[np.int_]], generator: np.random.Generator
) -> list[Floats]:
    """Mean over tasks of each point in each bootstrap sample."""
    weights = {draws: (rows[..., None] == np.arange(len(draws))).sum(axis=1) for draws, rows in seeds.items()}
    sums = [np.zeros(len(next(iter(seeds.values())))) for _ in points]
    tasks = list(points[0].runs)
    for task in tasks:
        tables = [_outcomes(point.runs[task].values()) for point in points]
        if len({table.shape[1] for table in tables}) > 1:
            raise BadInput(f"the runs of {task} were not scored on the same examples")
        rows, ends, n = np.concatenate(tables), np.cumsum([len(table) for table in tables]), tables[0].shape[1]
        for start in range(0, len(sums[0]), _CHUNK):
            part = slice(start, min(start + _CHUNK, len(sums[0])))
            picks = [np.bincount(generator.integers(n, size=n), minlength=n) for _ in range(part.stop - start)]
            # of right and wrong these are whole numbers, so exact
            totals = np.split(np.asarray(picks, np.float32) @ rows.T, ends[:-1], axis=1)
            for index, point in enumerate(points):
                weight = weights[point.draws][part]
                sums[index][part] += (weight * totals[index]).sum(axis=1) / (n * len(point.draws))
    return [np.round(total / len(tasks), 9) for total in sums]


def _outcomes(runs: Iterable[Record]) -> NDArray[np.float32]:
    """Seeds x examples."""
    runs = list(runs)
    packed = [r.outcomes_of(r.metric.name) for r in runs]
    if "" in packed:
        r = runs[packed.index("")]
        raise BadInput(f"{r.run_id} does not keep what each example got in {r.metric.name}: repeat its run")
    outcomes = [unpack(text) for text in packed]
    if len(set(map(len, outcomes))) > 1:
        raise BadInput(f"the runs of {runs[0].names['task']} were not scored on the same examples")
    return np.array(outcomes, np.float32)


@dataclass(frozen=True)
class CostGroup:
    """A table's records, what its configurations cost, and where these stand on the fronts."""

    group: Group
    points: list[Point]
    standings: Standings


def cost_group(group: Group) -> CostGroup:
    """What the configurations of a table cost.

    Raises:
        BadInput: the records do not compare, or do not keep outcomes.
    """
    made = points(group)
    return CostGroup(group, made, standings(made))
