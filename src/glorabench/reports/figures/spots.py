"""The spots and axes of the picture of the first screen, from the points of a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from glorabench.analysis.costs import AXES, Point
from glorabench.analysis.statistics import Estimate
from glorabench.analysis.tie_groups import Ranking
from glorabench.reports.captions import estimate_text
from glorabench.reports.figures.figures import score_axis
from glorabench.reports.figures.picture import NARROW, WIDE, Spot, draw_picture
from glorabench.reports.figures.svg import axis_of

_PARAMS = next(axis for axis in AXES if axis.name == "params")


def spots_of(points: Sequence[Point], ranking: Ranking, families: Mapping[str, str]) -> list[Spot]:
    """One spot for each configuration with a mean and with parameters.

    Args:
        points: the configurations of a table.
        ranking: their groups of ties.
        families: `lora` or `glora` for the configurations of these.
    """
    spots = []
    for i, point in enumerate(points):
        size = None if point.reason else point.cost(_PARAMS)
        if size is None:
            continue
        metric, name = point.metric, point.method
        value, interval = estimate_text(point.score, metric)
        texts = [f"{value} {metric.unit}".strip(), f"95 % interval {interval}" if interval else "one seed, no interval"]
        hint = f"{name}: {', '.join(texts)}; n = {point.score.n}; {size:,.0f} parameters"
        score = Estimate(
            *(metric.scale * x for x in (point.score.value, point.score.low, point.score.high)), point.score.n
        )
        group = ranking.group_of(point.method)
        spots.append(Spot(i, name, size, score, group, families.get(point.method, ""), hint))
    return spots


def pictures(spots: Sequence[Spot], points: Sequence[Point], ranking: Ranking) -> tuple[str, str]:
    """The picture for a wide and for a narrow screen; the narrow one names LoRA, GLoRA and the best of each group."""
    values = [x for spot in spots for x in (spot.y.value, spot.y.low, spot.y.high) if not math.isnan(x)]
    across = axis_of("trained parameters, without the head", [spot.x for spot in spots])
    up = score_axis(points, points[spots[0].index].metric, values)
    best = {group.best for group in ranking.groups[:2]}
    named = [s.index for s in spots if s.family or points[s.index].method in best]
    alt = f"{up.title} against trained parameters of {len(spots)} configurations"
    wide = draw_picture(spots, across, up, alt, WIDE)
    return wide, draw_picture(spots, across, up, alt, NARROW, named)
