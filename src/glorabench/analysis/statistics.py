"""Means with intervals, paired differences with intervals, and p values of many tests.

Outcomes are a table, seeds x examples: every seed is scored on the same examples. The mean of a table of paired
differences has the variance (MS_seeds + MS_examples - MS_rest) / (seeds x examples), from the mean squares of a two-way
analysis of variance without replication, and degrees of freedom after Satterthwaite (1946). Where seeds disagree it is
the t-test over seeds, where they agree the t-test over examples.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

DRAWS = 10_000  # of a bootstrap

PAIRED_TEST = "Student's t of paired outcomes, seeds and examples both drawn at random"


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


@dataclass(frozen=True)
class Paired:
    """A difference in a metric, first - second.

    Args:
        value: its mean.
        parts: whose sum is its variance, each with its degrees of freedom.
        n: seeds.
        alone: of one seed, where an example is right or wrong, how many the first and the second side alone have right.
        limit: no difference is larger than that.
    """

    value: float
    parts: tuple[tuple[float, float], ...]
    n: int
    alone: tuple[int, int] | None = None
    limit: float = 1.0

    @property
    def variance(self) -> float:
        """Of the mean."""
        return sum(part for part, _ in self.parts)

    @property
    def freedom(self) -> float:
        """Degrees of freedom, after Satterthwaite."""
        return self.variance**2 / sum(part**2 / df for part, df in self.parts)

    @property
    def p(self) -> float:
        """Two-sided p of no difference, Student's t."""
        if self.variance <= 0:
            return 1.0 if self.value == 0 else 0.0
        from scipy.stats import t

        return float(2 * t.sf(abs(self.value) / sqrt(self.variance), self.freedom))

    @property
    def exact(self) -> float:
        """Two-sided p: of one seed McNemar's exact test, by which half of the examples that one side alone has right
        are each side's; of several seeds `p`."""
        if self.alone is None:
            return self.p
        return _mcnemar(*sorted(self.alone)) if any(self.alone) else 1.0

    @property
    def estimate(self) -> Estimate:
        """With its 95 % interval, cut at the ends that a difference can have."""
        if self.variance <= 0:
            return Estimate(self.value, self.value, self.value, self.n)
        from scipy.stats import t

        half = float(t.ppf(0.975, self.freedom)) * sqrt(self.variance)
        return Estimate(self.value, max(-self.limit, self.value - half), min(self.limit, self.value + half), self.n)


@lru_cache(1 << 16)  # of many pairs a few differ in as many examples
def _mcnemar(less: int, more: int) -> float:
    from scipy.stats import binomtest

    return float(binomtest(less, less + more).pvalue)


def paired(first: Any, second: Any) -> Paired:
    """The difference of two tables of outcomes.

    Args:
        first, second: seeds x examples, row by row the same seed and the same examples: right or wrong (of type bool),
            or numbers. Examples that differ from seed to seed, as val of few shots does, add no variance of their own
            to the estimate.
    """
    first, second = np.asarray(first), np.asarray(second)
    right_or_wrong = first.dtype == second.dtype == bool
    limit = 1.0 if right_or_wrong else np.inf
    gaps: NDArray[np.float64] = first.astype(np.float64) - second.astype(np.float64)
    seeds, examples = gaps.shape
    value = float(gaps.mean())
    by_seed, by_example = gaps.mean(axis=1), gaps.mean(axis=0)
    alone = (int((gaps > 0).sum()), int((gaps < 0).sum())) if seeds < 2 and right_or_wrong else None
    if examples < 2:
        parts = ((float(by_seed.var(ddof=1)) / seeds, seeds - 1),) if seeds > 1 else ()
        return Paired(value, parts, seeds, alone, limit)
    if seeds < 2:
        return Paired(value, ((float(by_example.var(ddof=1)) / examples, examples - 1),), seeds, alone, limit)
    remainder = gaps - by_seed[:, None] - by_example + value
    rest = float((remainder**2).sum()) / ((seeds - 1) * (examples - 1))
    # no component of variance is below zero
    of_seeds = max(examples * float(by_seed.var(ddof=1)), rest)
    of_examples = max(seeds * float(by_example.var(ddof=1)), rest)
    squares = ((of_seeds, seeds - 1), (of_examples, examples - 1), (-rest, (seeds - 1) * (examples - 1)))
    parts = tuple((square / gaps.size, df) for square, df in squares if square)
    return Paired(value, parts, seeds, limit=limit)


def weighted(differences: Iterable[tuple[float, Paired]]) -> Paired:
    """A weighted sum of differences on different tasks, whose examples are others; pairs of weight and difference."""
    differences = list(differences)
    parts = tuple((weight**2 * part, df) for weight, one in differences for part, df in one.parts)
    return Paired(
        sum(weight * one.value for weight, one in differences),
        parts,
        min(one.n for _, one in differences),
        limit=sum(abs(weight) * one.limit for weight, one in differences),
    )


def paired_difference(first: Any, second: Any) -> Estimate:
    """The difference, first - second, with its interval; arguments as of `paired`."""
    return paired(first, second).estimate
