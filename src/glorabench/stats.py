"""Uncertainty: the interval of a mean over seeds, and of a paired difference between two methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MANY = 5000  # examples, from which on equal ones are drawn together
DRAWS = 10_000  # of a test: no p below 1 / (DRAWS + 1)
_PART = 2000  # of them at a time
Array = NDArray[np.float64]


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


def paired_difference(
    first: Sequence[Sequence[bool]], second: Sequence[Sequence[bool]], repeats: int = 2000
) -> Estimate:
    """Difference in accuracy, first - second, over paired seeds and the same examples.

    The interval is a bootstrap percentile interval with two levels: seeds, then examples, drawn with
    replacement, the pairs kept together. Its generator is fixed: the same records give the same interval.

    Args:
        first, second: outcomes, seeds x examples, row by row the same seed and the same examples.
        repeats: bootstrap samples.
    """
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    seeds, examples = difference.shape
    centre, counts = float(difference.mean()), None
    if examples > MANY:  # the same distribution, in a fraction of the time
        difference, counts = np.unique(difference, axis=1, return_counts=True)
    generator = np.random.default_rng(0)
    samples: NDArray[np.float64] = np.empty(repeats)
    for index in range(repeats):
        drawn = difference[generator.integers(seeds, size=seeds)].mean(axis=0)
        if counts is None:
            samples[index] = drawn[generator.integers(examples, size=examples)].mean()
        else:
            samples[index] = drawn @ generator.multinomial(examples, counts / examples) / examples
    low, high = np.quantile(samples, [0.025, 0.975])
    return Estimate(centre, float(low), float(high), seeds)


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Two-sided p of McNemar's exact test: of the examples that one side alone has right, half are each side's."""
    from scipy.stats import binomtest

    a, b = np.asarray(first, bool), np.asarray(second, bool)
    ahead, behind = int((a & ~b).sum()), int((b & ~a).sum())
    return float(binomtest(ahead, ahead + behind).pvalue) if ahead + behind else 1.0


def deviations(difference: Array, generator: np.random.Generator, repeats: int = DRAWS) -> Array:
    """By how much bootstrapped means of `difference`, seeds x examples, miss its mean; two levels, as in
    `paired_difference`."""
    seeds, examples = difference.shape
    kinds, counts = np.unique(difference, axis=1, return_counts=True)
    parts = []
    for start in range(0, repeats, _PART):
        size = min(_PART, repeats - start)
        weights = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=size) / seeds
        shares = generator.multinomial(examples, counts / examples, size=size) / examples
        parts.append(((weights @ kinds) * shares).sum(axis=1))
    return np.concatenate(parts) - float(difference.mean())


def p_value(value: float, missed: Array) -> float:
    """Two-sided: how often chance alone, such as `deviations`, is as far from zero as `value`."""
    return (1 + int((np.abs(missed) >= abs(value) - 1e-12).sum())) / (1 + len(missed))


def paired_p(first: Sequence[Sequence[bool]], second: Sequence[Sequence[bool]]) -> float:
    """Two-sided p of no difference; arguments as of `paired_difference`. McNemar's exact test for one seed; for several
    the bootstrap of `paired_difference`, moved to zero."""
    if len(first) == 1:
        return mcnemar(first[0], second[0])
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    difference *= np.sign(difference.mean()) or 1.0  # whichever side comes first
    return p_value(float(difference.mean()), deviations(difference, np.random.default_rng(0)))


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
