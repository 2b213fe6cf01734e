"""The numbers behind the picture as compact JSON: the page compares two configurations that a reader chooses."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from glorabench.analysis.comparison import Comparison
from glorabench.analysis.costs import Point
from glorabench.analysis.pairs import all_pairs
from glorabench.analysis.statistics import Estimate
from glorabench.records.metrics import Metric
from glorabench.reports.captions import estimate_text


def picture_json(points: Sequence[Point], places: Sequence[int]) -> str:
    """Points, and the paired difference of each two of them, as JSON that can stand in a script element.

    A difference is [value, low, high, seeds] in the shown unit; the ends are null where there is no interval.

    Args:
        points: the configurations of a table.
        places: the two that are compared at first; may be empty.
    """
    pairs = all_pairs(points)
    comparison = next(iter(pairs.values()), None)
    data: dict[str, Any] = {
        "points": [_point(point) for point in points],
        "tasks": [] if comparison is None else [row.task for row in comparison.tasks],
        "unit": "" if comparison is None else comparison.metric.points,
        "higher": comparison is None or comparison.metric.higher_is_better,
        "digits": 2 if comparison is None else comparison.metric.digits,
        "pairs": {f"{i},{j}": _differences(each) for (i, j), each in pairs.items()},
        "first": list(places),
    }
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")


def _point(point: Point) -> dict[str, Any]:
    if point.reason:
        return {"name": point.method, "absent": point.reason}
    value, interval = estimate_text(point.score, point.metric)
    sizes = point.costs(lambda r: r.params["method"])
    facts: Mapping[str, Any] = {
        "name": point.method,
        "score": f"{value} {point.metric.unit}".strip(),
        "interval": interval,
        "n": point.score.n,
        "params": "" if sizes is None else f"{sizes.mean():,.0f}",
    }
    return dict(facts)


def _differences(comparison: Comparison) -> list[list[float | int | None]]:
    """The difference of the means, then of each task."""
    metric = comparison.metric
    mean = [None, None, None, 0] if comparison.mean is None else _numbers(comparison.mean, metric)
    return [mean, *(_numbers(row.difference, row.metric) for row in comparison.tasks)]


def _numbers(estimate: Estimate, metric: Metric) -> list[float | int | None]:
    numbers = (estimate.value, estimate.low, estimate.high)
    shown = [None if math.isnan(x) else round(metric.scale * x, metric.digits) + 0 for x in numbers]
    return [*shown, estimate.n]
