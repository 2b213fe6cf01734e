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
from scipy.special import bdtr, ndtri, stdtr, stdtrit  # scipy.stats takes as long to import as a table to make

DRAWS = 10_000  # samples of a bootstrap

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
        """True when the whole interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


def mean(values: Sequence[float]) -> Estimate:
    """Mean over seeds with Student's t interval (n - 1 degrees of freedom)."""
    data = np.asarray(values, dtype=np.float64)
    centre, n = float(data.mean()), len(data)
    if n < 2:
        return Estimate(centre, float("nan"), float("nan"), n)
    half = float(stdtrit(n - 1, 0.975) * data.std(ddof=1) / np.sqrt(n))
    return Estimate(centre, centre - half, centre + half, n)


def holm(values: Sequence[float]) -> list[float]:
    """Correct p values for their number by Holm's method, so that one level serves all of them."""
    order, result, largest = np.argsort(values, kind="stable"), [0.0] * len(values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        result[index] = largest
    return result


def stratified_mean(scores: Sequence[Sequence[float]], weights: Sequence[float]) -> Estimate:
    """A weighted mean over tasks with the interval of a bootstrap stratified by task.

    Of the n seeds of each task n - 1 are drawn with replacement, apart from those of other tasks (Rao and Wu 1988: the
    variance is then that of the estimate); the draws are stretched to the tails of Student's t, whose degrees of
    freedom are Satterthwaite's.

    Args:
        scores: tasks x seeds.
        weights: the weight of each task.
    """
    data, weight = np.asarray(scores, np.float64), np.asarray(weights, np.float64)
    tasks, n = data.shape
    centre = float(weight @ data.mean(axis=1))
    if n < 2:
        return Estimate(centre, float("nan"), float("nan"), n)
    variances = weight**2 * data.var(axis=1, ddof=1) / n
    if variances.sum() < 1e-24:
        return Estimate(centre, centre, centre, n)
    stretch = stdtrit((n - 1) * variances.sum() ** 2 / (variances**2).sum(), 0.975) / ndtri(0.975)
    samples = np.random.default_rng(0).integers(n, size=(DRAWS, tasks, n - 1))
    deviations = np.take_along_axis(data[None], samples, axis=2).mean(axis=2) @ weight - centre
    low, high = centre + stretch * np.quantile(deviations, [0.025, 0.975])
    return Estimate(centre, float(low), float(high), n)


@dataclass(frozen=True)
class PairedDifference:
    """A difference in a metric, first - second.

    Args:
        value: the mean difference.
        components: the components of its variance, each with its degrees of freedom.
        n: number of seeds.
        discordant: the examples that only the first side, and only the second side, has right. None unless there is
            one seed and examples are right or wrong.
        limit: the largest difference that is possible.
    """

    value: float
    components: tuple[tuple[float, float], ...]
    n: int
    discordant: tuple[int, int] | None = None
    limit: float = 1.0

    @property
    def variance(self) -> float:
        """The variance of the mean."""
        return sum(component for component, _ in self.components)

    @property
    def degrees_of_freedom(self) -> float:
        """Degrees of freedom, after Satterthwaite."""
        return self.variance**2 / sum(component**2 / df for component, df in self.components)

    @property
    def p(self) -> float:
        """Two-sided p of no difference, by Student's t."""
        if self.variance <= 0:
            return 1.0 if self.value == 0 else 0.0
        return float(2 * stdtr(self.degrees_of_freedom, -abs(self.value) / sqrt(self.variance)))

    @property
    def exact_p(self) -> float:
        """Two-sided p of no difference: for one seed by McNemar's exact test, for several seeds `p`."""
        if self.discordant is None:
            return self.p
        return _mcnemar(*sorted(self.discordant)) if any(self.discordant) else 1.0

    @property
    def estimate(self) -> Estimate:
        """The difference with its 95 % interval, cut at `limit`."""
        return self.interval_of(1.0)

    def interval_of(self, factor: float) -> Estimate:
        """The difference with an interval at 95 %, corrected for several tests, and cut at `limit`.

        Args:
            factor: by how much the correction multiplied p; the interval then excludes zero where the corrected p of
                Student's t is below 0.05.
        """
        if self.variance <= 0:
            return Estimate(self.value, self.value, self.value, self.n)
        half = float(stdtrit(self.degrees_of_freedom, 1 - 0.025 / max(1.0, factor))) * sqrt(self.variance)
        return Estimate(self.value, max(-self.limit, self.value - half), min(self.limit, self.value + half), self.n)


@lru_cache(1 << 16)  # many pairs share the same few counts
def _mcnemar(losses: int, wins: int) -> float:
    return min(1.0, float(2 * bdtr(losses, losses + wins, 0.5)))


def difference_of_tables(first: Any, second: Any) -> PairedDifference:
    """Compute the difference of two tables of outcomes.

    Args:
        first, second: seeds x examples. Each row has the same seed and the same examples in both. Values are right or
            wrong (bool), or numbers. Where examples differ from seed to seed, as in few-shot validation, their variance
            is not counted apart.
    """
    first, second = np.asarray(first), np.asarray(second)
    right_or_wrong = first.dtype == second.dtype == bool
    limit = 1.0 if right_or_wrong else np.inf
    gaps: NDArray[np.float64] = first.astype(np.float64) - second.astype(np.float64)
    seeds, examples = gaps.shape
    value = float(gaps.mean())
    by_seed, by_example = gaps.mean(axis=1), gaps.mean(axis=0)
    discordant = (int((gaps > 0).sum()), int((gaps < 0).sum())) if seeds < 2 and right_or_wrong else None
    if examples < 2:
        components = ((float(by_seed.var(ddof=1)) / seeds, seeds - 1),) if seeds > 1 else ()
        return PairedDifference(value, components, seeds, discordant, limit)
    if seeds < 2:
        components = ((float(by_example.var(ddof=1)) / examples, examples - 1),)
        return PairedDifference(value, components, seeds, discordant, limit)
    remainder = gaps - by_seed[:, None] - by_example + value
    remainder_square = float((remainder**2).sum()) / ((seeds - 1) * (examples - 1))
    # a component of variance is never below zero
    of_seeds = max(examples * float(by_seed.var(ddof=1)), remainder_square)
    of_examples = max(seeds * float(by_example.var(ddof=1)), remainder_square)
    squares = ((of_seeds, seeds - 1), (of_examples, examples - 1), (-remainder_square, (seeds - 1) * (examples - 1)))
    components = tuple((square / gaps.size, df) for square, df in squares if square)
    return PairedDifference(value, components, seeds, limit=limit)


def weighted_difference(differences: Iterable[tuple[float, PairedDifference]]) -> PairedDifference:
    """The weighted sum of differences on different tasks, given as pairs of weight and difference."""
    differences = list(differences)
    components: list[tuple[float, float]] = []
    for weight, difference in differences:
        components += [(weight**2 * component, df) for component, df in difference.components]
    return PairedDifference(
        sum(weight * difference.value for weight, difference in differences),
        tuple(components),
        min(difference.n for _, difference in differences),
        limit=sum(abs(weight) * difference.limit for weight, difference in differences),
    )


def paired_difference(first: Any, second: Any) -> Estimate:
    """The difference, first - second, with its interval; see `difference_of_tables` for the arguments."""
    return difference_of_tables(first, second).estimate
