"""Draw the best score so far of a search against the number of candidates, or write it as numbers."""

from __future__ import annotations

import csv
import io
import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from glorabench.analysis.comparison import Side

CurvePoint = tuple[str, str, int, float]
_WIDE = 3  # panels, or names, in a row


def best_so_far(sides: Iterable[Side]) -> list[CurvePoint]:
    """(configuration, task, candidates scored, best score on the search split so far), mean over seeds.

    It is a step function, with a point wherever one of the seeds rises, and a point at the end.
    """
    points: list[CurvePoint] = []
    for side in sides:
        for task in side.tasks:
            searches = [side.runs[task, seed].search or {} for seed in side.seeds(task)]
            rises = {count for search in searches for count, _ in search["best"]}
            for count in sorted(rises | {search["evaluated"] for search in searches}):
                points.append((side.name, task, count, fmean(_best_at(search["best"], count) for search in searches)))
    return points


def _best_at(best: Sequence[Sequence[Any]], count: int) -> float:
    """The best score of the first `count` candidates; `best` has (candidates, score) at the first and at each rise."""
    return best[bisect_right([position for position, _ in best], count) - 1][1]


def curves_csv(points: Iterable[CurvePoint]) -> str:
    """The points as comma-separated values."""
    out = io.StringIO()
    rows = ((name, task, str(count), f"{best:.6f}") for name, task, count, best in points)
    csv.writer(out, lineterminator="\n").writerows([("configuration", "task", "candidates", "best"), *rows])
    return out.getvalue()


def curves_svg(points: Sequence[CurvePoint]) -> str:
    """Draw the points, with a panel for each task; the same points give the same bytes."""
    from matplotlib import rc_context, style
    from matplotlib.figure import Figure

    names, tasks = (list(dict.fromkeys(point[i] for point in points)) for i in (0, 1))
    wide = min(_WIDE, len(tasks))
    high = math.ceil(len(tasks) / wide)
    out = io.StringIO()
    # a fixed salt for ids, and text as text: so the bytes depend on no font file
    with style.context("default"), rc_context({"svg.hashsalt": "glorabench", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(3.2 * wide, 2.6 * high + 0.4), layout="constrained")
        panels = figure.subplots(high, wide, squeeze=False).flatten()
        for panel, task in zip(panels, tasks, strict=False):
            for name in names:
                line = [(count, 100 * best) for *key, count, best in points if key == [name, task]]
                panel.plot(*zip(*line, strict=True), drawstyle="steps-post", label=name)
            panel.set_title(task)
        for panel in panels[len(tasks) :]:
            panel.remove()
        figure.supxlabel("candidates scored")
        figure.supylabel("best so far, % of the search split")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=_WIDE)
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
