"""The spots and axes of the picture of the first screen, from the points of a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from glorabench.analysis.costs import AXES, Point
from glorabench.analysis.statistics import Estimate
from glorabench.analysis.tie_groups import Ranking
from glorabench.reports.captions import estimate_text
from glorabench.reports.figures.figures import score_axis
from glorabench.reports.figures.picture import NARROW_CANVAS, WIDE_CANVAS, Spot, draw_picture
from glorabench.reports.figures.svg import axis_of

MOST_SPOTS = 200  # of more configurations the picture shows LoRA, GLoRA and the best
_MOST_NAMES, _FEW = 60, 20  # spots that all have a label on a wide screen; labels where there are more, or less room
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
        text, interval = estimate_text(point.score, metric)
        texts = [f"{text} {metric.unit}".strip(), f"95 % interval {interval}" if interval else "one seed, no interval"]
        hint = f"{name}: {', '.join(texts)}; n = {point.score.n}; {size:,.0f} parameters"
        value, low, high = (metric.scale * x for x in (point.score.value, point.score.low, point.score.high))
        score = Estimate(value, low, high, point.score.n)
        group = ranking.group_of(point.method)
        spots.append(Spot(i, name, size, score, group, families.get(point.method, ""), hint))
    places = {method: place for place, method in enumerate(ranking.order)}
    spots.sort(key=lambda spot: (not spot.family, places.get(points[spot.index].method, len(places))))
    return sorted(spots[:MOST_SPOTS], key=lambda spot: spot.index)


def pictures(spots: Sequence[Spot], points: Sequence[Point], ranking: Ranking) -> tuple[str, str]:
    """The picture for a wide and for a narrow screen; the narrow one names LoRA, GLoRA and the best of each group."""
    far = far_off([spot.y.value for spot in spots])
    spots = [replace(spot, room=8) if spot.y.value in far else spot for spot in spots]
    inside = [spot for spot in spots if not spot.room]
    values = [x for spot in inside for x in (spot.y.value, spot.y.low, spot.y.high) if not math.isnan(x)]
    across = axis_of("trained parameters, without the head", [spot.x for spot in spots])
    up = score_axis(points, points[spots[0].index].metric, values)
    best = {group.best for group in ranking.groups[:2]}
    few = [s.index for s in spots if s.family or s.room or points[s.index].method in best][:_FEW]
    alt = f"{up.title} against trained parameters of {len(spots)} configurations"
    wide = draw_picture(spots, across, up, alt, WIDE_CANVAS, None if len(spots) <= _MOST_NAMES else few)
    return wide, draw_picture(spots, across, up, alt, NARROW_CANVAS, few)


def far_off(values: Sequence[float]) -> set[float]:
    """Values at either end that lie so far off that all others would share less than two thirds of the axis.

    At most a tenth of the values, and at least one, may be left out at each end.
    """
    ordered, far = sorted(values), set[float]()
    for _ in range(max(1, len(values) // 10)):
        if len(ordered) < 5:
            break
        reach = ordered[-1] - ordered[0]
        if ordered[-1] - ordered[1] < 2 / 3 * reach:
            far.add(ordered.pop(0))
        elif ordered[-2] - ordered[0] < 2 / 3 * reach:
            far.add(ordered.pop())
    return far
