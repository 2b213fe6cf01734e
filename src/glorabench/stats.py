"""Uncertainty: the interval of a mean over seeds, and of a paired difference between two methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MANY = 5000  # examples, from which on equal ones are drawn together


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
