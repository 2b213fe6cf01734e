"""Intervals against scipy, and against cases whose truth is known by construction."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import t, ttest_1samp, ttest_rel

from glorabench.analysis import statistics
from glorabench.analysis.statistics import Estimate

VALUES = st.lists(st.floats(0, 1), min_size=2, max_size=20)


@given(VALUES)
def test_the_interval_of_a_mean_is_students(values: list[float]) -> None:
    assume(np.std(values) > 1e-6)
    found = statistics.mean(values)
    expected = t.interval(0.95, len(values) - 1, np.mean(values), np.std(values, ddof=1) / np.sqrt(len(values)))
    assert found.value == pytest.approx(np.mean(values))
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert found.n == len(values)


def test_the_interval_of_a_mean_is_that_of_the_t_test() -> None:
    values = [0.71, 0.74, 0.69, 0.80, 0.77]
    found, expected = statistics.mean(values), ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_two_seeds_by_hand() -> None:
    # half width = t(0.975, 1) * s / sqrt 2 = tan(0.475 pi) * (b - a) / 2
    found = statistics.mean([0.4, 0.6])
    half = math.tan(0.475 * math.pi) * 0.1
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5 - half, 0.5 + half))


def test_one_seed_has_no_interval() -> None:
    found = statistics.mean([0.25])
    assert (found.value, found.n) == (0.25, 1)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert not found.excludes_zero


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.1, 0.2, True),
        (-0.2, -0.1, True),
        (-0.1, 0.1, False),
        (0.0, 0.1, False),
        (-0.1, 0.0, False),
    ],
)
def test_an_interval_that_touches_zero_does_not_exclude_it(low: float, high: float, expected: bool) -> None:
    assert Estimate(0.0, low, high, 3).excludes_zero is expected


def draws(seeds: int, examples: int, chance: float, generator: np.random.Generator) -> np.ndarray:
    return generator.random((seeds, examples)) < chance


PAIRS = st.integers(1, 4).flatmap(
    lambda seeds: st.integers(1, 12).flatmap(
        lambda examples: st.tuples(
            *[
                st.lists(
                    st.lists(st.booleans(), min_size=examples, max_size=examples),
                    min_size=seeds,
                    max_size=seeds,
                )
            ]
            * 2
        )
    )
)


@given(PAIRS)
def test_a_paired_difference_is_exact_antisymmetric_and_reproducible(
    pair: tuple[list[list[bool]], list[list[bool]]],
) -> None:
    first, second = pair
    there = statistics.paired_difference(first, second)
    back = statistics.paired_difference(second, first)
    assert there.value == pytest.approx(np.mean(first) - np.mean(second), abs=1e-12)
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))
    assert there == statistics.paired_difference(first, second)
    assert -1 <= there.low <= there.high <= 1
    assert there.n == len(first)


def test_identical_outcomes_differ_by_nothing() -> None:
    same = draws(3, 100, 0.7, np.random.default_rng(0)).tolist()
    assert astuple(statistics.paired_difference(same, same)) == (0.0, 0.0, 0.0, 3)


def test_right_everywhere_against_wrong_everywhere_is_certain() -> None:
    found = statistics.paired_difference([[True] * 50] * 2, [[False] * 50] * 2)
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


def test_the_width_is_that_of_the_paired_differences() -> None:
    """One seed: a mean of n values has their standard deviation / sqrt n."""
    n = 2000
    first = [True] * 600 + [False] * 1400
    second = [True] * 500 + [False] * 1500
    found = statistics.paired_difference([first], [second])
    half = 1.96 * np.std(np.array(first, float) - np.array(second, float)) / np.sqrt(n)
    assert found.value == pytest.approx(0.05)
    assert (found.low, found.high) == pytest.approx((0.05 - half, 0.05 + half), abs=0.1 * half)


def test_pairs_are_kept_together() -> None:
    """Methods right on nearly the same examples differ more surely than independent ones."""
    generator = np.random.default_rng(1)
    base = draws(1, 1000, 0.5, generator)
    better = base | draws(1, 1000, 0.02, generator)
    apart = draws(1, 1000, 0.51, generator)
    paired = statistics.paired_difference(better.tolist(), base.tolist())
    loose = statistics.paired_difference(apart.tolist(), base.tolist())
    assert paired.high - paired.low < 0.4 * (loose.high - loose.low)


def test_seeds_that_disagree_widen_the_interval() -> None:
    steady = [[True] * 60 + [False] * 40] * 4
    zero = [[False] * 100] * 4
    moody = [[True] * count + [False] * (100 - count) for count in (100, 20, 100, 20)]
    calm, wide = statistics.paired_difference(steady, zero), statistics.paired_difference(moody, zero)
    assert calm.value == wide.value == pytest.approx(0.6)
    assert wide.high - wide.low > 2 * (calm.high - calm.low)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(2)
    covered = 0
    for _ in range(100):
        first, second = (draws(3, 200, chance, generator) for chance in (0.75, 0.70))
        found = statistics.paired_difference(first.tolist(), second.tolist())
        covered += found.low <= 0.05 <= found.high
    assert 88 <= covered <= 100


def test_numbers_of_one_seed_are_the_paired_t_test_over_examples() -> None:
    """As SciPy has it; an interval of numbers has no end that it is cut at."""
    generator = np.random.default_rng(5)
    first, second = generator.normal(2, 3, 40), generator.normal(1, 3, 40)
    found = statistics.difference_of_tables([first], [second])
    expected = ttest_rel(first, second)
    assert found.exact_p == pytest.approx(expected.pvalue)
    assert found.value == pytest.approx(first.mean() - second.mean())
    interval = expected.confidence_interval()
    assert (found.estimate.low, found.estimate.high) == pytest.approx((interval.low, interval.high))
    assert found.estimate.high > 1


def test_numbers_and_the_same_numbers_as_bits_differ_in_the_test_alone() -> None:
    right = np.array([[True, True, False, True] * 10])
    wrong = np.array([[True, False, False, True] * 10])
    bits, reals = (
        statistics.difference_of_tables(right, wrong),
        statistics.difference_of_tables(right * 1.0, wrong * 1.0),
    )
    assert (bits.value, bits.variance) == (reals.value, reals.variance)
    assert bits.discordant == (10, 0)
    assert reals.discordant is None


def test_the_level_of_the_test_over_seeds_and_examples_holds_for_numbers() -> None:
    """Skewed numbers, as losses are: seeds and examples have effects of their own, and there is no difference."""
    generator = np.random.default_rng(11)
    rejected = 0
    for _ in range(400):
        examples = generator.exponential(1.0, (1, 200))
        sides = [
            examples * (1 + 0.1 * generator.normal(size=(5, 1))) + generator.exponential(0.3, (5, 200))
            for _ in range(2)
        ]
        rejected += statistics.difference_of_tables(*sides).p < 0.05
    assert 4 <= rejected <= 40
