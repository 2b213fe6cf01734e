"""Crossed: a paired difference between two methods, over seeds and examples that are both drawn at random.

Outcomes are a table, seeds x examples: every seed is scored on the same examples. The mean of such a table of
differences has the variance (MS_seeds + MS_examples - MS_rest) / (seeds x examples), from the mean squares of a two-way
analysis of variance without replication, and degrees of freedom after Satterthwaite (1946). Where seeds disagree it is
the t-test over seeds, where they agree the t-test over examples.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glorabench.stats import Estimate

WORDS = "Student's t of paired outcomes, seeds and examples both drawn at random"


@dataclass(frozen=True)
class Paired:
    """A difference in accuracy, first - second.

    Args:
        value: its mean.
        parts: whose sum is its variance, each with its degrees of freedom.
        n: seeds.
        alone: of one seed, how many examples the first and the second side alone have right.
    """

    value: float
    parts: tuple[tuple[float, float], ...]
    n: int
    alone: tuple[int, int] | None = None

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
        return Estimate(self.value, max(-1.0, self.value - half), min(1.0, self.value + half), self.n)


@lru_cache(1 << 16)  # of many pairs a few differ in as many examples
def _mcnemar(less: int, more: int) -> float:
    from scipy.stats import binomtest

    return float(binomtest(less, less + more).pvalue)


def paired(first: Any, second: Any) -> Paired:
    """The difference of two tables of outcomes.

    Args:
        first, second: right or wrong, seeds x examples, row by row the same seed and the same examples; examples that
            differ from seed to seed, as val of few shots does, add no variance of their own to the estimate.
    """
    gaps: NDArray[np.float64] = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    seeds, examples = gaps.shape
    value = float(gaps.mean())
    by_seed, by_example = gaps.mean(axis=1), gaps.mean(axis=0)
    alone = (int((gaps > 0).sum()), int((gaps < 0).sum())) if seeds < 2 else None
    if examples < 2:
        return Paired(value, ((float(by_seed.var(ddof=1)) / seeds, seeds - 1),) if seeds > 1 else (), seeds, alone)
    if seeds < 2:
        return Paired(value, ((float(by_example.var(ddof=1)) / examples, examples - 1),), seeds, alone)
    left = gaps - by_seed[:, None] - by_example + value
    rest = float((left**2).sum()) / ((seeds - 1) * (examples - 1))
    # no component of variance is below zero
    of_seeds = max(examples * float(by_seed.var(ddof=1)), rest)
    of_examples = max(seeds * float(by_example.var(ddof=1)), rest)
    squares = ((of_seeds, seeds - 1), (of_examples, examples - 1), (-rest, (seeds - 1) * (examples - 1)))
    return Paired(value, tuple((square / gaps.size, df) for square, df in squares if square), seeds)


def weighted(found: Iterable[tuple[float, Paired]]) -> Paired:
    """A weighted sum of differences of different tasks, whose examples are others."""
    known = list(found)
    parts = tuple((weight**2 * part, df) for weight, one in known for part, df in one.parts)
    return Paired(sum(weight * one.value for weight, one in known), parts, min(one.n for _, one in known))


def paired_difference(first: Any, second: Any) -> Estimate:
    """The difference in accuracy, first - second, with its interval; arguments as of `paired`."""
    return paired(first, second).estimate
