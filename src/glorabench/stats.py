"""Uncertainty: the interval of a mean over seeds, of a weighted mean over tasks, and p values of many tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 10_000  # of a bootstrap


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; `low` and `high` are NaN when n < 2."""

    value: float
    low: float
    high: float
    n: int

    @property
    def excludes_zero(self) -> bool:
        """True when the interval lies wholly on one side of zero."""
        return self.low > 0 or self.high < 0


def mean(values: Sequence[float]) -> Estimate:
    """Mean over seeds with Student's t interval (n - 1 degrees of freedom)."""
    data = np.asarray(values, dtype=np.float64)
    centre, n = float(data.mean()), len(data)
    if n < 2:
        return Estimate(centre, float("nan"), float("nan"), n)
    from scipy.stats import t

    half = float(t.ppf(0.975, n - 1) * data.std(ddof=1) / np.sqrt(n))
    return Estimate(centre, centre - half, centre + half, n)


def holm(values: Sequence[float]) -> list[float]:
    """The p values corrected for their number by Holm's method: each may be held against the same level."""
    order, adjusted, largest = np.argsort(values, kind="stable"), [0.0] * len(values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = largest
    return adjusted


def stratified(scores: Sequence[Sequence[float]], weights: Sequence[float]) -> Estimate:
    """A weighted mean over tasks with the interval of a bootstrap stratified by task.

    Of the n seeds of each task n - 1 are drawn with replacement, apart from those of other tasks (Rao and Wu 1988: the
    variance is then that of the estimate); the draws are stretched to the tails of Student's t, whose degrees of
    freedom are Satterthwaite's.

    Args:
        scores: tasks x seeds.
        weights: of the tasks.
    """
    data, weight = np.asarray(scores, np.float64), np.asarray(weights, np.float64)
    tasks, n = data.shape
    centre = float(weight @ data.mean(axis=1))
    if n < 2:
        return Estimate(centre, float("nan"), float("nan"), n)
    parts = weight**2 * data.var(axis=1, ddof=1) / n
    if parts.sum() < 1e-24:
        return Estimate(centre, centre, centre, n)
    from scipy.stats import norm, t

    stretch = t.ppf(0.975, (n - 1) * parts.sum() ** 2 / (parts**2).sum()) / norm.ppf(0.975)
    drawn = np.random.default_rng(0).integers(n, size=(DRAWS, tasks, n - 1))
    missed = np.take_along_axis(data[None], drawn, axis=2).mean(axis=2) @ weight - centre
    low, high = centre + stretch * np.quantile(missed, [0.025, 0.975])
    return Estimate(centre, float(low), float(high), n)
