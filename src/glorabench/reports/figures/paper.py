"""Draw figures for papers with matplotlib: the front, the ranking, or every task, as PDF, SVG or PNG."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from glorabench.analysis.cells import Group
from glorabench.analysis.costs import AXES, Point, points
from glorabench.analysis.fronts import on_front
from glorabench.analysis.tie_groups import Ranking, ranking
from glorabench.errors import BadInput
from glorabench.records.metrics import Metric
from glorabench.reports.answer import rival_family
from glorabench.reports.figures.spots import far_off

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6a00", "#56b4e9")  # Okabe and Ito, yellow darkened
_MARKERS = ("o", "s", "^", "D", "P", "*")
_REST = "#808080"
_SETTINGS: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so the figure is the same everywhere
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.0,
    "pdf.fonttype": 42,  # TrueType: publishers refuse type 3
    "svg.fonttype": "path",
    "svg.hashsalt": "glorabench",
}
_METADATA = {
    "pdf": {"CreationDate": None, "Creator": "glorabench", "Producer": None},
    "svg": {"Date": None, "Creator": "glorabench"},
    "png": {"Software": "glorabench"},
}
_PARAMS = next(axis for axis in AXES if axis.name == "params")
_PANELS = 3  # in a row
_OFFSETS = tuple(  # of a name from its point, in typographic points, the nearest first
    (round(sx * far), round(sy * far))
    for far in (6, 9, 14, 20, 28, 38, 50, 64)
    for sx, sy in ((1, 0), (-1, 0), (0, 1), (0, -1), (0.8, 0.8), (-0.8, 0.8), (0.8, -0.8), (-0.8, -0.8))
)


@dataclass(frozen=True)
class _Shown:
    """A configuration in the unit that is shown."""

    point: Point
    value: float
    low: float
    high: float
    group: int | None

    @property
    def colour(self) -> str:
        return _REST if self.group is None or self.group >= len(_COLOURS) else _COLOURS[self.group]

    @property
    def marker(self) -> str:
        if self.group is None:
            return "x"
        return _MARKERS[self.group] if self.group < len(_MARKERS) else "."

    @property
    def weight(self) -> str:
        return "bold" if rival_family(self.point) else "normal"


def paper_figure(group: Group, kind: str, form: str, width: float) -> bytes:
    """Draw a figure of the records of one table. The same records give the same bytes.

    Args:
        group: the records.
        kind: `front`, the score against parameters; `ranking`, means with intervals; `tasks`, a panel for each task.
        form: `pdf`, `svg` or `png`.
        width: in inches.

    Raises:
        BadInput: no configuration has a result on all tasks.
    """
    from matplotlib import rc_context, style

    all_points = points(group)
    of_group = ranking(group, all_points)
    shown = [_shown(point, of_group) for point in all_points if not point.reason]
    if not shown:
        raise BadInput("no configuration has a result on every task, so there is nothing to draw")
    draw: dict[str, Callable[[Sequence[_Shown], Group, float], Any]]
    draw = {"front": _front, "ranking": _ranking, "tasks": _tasks}
    out = io.BytesIO()
    with style.context("default"), rc_context(_SETTINGS):
        draw[kind](shown, group, width).savefig(out, format=form, dpi=300, metadata=_METADATA[form])
    return out.getvalue()


def _shown(point: Point, of_group: Ranking) -> _Shown:
    scale, score = point.metric.scale, point.score
    ends = (scale * score.low, scale * score.high)
    return _Shown(point, scale * score.value, *ends, None if point.contaminated else of_group.group_of(point.method))


def _new_figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)  # it measures texts
    return figure


def _axis_title(metric: Metric, tasks: int) -> str:
    text = f"{metric.heading}, mean of {tasks} tasks" if tasks > 1 else metric.heading
    return text if metric.higher_is_better else f"{text} (lower is better)"


def _front(shown: Sequence[_Shown], group: Group, width: float) -> Any:
    """The score against trained parameters, with a line through the front."""
    import numpy as np

    figure = _new_figure(width, 0.72 * width)
    panel = figure.subplots()
    sized = [(item, cost) for item in shown if (cost := item.point.cost(_PARAMS)) is not None]
    if not sized:
        raise BadInput("no record says how many parameters were trained, so there is no front")
    for item, cost in sized:
        _point_with_interval(panel, cost, item)
    clean = [(item, cost) for item, cost in sized if item.group is not None]
    metric = sized[0][0].point.metric
    if clean:
        flags = on_front(
            np.array([metric.sign * item.value for item, _ in clean]), np.array([cost for _, cost in clean])
        )
        line = sorted((cost, item.value) for (item, cost), flag in zip(clean, flags, strict=True) if flag)
        panel.plot(*zip(*line, strict=True), color="0.6", linewidth=0.8, drawstyle="steps-post", zorder=1)
    costs = [cost for _, cost in sized]
    if max(costs) > 10 * min((cost for cost in costs if cost > 0), default=math.inf):
        panel.set_xscale("symlog", linthresh=min(cost for cost in costs if cost > 0) / 2)
        panel.set_xlim(-min(cost for cost in costs if cost > 0) / 8, 2.2 * max(costs))
    far = far_off([item.value for item, _ in sized])
    near = [item for item, _ in sized if item.value not in far]
    if any(value < min(item.value for item in near) for value in far):
        _begin_axis_at(panel, near)
    _name_points(figure, panel, [(cost, item) for item, cost in sized])
    panel.set_xlabel("trained parameters, without the head")
    panel.set_ylabel(_axis_title(metric, len(group.by_task)))
    return figure


def _begin_axis_at(panel: Any, items: Sequence[_Shown]) -> None:
    """Let the vertical axis begin a little below these points; their names say what lies below it."""
    ends = [x for item in items for x in (item.value, item.low, item.high) if not math.isnan(x)]
    panel.set_ylim(bottom=min(ends) - 0.08 * (max(ends) - min(ends)))


def _point_with_interval(panel: Any, cost: float, item: _Shown) -> None:
    if not math.isnan(item.low):
        panel.plot([cost, cost], [item.low, item.high], color=item.colour, linewidth=0.8, zorder=2)
    panel.plot([cost], [item.value], item.marker, color=item.colour, markersize=4.5, zorder=3)


def _name_points(figure: Any, panel: Any, placed: Iterable[tuple[float, _Shown]]) -> None:
    """Write names near their points, joined by a line, where no other name and no point is in the way."""
    from matplotlib.text import Text

    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    ordered = sorted(placed, key=lambda pair: (not rival_family(pair[1].point), pair[1].group or 0, -pair[1].value))
    taken: list[tuple[float, float, float, float]] = []
    for cost, item in ordered:
        x, y = panel.transData.transform((cost, item.value))
        taken.append((x - 4, y - 4, x + 4, y + 4))
    frame = panel.get_window_extent(renderer)
    low = panel.get_ylim()[0]
    for cost, item in ordered:
        for dx, dy in _OFFSETS:
            text = _name_at(panel, cost, item, low, dx, dy)
            text.update_positions(renderer)
            box = Text.get_window_extent(text, renderer)  # without the line to the point
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if inside and not any(
                box.x0 < x1 and x0 < box.x1 and box.y0 < y1 and y0 < box.y1 for x0, y0, x1, y1 in taken
            ):
                taken.append((box.x0, box.y0, box.x1, box.y1))
                break
            text.remove()


def _name_at(panel: Any, cost: float, item: _Shown, low: float, dx: int, dy: int) -> Any:
    """The name of a point, so many typographic points away from it; with its score where it lies below the axis."""
    is_below = item.value < low
    name = f"{item.point.method} \u2193 {item.value:.4g}" if is_below else item.point.method
    from matplotlib.patheffects import withStroke

    line = {"arrowstyle": "-", "linewidth": 0.4, "color": "0.6", "shrinkA": 0, "shrinkB": 3}
    return panel.annotate(
        name, (cost, low if is_below else item.value), xytext=(dx, dy), textcoords="offset points",
        ha="left" if dx > 0 else "right" if dx < 0 else "center", va="center",
        fontsize=6, fontweight=item.weight, arrowprops=line if abs(dx) + abs(dy) > 12 else None,
        path_effects=[withStroke(linewidth=1.5, foreground="white")], zorder=4,
    )  # fmt: skip


def _ranking(shown: Sequence[_Shown], group: Group, width: float) -> Any:
    """Means with intervals, the best at the top."""
    metric = shown[0].point.metric
    order = sorted(shown, key=lambda item: (item.group is None, -metric.sign * item.value, item.point.method))
    figure = _new_figure(width, 0.19 * len(order) + 0.6)
    panel = figure.subplots()
    for place, item in enumerate(order):
        if not math.isnan(item.low):
            panel.plot([item.low, item.high], [place, place], color=item.colour, linewidth=1.2)
        panel.plot([item.value], [place], item.marker, color=item.colour, markersize=4.5)
    panel.set_yticks(range(len(order)), [item.point.method for item in order])
    for label, item in zip(panel.get_yticklabels(), order, strict=True):
        label.set_fontweight(item.weight)
    panel.set_ylim(len(order) - 0.4, -0.6)
    panel.grid(axis="x", color="0.9", linewidth=0.6)
    panel.set_xlabel(_axis_title(metric, len(group.by_task)))
    return figure


def _tasks(shown: Sequence[_Shown], group: Group, width: float) -> Any:
    """A panel for each task, with the methods in the order of their means."""
    sign = shown[0].point.metric.sign
    order = [item.point.method for item in sorted(shown, key=lambda item: (-sign * item.value, item.point.method))]
    weights = {item.point.method: item.weight for item in shown}
    tasks = list(group.by_task)
    wide = min(_PANELS, len(tasks))
    high = math.ceil(len(tasks) / wide)
    figure = _new_figure(width, high * (0.13 * len(order) + 0.6))
    panels = figure.subplots(high, wide, squeeze=False, sharey=True).flatten()
    for panel, task in zip(panels, tasks, strict=False):
        cells = {cell.method: cell for cell in group.by_task[task] if cell.finished_runs}
        for place, method in enumerate(order):
            if method in cells:
                score, metric = cells[method].score, cells[method].metric
                colour = "black" if weights[method] == "bold" else "0.45"
                if not math.isnan(score.low):
                    ends = [metric.scale * metric.within(x) for x in (score.low, score.high)]
                    panel.plot(ends, [place, place], color=colour, linewidth=0.9)
                panel.plot([metric.scale * score.value], [place], "o", color=colour, markersize=3)
        panel.set_title(task)
        panel.grid(axis="x", color="0.9", linewidth=0.6)
    panels[0].set_yticks(range(len(order)), order)
    panels[0].set_ylim(len(order) - 0.4, -0.6)
    for panel in panels[len(tasks) :]:
        panel.remove()
    for panel in panels[::wide]:
        for label in panel.get_yticklabels():
            label.set(fontsize=6, fontweight=weights.get(label.get_text(), "normal"))
    figure.supxlabel(shown[0].point.metric.heading, fontsize=8)
    return figure
