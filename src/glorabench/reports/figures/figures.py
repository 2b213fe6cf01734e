"""Draw the figures of a report: accuracy against costs, learning against forgetting, bars of every task."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from glorabench.analysis import statistics
from glorabench.analysis.cells import Group
from glorabench.analysis.costs import AXES, Axis, Floats, Point, Standings
from glorabench.analysis.statistics import Estimate
from glorabench.records.metrics import PERCENT, Metric
from glorabench.records.record import Record
from glorabench.reports.figures.svg import Dot, Scale, axis_of, bar_chart, scatter_plot

# title, label of the axis and unit of each cost; any other cost has its name in tables
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
    """A figure with its title, its numbers and a note.

    Args:
        name: the name of its CSV file.
        title: the line above it.
        image: SVG.
        head, rows: the numbers, as a table.
        note: the line below it; may be empty.
    """

    name: str
    title: str
    image: str
    head: Sequence[str]
    rows: Iterable[Sequence[str]]
    note: str


def tradeoff_figures(points: Sequence[Point], standings: Standings) -> list[Figure]:
    """The score, mean over tasks, against each cost that points have; `standings` may be empty."""
    figures = [_tradeoff(points, standings, axis) for axis in AXES]
    return [figure for figure in figures if figure is not None]


def _tradeoff(points: Sequence[Point], standings: Standings, axis: Axis) -> Figure | None:
    point_costs: list[tuple[int, Point, float]] = []
    for i, point in enumerate(points):
        cost = _cost(point, axis)
        if cost is not None:
            point_costs.append((i, point, cost))
    if not point_costs:
        return None
    metric = point_costs[0][1].metric
    name, title, unit = _TITLES.get(axis.name, (axis.short, axis.short, 1))
    of_axis = standings.get(axis.name, [None] * len(points))
    dots, rows = [], []
    for i, point, cost in point_costs:
        standing, score = of_axis[i], _in_unit(point.score, metric)
        is_on_front = standing is not None and standing.on_front
        kind = "front" if is_on_front else "other"
        if point.contaminated:
            kind = "spoiled"
        hint = "" if standing is None else f"; on the front in {standing.probability:.0%} of bootstrap samples"
        dots.append(Dot(point.method, _without_interval(cost / unit), score, kind, hint))
        share = "" if standing is None else f"{standing.probability:.4f}"
        rows.append([point.method, *_cells(score), f"{cost:.10g}", str(int(is_on_front)), share])
    across, up = axis_of(title, [dot.x.value for dot in dots]), score_axis(points, metric, _ends(dots))
    heading = f"{_word(metric)} and {name}"
    best = ", ".join(dot.name for dot in dots if dot.kind == "front")
    image = scatter_plot(dots, across, up, f"{heading}: {len(dots)} methods; on the front: {best or 'none'}.")
    names = {point.method for _, point, _ in point_costs}
    absent = [p.method for p in points if not p.reason and p.method not in names]
    note = f"Not known of every run of {'; '.join(absent)}." if absent else ""
    head = [*_head(metric), axis.name, "front", "p_front"]
    return Figure(f"accuracy-{axis.name}", heading, image, head, rows, note)


def missing_figures(points: Sequence[Point]) -> list[str]:
    """Lines that name the figures without data, and the configurations that are in no figure."""
    absent = [axis for axis in AXES if all(_cost(point, axis) is None for point in points)]
    names = [_TITLES.get(axis.name, (axis.short,))[0] for axis in absent]
    lines = [f"No figure of {', '.join(names)}: no configuration has it in all its runs."] if names else []
    return lines + [f"Not drawn: {point.method}, {point.reason}." for point in points if point.reason]


def forgetting_figure(points: Sequence[Point]) -> Figure | None:
    """The score on the tasks against the upstream score after fine-tuning; None where no record has the latter."""
    point_values: list[tuple[Point, Floats]] = []
    for point in points:
        end_value = None if point.reason else point.costs(_upstream_after)
        if end_value is not None:
            point_values.append((point, end_value))
    if not point_values:
        return None
    upstream = point_values[0][0].records[0].upstream or {}
    metric, upstream_metric = point_values[0][0].metric, Metric(**upstream["metric"])
    start_value, dots, rows = upstream_metric.scale * upstream["before"], [], []
    for point, end_value in point_values:
        gain = _in_unit(point.score, metric)
        upstream_score = _in_unit(statistics.mean(end_value.tolist()), upstream_metric)
        dots.append(Dot(point.method, gain, upstream_score, "spoiled" if point.contaminated else "other"))
        rows.append([point.method, *_cells(gain), f"{start_value:.4f}", *_cells(upstream_score)[:3]])
    sides = [value for dot in dots for value in (dot.x.value, dot.x.low, dot.x.high) if not math.isnan(value)]
    across = score_axis(points, metric, sides)
    title = f"upstream {_scale_of_upstream(upstream_metric)}, after fine-tuning"
    up = _scale_within(title, upstream_metric, [*_ends(dots), start_value])
    start = upstream_metric.with_unit(upstream["before"], upstream_metric.digits - 1)
    alt = f"Learning against forgetting of {len(dots)} methods; before fine-tuning {start}."
    image = scatter_plot(dots, across, up, alt, start_value)
    head = [*_head(metric), "upstream_before", "upstream_after", "after_low", "after_high"]
    names = {point.method for point, _ in point_values}
    absent = [p.method for p in points if p.method not in names]
    remark = f" Not known of every run of {'; '.join(absent)}." if absent else ""
    note = f"{upstream['task']}: {start} of {upstream['n']:,} held-out images before fine-tuning (dashed).{remark}"
    return Figure("learning-forgetting", "What is learned and what is kept", image, head, rows, note)


def task_figures(group: Group, points: Sequence[Point]) -> list[Figure]:
    """A bar chart for every task. Methods are ordered by their mean over tasks, the best first."""
    rank = {p.method: -p.metric.sign * p.score.value for p in points if not p.reason}
    figures = []
    for task, cells in group.by_task.items():
        metric = next((cell.metric for cell in cells if cell.finished_runs), group.metric)
        if metric is None:
            continue
        cells = sorted(cells, key=lambda cell: (rank.get(cell.method, math.inf), cell.method))
        body = []
        for cell in cells:
            values = _cells(_in_unit(cell.score, metric)) if cell.finished_runs else ("failed", "", "", "0")
            body.append([cell.method, *values])
        alt = f"{metric.heading} of {len(cells)} methods on {task}, with 95 % intervals"
        image = bar_chart(cells, metric, alt[:1].upper() + alt[1:])
        figures.append(Figure(f"bars-{task}", task, image, [*_head(metric)], body, ""))
    return figures


def scale_text(group: Group) -> str:
    """What the bars show and the ends of their scale."""
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
    """The label of a metric with a capital letter."""
    return metric.label[:1].upper() + metric.label[1:]


def _scale_of_upstream(metric: Metric) -> str:
    return "top-1 %" if metric.unit == PERCENT else metric.unit or metric.label


def _cost(point: Point, axis: Axis) -> float | None:
    return None if point.reason else point.cost(axis)


def _upstream_after(r: Record) -> float | None:
    """The upstream metric after fine-tuning."""
    return r.upstream["after"] if r.upstream else None


def score_axis(points: Iterable[Point], metric: Metric, values: Sequence[float]) -> Scale:
    """An axis of scores."""
    count = max((len(point.runs) for point in points), default=0)
    title = f"{metric.heading}, mean of {count} tasks" if count > 1 else metric.heading
    return _scale_within(title if metric.higher_is_better else f"{title} (lower is better)", metric, values)


def _scale_within(title: str, metric: Metric, values: Sequence[float]) -> Scale:
    ends = [None if end is None else metric.scale * end for end in (metric.low, metric.high)]
    return axis_of(title, values, *ends)


def _in_unit(estimate: Estimate, metric: Metric) -> Estimate:
    """An estimate in the unit that is shown: shares in percent."""
    scale = metric.scale
    return Estimate(scale * estimate.value, scale * estimate.low, scale * estimate.high, estimate.n)


def _without_interval(value: float) -> Estimate:
    return Estimate(value, math.nan, math.nan, 1)


def _ends(dots: Iterable[Dot]) -> list[float]:
    """All heights that a figure must have room for."""
    return [value for dot in dots for value in (dot.y.value, dot.y.low, dot.y.high) if not math.isnan(value)]


def _cells(estimate: Estimate) -> tuple[str, str, str, str]:
    """Value, interval and n for a CSV file; empty text where there is no interval."""
    value, low, high = ("" if math.isnan(x) else f"{x:.4f}" for x in (estimate.value, estimate.low, estimate.high))
    return value, low, high, str(estimate.n)
