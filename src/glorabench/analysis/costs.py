"""The score and the costs of each configuration, and the Pareto fronts of score against cost."""

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
    """A cost of a configuration.

    Args:
        name: its name in CSV files.
        short: the head of its column.
        value_of: reads the cost from a record; None where the record has none.
        reduce: mean or median, over tasks and then over seeds. The median is for measurements with outliers.
        is_machine_dependent: True where values of different machines cannot be compared.
    """

    name: str
    short: str
    value_of: Callable[[Record], float | None]
    reduce: Callable[..., Any] = np.mean
    is_machine_dependent: bool = False


def stage_total(r: Record, quantity: str) -> float | None:
    """Seconds or FLOPs of all stages of a run, the search included; None where the record has no stages."""
    stages = r.cost.get("stages")
    return float(sum(stage[quantity] for stage in stages.values())) if stages else None


def relative_latency(r: Record, batch: int, network: str) -> float | None:
    """Latency of the `unmerged` or the `merged` network relative to the plain backbone; None if not measured."""
    timing = (r.cost.get("latency_ms") or {}).get(f"batch_{batch}", {})
    return timing[network]["median"] / timing["plain"]["median"] if network in timing else None


def is_mergeable(r: Record) -> bool:
    """True where the plain network with other weights can be deployed."""
    return bool((r.merge or {}).get("mergeable"))


def deployment_latency(r: Record, batch: int) -> float | None:
    """Latency of the network that would be deployed, relative to the plain backbone.

    It is 1 where the network can be merged. Any other network does more work than the plain one, so it counts as 1 or
    more. What the stopwatch says beyond that is noise, and noise must not decide which point is on a front.
    """
    latency = relative_latency(r, batch, "unmerged")
    if latency is None:
        return None
    return 1.0 if is_mergeable(r) else max(1.0, latency)


AXES = (
    Axis("params", "parameters", lambda r: r.params["method"]),
    Axis("flops", "FLOPs", partial(stage_total, quantity="flops")),
    Axis("seconds", "seconds", partial(stage_total, quantity="seconds"), is_machine_dependent=True),
    Axis("peak_bytes", "memory", lambda r: r.cost.get("peak_bytes"), is_machine_dependent=True),
    Axis("latency_64", "latency 64", partial(deployment_latency, batch=64), np.median, is_machine_dependent=True),
    Axis("latency_1", "latency 1", partial(deployment_latency, batch=1), np.median, is_machine_dependent=True),
)


@dataclass(frozen=True)
class Point:
    """A configuration on all tasks of its table.

    Args:
        method: the label of the configuration.
        runs: by task, then by seed; only the seeds that all its tasks have.
        contaminated: something was chosen on the test split, so the point is on no front and beats no other.
        reason: why the point has no score; it is then on no front either.
    """

    method: str
    runs: Mapping[str, Mapping[Draw, Record]]
    contaminated: bool = False
    reason: str = ""

    @property
    def may_be_on_front(self) -> bool:
        """True when the point has a score that counts."""
        return not (self.contaminated or self.reason)

    @property
    def draws(self) -> tuple[Draw, ...]:
        """The seeds, in ascending order."""
        return tuple(next(iter(self.runs.values()), {}))

    @property
    def records(self) -> list[Record]:
        """All runs of the point."""
        return [r for by_draw in self.runs.values() for r in by_draw.values()]

    @property
    def metric(self) -> Metric:
        """The metric that decides on all its tasks."""
        return self.records[0].metric

    @cached_property
    def score(self) -> statistics.Estimate:
        """Mean over tasks of the metric that decides, with Student's t over seeds."""
        table = [[by_draw[draw].score for draw in self.draws] for by_draw in self.runs.values()]
        return statistics.mean([round(float(value), 12) for value in np.mean(table, axis=0)])

    def costs(self, value_of: Callable[[Record], float | None], reduce: Callable[..., Any] = np.mean) -> Floats | None:
        """A value for each seed; None where a run has no value."""
        table = [[value_of(by_draw[draw]) for draw in self.draws] for by_draw in self.runs.values()]
        if not table or any(value is None for row in table for value in row):
            return None
        return reduce(np.asarray(table, np.float64), axis=0)

    def cost(self, axis: Axis) -> float | None:
        """The cost on one axis; None where a run has no value."""
        values = self.costs(axis.value_of, axis.reduce)
        return None if values is None else float(reduce_rounded(values, axis.reduce))


def points(group: Group) -> list[Point]:
    """One point for each configuration, in the order in which they came.

    Raises:
        BadInput: the records do not compare (see `cells.cells`).
    """
    cells_of: dict[str, list[Cell]] = {}
    for cell in group.cells:
        cells_of.setdefault(cell.method, []).append(cell)
    return [_point(method, cells, sorted(group.by_task)) for method, cells in cells_of.items()]


