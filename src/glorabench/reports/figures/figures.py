"""Draw the figures of a report: accuracy against costs, learning against forgetting, bars of every task."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from glorabench.analysis import statistics
from glorabench.analysis.cells import Cell
from glorabench.analysis.costs import AXES, Axis, Point, Standings
from glorabench.analysis.statistics import Estimate
from glorabench.records.record import Record
from glorabench.reports.figures.svg import Dot, bars, scatter, span

# what heads a figure, what stands below its axis, and the unit that it counts in; another cost is called as in tables
_TITLES: Final = {
    "params": ("parameters", "trained parameters, without the head", 1),
    "flops": ("compute", "FLOPs of training and search", 1),
    "seconds": ("time", "seconds of training and search", 1),
    "peak_bytes": ("memory", "peak memory of training, MiB", 2**20),
    "latency_64": ("inference, batch 64", "inference time, plain backbone = 1", 1),
    "latency_1": ("inference, batch 1", "inference time, plain backbone = 1", 1),
}
_HEAD = ("method", "top1_percent", "low", "high", "n")


def tradeoffs(made: Sequence[Point], standings: Standings) -> list[Figure]:
    """Accuracy, mean over tasks, against each cost that is known; `standings` may be empty."""
    drawn = []
    for axis in AXES:
        known = [(i, point, cost) for i, point in enumerate(made) if (cost := _cost(point, axis)) is not None]
        name, title, unit = _TITLES.get(axis.name, (axis.short, axis.short, 1))
        if not known:
            continue
        found = standings.get(axis.name, [None] * len(made))
        dots, rows = [], []
        for i, point, cost in known:
            standing, top1 = found[i], _percent(point.top1)
            on = standing is not None and standing.on
            kind = "spoiled" if point.contaminated else "front" if on else "other"
            said = "" if standing is None else f"; on the front in {standing.probability:.0%} of bootstrap samples"
            dots.append(Dot(point.method, _single(cost / unit), top1, kind, said))
            share = "" if standing is None else f"{standing.probability:.4f}"
            rows.append([point.method, *_cells(top1), f"{cost:.10g}", str(int(on)), share])
        across, up = span(title, [dot.x.value for dot in dots]), span(_accuracy(made), _ends(dots), 0, 100)
        heading = f"Accuracy and {name}"
        best = ", ".join(dot.name for dot in dots if dot.kind == "front")
        image = scatter(dots, across, up, f"{heading}: {len(dots)} methods; on the front: {best or 'none'}.")
        head = [*_HEAD, axis.name, "front", "p_front"]
        drawn_of = {point.method for _, point, _ in known}
        missing = [p.method for p in made if not p.reason and p.method not in drawn_of]
        note = f"Not known of every run of {'; '.join(missing)}." if missing else ""
        drawn.append(Figure(f"accuracy-{axis.name}", heading, image, head, rows, note))
    return drawn


def gaps(made: Sequence[Point]) -> list[str]:
    """Which figures are not there, and which configurations are in none."""
    lacking = [axis for axis in AXES if all(_cost(point, axis) is None for point in made)]
    names = [_TITLES.get(axis.name, (axis.short,))[0] for axis in lacking]
    said = [f"No figure of {', '.join(names)}: no configuration has it in all its runs."] if names else []
    return said + [f"Not drawn: {point.method}, {point.reason}." for point in made if point.reason]


def forgetting(made: Sequence[Point]) -> Figure | None:
    """Accuracy on the tasks against what is left of that on the upstream task; None where no record says it."""
    kept = {p.method: p.costs(_after) for p in made if not p.reason}
    known = [(p, statistics.mean(values.tolist())) for p in made if (values := kept.get(p.method)) is not None]
    if not known:
        return None
    told = known[0][0].records[0].upstream or {}
    before, dots, rows = 100 * told["before"], [], []
    for point, after in known:
        learned, left = _percent(point.top1), _percent(after)
        dots.append(Dot(point.method, learned, left, "spoiled" if point.contaminated else "other"))
        rows.append([point.method, *_cells(learned), f"{before:.4f}", *_cells(left)[:3]])
    sides = [v for d in dots for v in (d.x.value, d.x.low, d.x.high) if not math.isnan(v)]
    across = span(_accuracy(made), sides, 0, 100)
    up = span("upstream top-1 %, after fine-tuning", [*_ends(dots), before], 0, 100)
    said = f"Learning against forgetting of {len(dots)} methods; before fine-tuning {before:.1f} %."
    image = scatter(dots, across, up, said, before)
    head = [*_HEAD, "upstream_before", "upstream_after", "after_low", "after_high"]
    shown = {point.method for point, _ in known}
    missing = [p.method for p in made if p.method not in shown]
    lacking = f" Not known of every run of {'; '.join(missing)}." if missing else ""
    note = f"{told['task']}: {before:.1f} % of {told['n']:,} held-out images before fine-tuning (dashed).{lacking}"
    return Figure("learning-forgetting", "What is learned and what is kept", image, head, rows, note)


def tasks(made: Sequence[Cell], pointed: Sequence[Point]) -> list[Figure]:
    """Bars of every task; the methods in one order, that of their means where they have one."""
    means = {p.method: p.top1.value for p in pointed if not p.reason}
    drawn = []
    by_task: dict[str, list[Cell]] = {}
    for cell in made:
        by_task.setdefault(cell.task, []).append(cell)
    for task, rows in by_task.items():
        rows.sort(key=lambda cell: (-means.get(cell.method, -1.0), cell.method))
        body = [[c.method, *(_cells(_percent(c.top1)) if c.done else ("failed", "", "", "0"))] for c in rows]
        image = bars(rows, f"Top-1 % of {len(rows)} methods on {task}, with 95 % intervals")
        drawn.append(Figure(f"bars-{task}", task, image, [*_HEAD], body, ""))
    return drawn


def _cost(point: Point, axis: Axis) -> float | None:
    return None if point.reason else point.cost(axis)


def _after(r: Record) -> float | None:
    """Accuracy on the upstream task after fine-tuning."""
    return r.upstream["after"] if r.upstream else None


def _accuracy(made: Iterable[Point]) -> str:
    count = max((len(point.runs) for point in made), default=0)
    return "top-1 %" + (f", mean of {count} tasks" if count > 1 else "")


def _percent(e: Estimate) -> Estimate:
    return Estimate(100 * e.value, 100 * e.low, 100 * e.high, e.n)


def _single(value: float) -> Estimate:
    return Estimate(value, math.nan, math.nan, 1)


def _ends(dots: Iterable[Dot]) -> list[float]:
    """Every height that a figure has to hold."""
    return [v for dot in dots for v in (dot.y.value, dot.y.low, dot.y.high) if not math.isnan(v)]


def _cells(e: Estimate) -> tuple[str, str, str, str]:
    """In percent, for CSV; nothing where there is no interval."""
    value, low, high = ("" if math.isnan(x) else f"{x:.4f}" for x in (e.value, e.low, e.high))
    return value, low, high, str(e.n)


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
