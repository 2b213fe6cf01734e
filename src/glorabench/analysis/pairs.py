"""Compare every two configurations of a table on the tasks and seeds that both have."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from glorabench.analysis.comparison import Comparison, Side, compare_sides, place_of
from glorabench.analysis.costs import Point
from glorabench.errors import BadInput

MOST_COMPARED = 60  # configurations; the pairs of more of them take too long and too much room


def compare_points(first: Point, second: Point) -> Comparison | None:
    """The first configuration against the second; None where they share no seed on all tasks, or do not compare."""
    common = {place_of(r) for r in first.records} & {place_of(r) for r in second.records}
    sides = [Side(p.method, [r for r in p.records if place_of(r) in common]) for p in (first, second)]
    if not common:
        return None
    try:
        return compare_sides(sides[0], sides[1])
    except BadInput:
        return None


def all_pairs(points: Sequence[Point]) -> dict[tuple[int, int], Comparison]:
    """The comparison of each two points with a score, by their places; empty for more than `MOST_COMPARED` points."""
    indices = [i for i, point in enumerate(points) if point.may_be_on_front]
    if len(indices) > MOST_COMPARED:
        return {}
    pairs = {(i, j): compare_points(points[i], points[j]) for i, j in combinations(indices, 2)}
    return {key: comparison for key, comparison in pairs.items() if comparison is not None}
