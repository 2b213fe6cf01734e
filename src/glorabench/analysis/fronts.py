"""Pareto fronts: which points no other one beats in both value and cost."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def on_front(value: NDArray[np.float64], cost: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points no other beats: none is as good in both and better in one. Equal points stand or fall together.

    Args:
        value, cost: ... x points; a higher value and a lower cost are better.
    """
    order = np.lexsort((-value, cost), axis=-1)  # the cheapest first, of equal cost the best
    best, paid = np.take_along_axis(value, order, -1), np.take_along_axis(cost, order, -1)
    new = np.concatenate([np.ones_like(paid[..., :1], bool), paid[..., 1:] != paid[..., :-1]], axis=-1)
    first = np.maximum.accumulate(np.where(new, np.arange(paid.shape[-1]), 0), axis=-1)  # of those of equal cost
    beaten = best < np.take_along_axis(best, first, -1)
    below = np.take_along_axis(np.maximum.accumulate(best, axis=-1), np.maximum(first - 1, 0), -1)  # of lower cost
    beaten |= (first > 0) & (below >= best)
    on = np.empty_like(beaten)
    np.put_along_axis(on, order, ~beaten, -1)
    return on
