"""The searches of a section: the best score so far, a panel for each task, and the winner's curse."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from glorabench.analysis.comparison import Side
from glorabench.analysis.costs import Point
from glorabench.reports.claims import CURSE_COLUMNS, curse_rows
from glorabench.reports.figures.figures import Figure
from glorabench.reports.figures.lines import Line, line_chart
from glorabench.reports.figures.search_curves import CurvePoint, best_so_far

_KEYS = {"first", "score", "held_out", "n", "n_held_out", "evaluated", "best"}


def searched_sides(points: Iterable[Point]) -> list[Side]:
    """The configurations all of whose runs say how their search went."""
    sides = []
    for point in points:
        if not point.reason and all(r.search and r.search.keys() >= _KEYS for r in point.records):
            sides.append(Side(point.method, point.records))
    return sides


def curse_table(sides: Sequence[Side]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Head and rows of the table of search winners."""
    return CURSE_COLUMNS, curse_rows(sides)


def search_figures(sides: Sequence[Side]) -> list[Figure]:
    """A line chart for each task: the best score on the search split against the candidates scored."""
    curves = best_so_far(sides)
    metric = next(iter(sides[0].runs.values())).metric if sides else None
    figures = []
    for task in dict.fromkeys(task for _, task, *_ in curves):
        lines = [_line(curves, name, task, metric.scale if metric else 1.0) for name in _names(curves, task)]
        rows = [(name, str(count), f"{best:.6f}") for name, of_task, count, best in curves if of_task == task]
        image = line_chart(lines, "candidates scored", f"Best score so far on {task}")
        figures.append(Figure(f"search-{task}", task, image, ("configuration", "candidates", "best"), rows, ""))
    return figures


def _names(curves: Iterable[CurvePoint], task: str) -> list[str]:
    return list(dict.fromkeys(name for name, of_task, *_ in curves if of_task == task))


def _line(curves: Iterable[CurvePoint], name: str, task: str, scale: float) -> Line:
    of_line = [(float(count), scale * best) for *key, count, best in curves if key == [name, task]]
    return Line(name, tuple(of_line))
