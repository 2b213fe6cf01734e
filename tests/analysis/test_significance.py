"""Ties: tests against SciPy and closed forms, tie groups of constructed cases, and what happens without outcomes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import binomtest, t, ttest_1samp

import test_wide_table
from glorabench.analysis import significance, statistics
from glorabench.analysis.cells import Group, cells, groups_of
from glorabench.analysis.suite_layouts import LAYOUTS
from glorabench.records.outcomes import pack, unpack
from glorabench.records.record import Record
from glorabench.reports.tables import long, suite
from test_long_table import N, made

COLUMNS = (
    *("task", "method", "top-1 %", "95 % interval", "n", "verdict", "params", "head", "stored kB", "step ms"),
    *("latency", "merge"),
)


def pair(ahead: int, behind: int, n: int) -> tuple[list[bool], list[bool]]:
    """Outcomes of which `ahead` are right on the first side alone and `behind` on the second."""
    both = [True] * (n - ahead - behind)
    return [True] * ahead + [False] * behind + both, [False] * ahead + [True] * behind + both


DISCORDANT = [(10, 0, 200), (0, 10, 200), (15, 5, 200), (30, 12, 1000), (100, 60, 2000), (20, 20, 300), (3, 2, 50)]


@pytest.mark.parametrize(("ahead", "behind", "n"), DISCORDANT)
def test_one_seed_is_mcnemars_exact_test(ahead: int, behind: int, n: int) -> None:
    first, second = pair(ahead, behind, n)
    assert statistics.difference_of_tables([first], [second]).exact_p == pytest.approx(
        binomtest(ahead, ahead + behind, 0.5).pvalue
    )


@pytest.mark.parametrize(("ahead", "behind", "n"), DISCORDANT[:-1])
def test_seeds_that_are_copies_agree_with_mcnemar(ahead: int, behind: int, n: int) -> None:
    first, second = pair(ahead, behind, n)
    exact = binomtest(ahead, ahead + behind, 0.5).pvalue
    assert statistics.difference_of_tables([first] * 3, [second] * 3).exact_p == pytest.approx(exact, abs=0.02)


def test_by_hand() -> None:
    first, second = pair(6, 0, 10)
    assert statistics.difference_of_tables([first], [second]).exact_p == pytest.approx(2 / 2**6)
    assert statistics.difference_of_tables([first], [first]).exact_p == 1.0


@given(st.integers(0, 12), st.integers(0, 12), st.integers(1, 3))
def test_p_does_not_depend_on_the_side_and_is_a_probability(ahead: int, behind: int, seeds: int) -> None:
    first, second = pair(ahead, behind, 30)
    there = statistics.difference_of_tables([first] * seeds, [second] * seeds).exact_p
    assert there == statistics.difference_of_tables([second] * seeds, [first] * seeds).exact_p
    assert 0 < there <= 1


def test_seeds_without_noise_of_examples_are_a_t_test_over_seeds() -> None:
    gaps = np.repeat([[0.02], [0.05], [-0.01]], 40, axis=1)
    found, expected = statistics.difference_of_tables(gaps, np.zeros_like(gaps)), ttest_1samp(gaps[:, 0], 0)
    assert (found.value, found.p, found.degrees_of_freedom) == pytest.approx((0.02, expected.pvalue, 2))
    low, high = expected.confidence_interval(0.95)
    assert (found.estimate.low, found.estimate.high) == pytest.approx((low, high))


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=3, max_size=40), st.integers(1, 4))
def test_seeds_that_agree_are_a_t_test_over_examples(row: list[float], seeds: int) -> None:
    assume(len(set(row)) > 1)
    found, expected = statistics.difference_of_tables([row] * seeds, np.zeros((seeds, len(row)))), ttest_1samp(row, 0)
    assert (found.value, found.p) == pytest.approx((np.mean(row), expected.pvalue))
    assert found.degrees_of_freedom == pytest.approx(len(row) - 1)


def test_the_variance_is_that_of_a_two_way_analysis_by_hand() -> None:
    gaps = np.array([[1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 0.0, 0.0]])
    # mean 1/2; no effect of seeds; examples 1, 1/2, 0, 1/2: MS 2 * (1/4 + 1/4) / 3; rest 1 / 3
    found = statistics.difference_of_tables(gaps, np.zeros_like(gaps))
    assert found.variance == pytest.approx((1 / 3 + 1 / 3 - 1 / 3) / 8)  # that of seeds, 0, counts as the rest
    assert found.degrees_of_freedom == pytest.approx((1 / 3) ** 2 / ((1 / 3) ** 2 * (1 / 1 + 1 / 3 + 1 / 3)))


@pytest.mark.parametrize("spread", [0.0, 0.03])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_no_difference_is_called_one_as_rarely_as_the_level_says(seeds: int, spread: float) -> None:
    """Examples differ in difficulty, seeds in how good each method came out."""
    generator = np.random.default_rng(4)
    rejected = 0
    for _ in range(400):
        hard = generator.normal(0.7, 0.2, 300)
        sides = [
            generator.random((seeds, 300)) < hard + generator.normal(0, spread, (seeds, 1)) for _ in ("first", "second")
        ]
        rejected += statistics.difference_of_tables(*sides).exact_p < 0.05
    assert rejected <= 32  # 0.05 * 400 and three standard deviations of that


def test_a_weighted_sum_has_the_weighted_variance_of_its_tasks() -> None:
    generator = np.random.default_rng(5)
    one, two = (
        statistics.difference_of_tables(generator.random((3, 50)) < p, generator.random((3, 50)) < 0.5)
        for p in (0.6, 0.9)
    )
    both = statistics.weighted_difference([(0.25, one), (0.75, two)])
    assert both.value == pytest.approx(0.25 * one.value + 0.75 * two.value)
    assert both.variance == pytest.approx(one.variance / 16 + 9 * two.variance / 16)
    assert (
        min(one.degrees_of_freedom, two.degrees_of_freedom)
        < both.degrees_of_freedom
        < one.degrees_of_freedom + two.degrees_of_freedom + 1
    )


def test_holms_correction_by_hand() -> None:
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert statistics.holm([]) == []


def test_a_stratified_interval_has_the_variance_of_the_closed_form() -> None:
    scores = np.random.default_rng(0).normal(0.8, [[0.01], [0.05], [0.02], [0.03]], size=(4, 5))
    weights = np.array([0.4, 0.3, 0.2, 0.1])
    parts = weights**2 * scores.var(axis=1, ddof=1) / 5
    half = t.ppf(0.975, 4 * parts.sum() ** 2 / (parts**2).sum()) * np.sqrt(parts.sum())
    found = statistics.stratified_mean(scores.tolist(), weights.tolist())
    centre = weights @ scores.mean(axis=1)
    assert (found.value, found.n) == (pytest.approx(centre), 5)
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half), abs=0.06 * half)


def test_a_stratified_interval_of_one_seed_is_none_and_of_equal_seeds_a_point() -> None:
    one = statistics.stratified_mean([[0.5], [0.7]], [0.5, 0.5])
    assert (one.value, one.n, np.isnan(one.low)) == (0.6, 1, True)
    same = statistics.stratified_mean([[0.5, 0.5], [0.7, 0.7]], [0.5, 0.5])
    assert (same.low, same.value, same.high) == (0.6, 0.6, 0.6)


def test_a_stratified_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(3)
    for tasks, seeds in ((2, 3), (8, 2)):
        found = [
            statistics.stratified_mean(generator.normal(0.5, 0.02, (tasks, seeds)).tolist(), [1 / tasks] * tasks)
            for _ in range(100)
        ]
        assert 86 <= sum(each.low <= 0.5 <= each.high for each in found) <= 100


def verdicts(*records: Record) -> dict[str, str]:
    return {
        method: verdict.kind
        for method, verdict in significance.verdicts_on_task({cell.method: cell for cell in cells(records)}).items()
    }


def outcomes(r: Record, right: list[bool]) -> Record:
    return replace(r, metrics={"top1": sum(right) / len(right), "n": len(right)}, outcomes={"top1": pack(right)})


def test_a_tie_group_is_the_best_and_what_the_corrected_test_does_not_tell_apart() -> None:
    """Eight examples of one side alone are p = 0.0078, which is not enough among seven comparisons."""
    records = [made(f"m{less}", right=150 - less) for less in (0, 1, 12, 60)]
    assert verdicts(*records) == {"m0": "best", "m1": "tied", "m12": "behind", "m60": "behind"}
    eight = [made("best", right=150), made("eight", right=142)]
    assert verdicts(*eight) == {"best": "best", "eight": "behind"}
    many = [*eight, *(made(f"m{i}", right=149) for i in range(6))]
    found = significance.verdicts_on_task({cell.method: cell for cell in cells(many)})
    assert found["eight"].kind == "tied"
    assert found["eight"].p == pytest.approx(7 * 2 / 2**8)


def test_what_the_test_split_chose_is_neither_best_nor_tied_and_one_alone_is_nothing() -> None:
    seen = made("glora", right=190, search="evolution", on="test")
    assert verdicts(seen, made(), made("full", right=90)) == {"lora": "best", "full": "behind"}
    assert verdicts(seen, made()) == {}
    assert verdicts(made(), made("full", status="failed")) == {}


@pytest.mark.parametrize(
    ("first", "second", "kind", "said"),
    [
        ((150, 152, 151), (100, 102, 101), "behind", "intervals do not overlap"),
        ((150, 160, 140), (145, 155, 135), "tied", "intervals overlap"),
        ((150,), (100,), "untested", "has no outcomes in common"),
    ],
)
def test_without_outcomes_intervals_decide_and_it_is_said(first: Any, second: Any, kind: str, said: str) -> None:
    records = [made("full", seed=s, right=r) for s, r in enumerate(first)]
    records += [replace(made(seed=s, right=r), outcomes={}) for s, r in enumerate(second)]
    verdict = significance.verdicts_on_task({cell.method: cell for cell in cells(records)})["lora"]
    assert (verdict.kind, verdict.p) == (kind, None)
    assert said in verdict.reason
    (finding,) = long.findings(Group(records))
    assert finding == f"digits: best is full; lora {verdict.reason}"


def test_the_long_table_has_the_verdict_of_each_row_and_of_the_means() -> None:
    right = {"lora": (150, 150), "full": (149, 149), "linear": (90, 110)}
    records = [
        made(method, task, 0, n) for method, both in right.items() for task, n in zip(("a", "b"), both, strict=True)
    ]
    rows = {row[:2]: row[COLUMNS.index("verdict")] for row in long.long_rows(Group(records))}
    for task in ("a", "b", "mean of 2 tasks"):
        assert [rows[task, method] for method in right] == ["best", "not separated", "behind"]
    assert ",best," in suite.suite_csv(groups_of(records))
    assert "| not separated |" in suite.suite_markdown(records)


def paired(records: list[Record]) -> list[Record]:
    return test_wide_table.scored(records)


def test_the_wide_table_has_signs_and_its_csv_names_the_columns() -> None:
    full = dict.fromkeys(test_wide_table.TASKS, 70.0)
    near = {**full, "cifar": 69.9, "dtd": 40.0}
    records = [*paired(test_wide_table.vtab(full, method="full")), *paired(test_wide_table.vtab(near, method="lora"))]
    first, second = test_wide_table.table_of(records)
    assert first["best"].split() == [entry.name for entry in LAYOUTS["vtab1k"].entries]
    assert (first["tied"], first["untested"]) == ("", "")
    assert "cifar" in second["tied"].split()
    assert "dtd" not in second["tied"].split()
    text = suite.suite_markdown(records)
    assert "| 70.0* |" in text
    assert "| 69.9= |" in text
    assert "| 40.0 |" in text
    assert "vtab_mean_19" not in second["tied"].split()  # 30 points less on one task is 1.6 on the mean
    assert "=: not separated" in text


def test_a_mean_is_tested_stratified_by_task() -> None:
    """Equal and opposite differences on two tasks are none in their mean."""
    right = {"lora": (150, 100), "full": (100, 150)}
    records = [
        made(method, task, 0, n) for method, both in right.items() for task, n in zip(("a", "b"), both, strict=True)
    ]
    assert {row[1]: row[5] for row in long.long_rows(Group(records))[-2:]} == {"lora": "best", "full": "best"}
    assert {row[:2]: row[5] for row in long.long_rows(Group(records))[:4]}["a", "full"] == "behind"


def test_taking_a_record_away_moves_only_its_column_and_the_means_over_it() -> None:
    full = dict.fromkeys(test_wide_table.TASKS, 70.0)
    records = [*paired(test_wide_table.vtab(full, method="full")), *paired(test_wide_table.vtab(full, method="lora"))]
    less = [r for r in records if (r.names["method"], r.names["task"]) != ("lora", "dtd")]
    before, after = test_wide_table.table_of(records), test_wide_table.table_of(less)
    touched = {"dtd", "natural_mean", "vtab_mean_groups", "vtab_mean_19"}
    assert {key for key in before[1] if before[1][key] != after[1][key]} == {*touched, "best"}
    assert set(before[1]["best"].split()) - set(after[1]["best"].split()) == touched  # all means are equal
    assert set(before[0]["best"].split()) - set(after[0]["best"].split()) == touched  # it stands alone there now
    assert {key for key in before[0] if before[0][key] != after[0][key]} == {"best"}
    assert after[1]["dtd"] == "-"
    assert "lora: no run (dtd)" in suite.suite_markdown(less)


def test_packed_outcomes_are_read_as_records_have_them() -> None:
    for n in (1, 7, 8, 9, N):
        bits = [i % 3 == 0 for i in range(n)]
        assert unpack(pack(bits)).tolist() == bits


def test_seeds_that_were_scored_on_other_examples_are_compared_by_their_intervals() -> None:
    records = [made(m, seed=s, right=n + s) for m, n in (("lora", 50), ("full", 150)) for s in (0, 1)]
    fewer = [outcomes(r, unpack(r.outcomes.get("top1", ""))[: N - r.config["seed"]]) for r in records]
    found = significance.verdicts_on_task({cell.method: cell for cell in cells(fewer)})
    assert found["lora"].reason.startswith("was not scored on the same examples with every seed: behind")
    assert "lora was not scored" in suite.suite_markdown(fewer)


def test_what_is_ahead_on_the_seeds_in_common_is_not_called_behind_by_their_test() -> None:
    best = [made("lora", seed=seed, right=right) for seed, right in ((0, 190), (1, 100), (2, 100))]
    other = [made("full", seed=seed, right=120) for seed in (1, 2)]
    verdict = significance.verdicts_on_task({cell.method: cell for cell in cells([*best, *other])})["full"]
    assert (verdict.kind, verdict.p) == ("tied", None)
    assert verdict.reason.startswith(
        "is ahead of it on the seeds that both have: not separated, as their intervals overlap"
    )
