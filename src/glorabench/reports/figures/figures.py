"""Draw the figures of a report: accuracy against costs, learning against forgetting, bars of every task."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from glorabench.analysis import statistics
from glorabench.analysis.cells import Group
from glorabench.analysis.costs import AXES, Axis, Point, Standings
from glorabench.analysis.statistics import Estimate
from glorabench.records.metrics import PERCENT, Metric
from glorabench.records.record import Record
from glorabench.reports.figures.svg import Dot, Scale, bars, scatter, span

# what heads a figure, what stands below its axis, and the unit that it counts in; another cost is called as in tables
_TITLES: Final = {
    "params": ("parameters", "trained parameters, without the head", 1),
    "flops": ("compute", "FLOPs of training and search", 1),
    "seconds": ("time", "seconds of training and search", 1),
    "peak_bytes": ("memory", "peak memory of training, MiB", 2**20),
    "latency_64": ("inference, batch 64", "inference time, plain backbone = 1", 1),
    "latency_1": ("inference, batch 1", "inference time, plain backbone = 1", 1),
}


@dataclass(frozen=True)
class Figure:
    """A figure and what stands below it.

    Args:
        name: of its CSV file.
        title: above it.
        image: SVG.
        head, rows: the numbers.
        note: below; may be empty.
    """

    name: str
    title: str
    image: str
    head: Sequence[str]
    rows: Iterable[Sequence[str]]
    note: str


def tradeoff_figures(points: Sequence[Point], standings: Standings) -> list[Figure]:
    """The score, mean over tasks, against each cost that is known; `standings` may be empty."""
    return [figure for axis in AXES if (figure := _tradeoff(points, standings, axis)) is not None]


def _tradeoff(points: Sequence[Point], standings: Standings, axis: Axis) -> Figure | None:
    known = [(i, point, cost) for i, point in enumerate(points) if (cost := _cost(point, axis)) is not None]
    if not known:
        return None
    metric = known[0][1].metric
    name, title, unit = _TITLES.get(axis.name, (axis.short, axis.short, 1))
    of_axis = standings.get(axis.name, [None] * len(points))
    dots, rows = [], []
    for i, point, cost in known:
        standing, score = of_axis[i], _shown(point.score, metric)
        on = standing is not None and standing.on_front
        kind = "spoiled" if point.contaminated else "front" if on else "other"
        hint = "" if standing is None else f"; on the front in {standing.probability:.0%} of bootstrap samples"
        dots.append(Dot(point.method, _single(cost / unit), score, kind, hint))
        share = "" if standing is None else f"{standing.probability:.4f}"
        rows.append([point.method, *_cells(score), f"{cost:.10g}", str(int(on)), share])
    across, up = span(title, [dot.x.value for dot in dots]), _axis(points, metric, _ends(dots))
    heading = f"{_word(metric)} and {name}"
    best = ", ".join(dot.name for dot in dots if dot.kind == "front")
    image = scatter(dots, across, up, f"{heading}: {len(dots)} methods; on the front: {best or 'none'}.")
    drawn = {point.method for _, point, _ in known}
    absent = [p.method for p in points if not p.reason and p.method not in drawn]
    note = f"Not known of every run of {'; '.join(absent)}." if absent else ""
    head = [*_head(metric), axis.name, "front", "p_front"]
    return Figure(f"accuracy-{axis.name}", heading, image, head, rows, note)


def missing_figures(points: Sequence[Point]) -> list[str]:
    """Which figures are not there, and which configurations are in none."""
    absent = [axis for axis in AXES if all(_cost(point, axis) is None for point in points)]
    names = [_TITLES.get(axis.name, (axis.short,))[0] for axis in absent]
    lines = [f"No figure of {', '.join(names)}: no configuration has it in all its runs."] if names else []
    return lines + [f"Not drawn: {point.method}, {point.reason}." for point in points if point.reason]


def forgetting_figure(points: Sequence[Point]) -> Figure | None:
    """The score on the tasks against what is left of that on the upstream task; None where no record says it."""
    after_of = {p.method: p.costs(_after) for p in points if not p.reason}
    known = [(p, after) for p in points if (after := after_of.get(p.method)) is not None]
    if not known:
        return None
    upstream = known[0][0].records[0].upstream or {}
    metric, upstream_metric = known[0][0].metric, Metric(**upstream["metric"])
    before, dots, rows = upstream_metric.scale * upstream["before"], [], []
    for point, after in known:
        learned = _shown(point.score, metric)
        left = _shown(statistics.mean(after.tolist()), upstream_metric)
        dots.append(Dot(point.method, learned, left, "spoiled" if point.contaminated else "other"))
        rows.append([point.method, *_cells(learned), f"{before:.4f}", *_cells(left)[:3]])
    sides = [v for d in dots for v in (d.x.value, d.x.low, d.x.high) if not math.isnan(v)]
    across = _axis(points, metric, sides)
    title = f"upstream {_scale_of_upstream(upstream_metric)}, after fine-tuning"
    up = _bounded(title, upstream_metric, [*_ends(dots), before])
    start = upstream_metric.with_unit(upstream["before"], upstream_metric.digits - 1)
    alt = f"Learning against forgetting of {len(dots)} methods; before fine-tuning {start}."
    image = scatter(dots, across, up, alt, before)
    head = [*_head(metric), "upstream_before", "upstream_after", "after_low", "after_high"]
    drawn = {point.method for point, _ in known}
    absent = [p.method for p in points if p.method not in drawn]
    rest = f" Not known of every run of {'; '.join(absent)}." if absent else ""
    note = f"{upstream['task']}: {start} of {upstream['n']:,} held-out images before fine-tuning (dashed).{rest}"
    return Figure("learning-forgetting", "What is learned and what is kept", image, head, rows, note)


def task_figures(group: Group, points: Sequence[Point]) -> list[Figure]:
    """Bars of every task; the methods in one order, that of their means where they have one, the best first."""
    rank = {p.method: -p.metric.sign * p.score.value for p in points if not p.reason}
    figures = []
    for task, cells in group.by_task.items():
        metric = next((cell.metric for cell in cells if cell.done), group.metric)
        if metric is None:
            continue
        cells = sorted(cells, key=lambda cell: (rank.get(cell.method, math.inf), cell.method))
        body = []
        for cell in cells:
            values = _cells(_shown(cell.score, metric)) if cell.done else ("failed", "", "", "0")
            body.append([cell.method, *values])
        alt = f"{metric.heading} of {len(cells)} methods on {task}, with 95 % intervals"
        image = bars(cells, metric, alt[:1].upper() + alt[1:])
        figures.append(Figure(f"bars-{task}", task, image, [*_head(metric)], body, ""))
    return figures


def scale_text(group: Group) -> str:
    """What the bars show, and from where to where."""
    metric = group.metric
    if metric is None:
        return "score"
    if metric.unit == PERCENT and metric.high is not None:
        return f"{metric.label} in %, from 0 to 100"
    better = "higher" if metric.higher_is_better else "lower"
    return f"{metric.heading}, from 0; {better} is better"


def _head(metric: Metric) -> tuple[str, ...]:
    name = f"{metric.name}_percent" if metric.unit == PERCENT else metric.name
    return ("method", name, "low", "high", "n")


def _word(metric: Metric) -> str:
    """What a figure calls the metric."""
    return metric.label[:1].upper() + metric.label[1:]


def _scale_of_upstream(metric: Metric) -> str:
    return "top-1 %" if metric.unit == PERCENT else metric.unit or metric.label


def _cost(point: Point, axis: Axis) -> float | None:
    return None if point.reason else point.cost(axis)


def _after(r: Record) -> float | None:
    """The upstream metric after fine-tuning."""
    return r.upstream["after"] if r.upstream else None


def _axis(points: Iterable[Point], metric: Metric, values: Sequence[float]) -> Scale:
    """An axis of scores."""
    count = max((len(point.runs) for point in points), default=0)
    title = f"{metric.heading}, mean of {count} tasks" if count > 1 else metric.heading
    return _bounded(title if metric.higher_is_better else f"{title} (lower is better)", metric, values)


def _bounded(title: str, metric: Metric, values: Sequence[float]) -> Scale:
    ends = [None if end is None else metric.scale * end for end in (metric.low, metric.high)]
    return span(title, values, *ends)


def _shown(estimate: Estimate, metric: Metric) -> Estimate:
    """As it is shown: shares in percent."""
    scale = metric.scale
    return Estimate(scale * estimate.value, scale * estimate.low, scale * estimate.high, estimate.n)


def _single(value: float) -> Estimate:
    return Estimate(value, math.nan, math.nan, 1)


def _ends(dots: Iterable[Dot]) -> list[float]:
    """Every height that a figure has to hold."""
    return [v for dot in dots for v in (dot.y.value, dot.y.low, dot.y.high) if not math.isnan(v)]


def _cells(estimate: Estimate) -> tuple[str, str, str, str]:
    """For CSV; nothing where there is no interval."""
    value, low, high = ("" if math.isnan(x) else f"{x:.4f}" for x in (estimate.value, estimate.low, estimate.high))
    return value, low, high, str(estimate.n)
