"""The ranking of a section: a bar with an interval for each configuration, group after group."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from glorabench.analysis.costs import Point
from glorabench.analysis.tie_groups import Ranking
from glorabench.reports.captions import count_text, estimate_text
from glorabench.reports.figures.picture import SHAPES, mark_path
from glorabench.reports.figures.svg import Scale, axis_of
from glorabench.reports.tables.verdict_words import verdict_text


@dataclass(frozen=True)
class RankRow:
    """One configuration.

    Args:
        index: its place among the points.
        name: what people call it.
        family: `lora`, `glora` or empty.
        kind: the class of its colour.
        mark: the outline of its mark.
        value, interval, n, params: as text.
        end, low, high: the end of its bar and of its interval in percent of the axis; NaN where there is none.
        verdict: how it compares with the best of all.
    """

    index: int
    name: str
    family: str
    kind: str
    mark: str
    value: str
    interval: str
    n: str
    params: str
    end: float
    low: float
    high: float
    verdict: str

    @property
    def has_interval(self) -> bool:
        """True where there are several seeds."""
        return not math.isnan(self.low)


@dataclass(frozen=True)
class RankGroup:
    """A group of ties: its heading and rows."""

    title: str
    rows: list[RankRow]


@dataclass(frozen=True)
class RankTable:
    """The ranking.

    Args:
        groups: of ties, the best first; the last one may hold what was chosen on test.
        ticks: places in percent, and texts, of the ticks of its axis.
        heading: the head of the column of scores.
    """

    groups: list[RankGroup]
    ticks: list[tuple[float, str]]
    heading: str


def rank_table(points: Sequence[Point], ranking: Ranking, families: Mapping[str, str]) -> RankTable | None:
    """The ranking of the points of a table; None where none has a mean.

    Args:
        points: the configurations.
        ranking: their groups of ties.
        families: `lora` or `glora` for the configurations of these.
    """
    places = {point.method: i for i, point in enumerate(points)}
    spoiled = [p.method for p in points if p.contaminated and not p.reason]
    shown = [points[places[method]] for method in (*ranking.order, *spoiled)]
    if not shown:
        return None
    metric = shown[0].metric
    values = [metric.scale * x for p in shown for x in (p.score.value, p.score.low, p.score.high) if not math.isnan(x)]
    ends = [None if end is None else metric.scale * end for end in (metric.low, metric.high)]
    scale = axis_of(metric.heading, values, *ends)

    def row(method: str) -> RankRow:
        return _row(places[method], points[places[method]], ranking, families, scale)

    groups = []
    for i, group in enumerate(ranking.groups):
        groups.append(RankGroup(_title(i, group.best, len(group.members) - 1), [row(m) for m in group.members]))
    if spoiled:
        groups.append(RankGroup("Not ranked: something was chosen on the test split", [row(m) for m in spoiled]))
    ticks = [(round(100 * place, 2), text) for place, text in scale.ticks(500, 70)]
    return RankTable(groups, ticks, metric.heading)


def _title(place: int, best: str, others: int) -> str:
    if not best:
        return "Further methods, not compared with each other"
    first = f"Best: {best}" if place == 0 else f"Group {place + 1}: {best}"
    return f"{first}, and {count_text(others, 'other')} not separated from it" if others else first


def _row(index: int, point: Point, ranking: Ranking, families: Mapping[str, str], scale: Scale) -> RankRow:
    metric, score, group = point.metric, point.score, ranking.group_of(point.method)
    value, interval = estimate_text(score, metric)
    low, high = (metric.within(x) if not math.isnan(x) else x for x in (score.low, score.high))
    end, *ends = (
        round(100 * scale.place(metric.scale * x), 2) if not math.isnan(x) else x for x in (score.value, low, high)
    )
    sizes = point.costs(lambda r: r.params["method"])
    return RankRow(
        index=index,
        name=point.method,
        family=families.get(point.method, ""),
        kind="spoiled" if group is None else f"g{min(group, len(SHAPES))}",
        mark=mark_path(group, 8, 8),
        value=value,
        interval=interval,
        n=str(score.n),
        params="" if sizes is None else f"{sizes.mean():,.0f}",
        end=end,
        low=ends[0],
        high=ends[1],
        verdict=verdict_text(ranking.verdicts.get(point.method), score.n),
    )