def _point(method: str, cells: Sequence[Cell], tasks: Sequence[str]) -> Point:
    runs = {cell.task: cell.by_draw() for cell in cells if cell.finished_runs}
    contaminated = any(cell.contaminated for cell in cells)
    if missing_tasks := [task for task in tasks if task not in runs]:
        return Point(method, {}, contaminated, f"no result on {', '.join(missing_tasks)}")
    if not equal_scale(cell.metric for cell in cells if cell.finished_runs):
        names = dict.fromkeys(cell.metric.label for cell in cells if cell.finished_runs)
        return Point(method, {}, contaminated, f"no mean, as its tasks are scored by {' and '.join(names)}")
    common = sorted(set.intersection(*map(set, runs.values())))
    if not common:
        return Point(method, {}, contaminated, "no seed has a result on every task")
    return Point(method, {task: {draw: runs[task][draw] for draw in common} for task in tasks}, contaminated)


def reduce_rounded(values: Floats, reduce: Callable[..., Any] = np.mean) -> Floats:
    """Reduce over the last axis and round, so that equal values do not differ by floating-point error."""
    return np.round(reduce(values, axis=-1), 9)


@dataclass(frozen=True)
class Standing:
    """Whether a point is on the front of an axis, and the share of bootstrap samples in which it is."""

    on_front: bool
    probability: float


Standings = Mapping[str, Sequence[Standing | None]]  # by axis, then in the order of the points


def standings(points: Sequence[Point], repeats: int = 2000) -> Standings:
    """The standing of each point on each axis; None for a point without a score or without this cost.

    The bootstrap has two levels: seeds, then the examples of each task. Configurations share the draws of examples, and
    those with the same seeds share the draws of seeds. A cost that varies over seeds follows them. The generator has a
    fixed seed.

    Raises:
        BadInput: a record has no outcomes, or the outcomes are of different examples.
    """
    indices = [i for i, point in enumerate(points) if point.may_be_on_front]
    result: dict[str, list[Standing | None]] = {axis.name: [None] * len(points) for axis in AXES}
    if not indices:
        return result
    generator = np.random.default_rng(0)
    sign = points[indices[0]].metric.sign
    seed_sets = sorted({points[i].draws for i in indices})
    seeds = {draws: generator.integers(len(draws), size=(repeats, len(draws))) for draws in seed_sets}
    scores = dict(zip(indices, _bootstrap_scores([points[i] for i in indices], seeds, generator), strict=True))
    for axis in AXES:
        costs = {i: points[i].costs(axis.value_of, axis.reduce) for i in indices}
        costs = {i: values for i, values in costs.items() if values is not None}
        if not costs:
            continue
        score = np.array([points[i].score.value for i in costs]).round(9)
        cost = np.array([reduce_rounded(values, axis.reduce) for values in costs.values()])
        is_on_front = on_front(sign * score, cost)
        sample_costs = [reduce_rounded(values[seeds[points[i].draws]], axis.reduce) for i, values in costs.items()]
        sample_scores = np.stack([scores[i] for i in costs], -1)
        shares = on_front(sign * sample_scores, np.stack(sample_costs, -1)).mean(axis=0)
        for index, i in enumerate(costs):
            result[axis.name][i] = Standing(bool(is_on_front[index]), float(shares[index]))
    return result


def _bootstrap_scores(
    points: Sequence[Point], seeds: Mapping[Any, NDArray[np.int_]], generator: np.random.Generator
) -> list[Floats]:
    """The mean over tasks of each point, in each bootstrap sample."""
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
    """The outcomes of runs as a table of seeds x examples."""
    runs = list(runs)
    outcome_texts = [r.outcomes_of(r.metric.name) for r in runs]
    if "" in outcome_texts:
        r = runs[outcome_texts.index("")]
        raise BadInput(f"{r.run_id} does not keep what each example got in {r.metric.name}: repeat its run")
    outcomes = [unpack(text) for text in outcome_texts]
    if len(set(map(len, outcomes))) > 1:
        raise BadInput(f"the runs of {runs[0].names['task']} were not scored on the same examples")
    return np.array(outcomes, np.float32)


@dataclass(frozen=True)
class CostGroup:
    """The records of a table, the points of its configurations, and their standings on the fronts."""

    group: Group
    points: list[Point]
    standings: Standings


def cost_group(group: Group) -> CostGroup:
    """The points and standings of the configurations of a table.

    Raises:
        BadInput: the records cannot be compared, or have no outcomes.
    """
    group_points = points(group)
    return CostGroup(group, group_points, standings(group_points))
