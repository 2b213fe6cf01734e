"""Pareto fronts: which points no other one beats in both value and cost."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def on_front(value: NDArray[np.float64], cost: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Find the points that no other point dominates: none is as good in both and better in one.

    Args:
        value, cost: ... x points; a higher value and a lower cost are better.

    Returns:
        True for each point on the front. Points that are equal in both are all on it, or none of them is.
    """
    order = np.lexsort((-value, cost), axis=-1)  # the cheapest first; among points of equal cost the best first
    values, costs = np.take_along_axis(value, order, -1), np.take_along_axis(cost, order, -1)
    new = np.concatenate([np.ones_like(costs[..., :1], bool), costs[..., 1:] != costs[..., :-1]], axis=-1)
    # the first point of equal cost
    first = np.maximum.accumulate(np.where(new, np.arange(costs.shape[-1]), 0), axis=-1)
    is_beaten = values < np.take_along_axis(values, first, -1)
    # the best value of a lower cost
    best_below = np.take_along_axis(np.maximum.accumulate(values, axis=-1), np.maximum(first - 1, 0), -1)
    is_beaten |= (first > 0) & (best_below >= values)
    front = np.empty_like(is_beaten)
    np.put_along_axis(front, order, ~is_beaten, -1)
    return front
