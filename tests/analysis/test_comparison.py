"""Comparisons: what is chosen, what is refused, differences against scipy, and the sentence they end in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from glorabench.analysis import statistics
from glorabench.analysis.comparison import Side, compare_sides, select
from glorabench.errors import BadInput
from glorabench.records import record
from glorabench.records.filters import conditions_text
from glorabench.records.record import Record
from glorabench.reports.tables.comparison import conclusion_of
from glorabench.training.objectives.classification import TOP1
from test_long_table import N, made

TASKS = ("digits", "dsprites_loc")


def side(
    label: str, right: dict[str, tuple[int, ...]] | dict[str, list[int]], method: str = "lora", **values: Any
) -> Side:
    """A side with `right` examples right on each task, seed by seed."""
    runs = [made(method, task, seed, r, **values) for task, each in right.items() for seed, r in enumerate(each)]
    return Side(label, runs)


SAME = [made(rank=rank, task=task, seed=seed) for rank in (2, 4) for task in TASKS for seed in (0, 1)]
SEARCHED = [made("glora", search=name, winner=w) for name in ("evolution", "random") for w in ("inherit", "retrain")]
MANY = [*SAME, *SEARCHED, made("glora")]


@pytest.mark.parametrize(
    ("where", "chosen"),
    [
        ({"method.rank": 4}, SAME[4:]),
        ({"method": "lora", "method.rank": [4, 5]}, SAME[4:]),
        ({"method.rank": 2, "seed": 1}, [SAME[1], SAME[3]]),
        ({"method.rank": 2, "data.task": ["digits"]}, SAME[:2]),
        ({"method": "glora", "search": None}, MANY[-1:]),
        ({"search": "random", "search.winner": "retrain"}, SEARCHED[3:]),
        ({"search.algorithm._target_": "glorabench.evolution", "search.winner": "inherit"}, SEARCHED[:1]),
        ({"search.algorithm": {"_target_": "glorabench.random"}, "search.winner": "inherit"}, SEARCHED[2:3]),
        ({"names.method": "glora", "method.rank": None, "search": None}, MANY[-1:]),
    ],
)
def test_where_chooses_by_key_value_list_absence_and_name(where: dict[str, Any], chosen: list[Record]) -> None:
    assert select(MANY, where) == chosen


def test_a_value_that_is_a_list_is_chosen_as_a_whole_or_as_one_of_a_list() -> None:
    records = [made(targets=["q", "v"]), made(targets=["qkv"])]
    assert select(records, {"method.targets": ["q", "v"]}) == records[:1]
    assert select(records, {"method.targets": [["qkv"]]}) == records[1:]


@pytest.mark.parametrize(
    ("where", "named"),
    [
        ({"method": "full"}, "no record has method=full: they have lora or glora"),
        ({"method": "lora", "method.rank": 16}, "no record has method.rank=16: those with method=lora have 2 or 4"),
        ({"method.rank": [8, 16]}, "no record has method.rank=8 or 16: they have 2 or 4 or null"),
        ({"search": "evolution", "search.winner": "inherits"}, "those with search=evolution have inherit or retrain"),
        ({"method.rnk": 4}, "none has the key; did you mean 'method.rank'?"),
        ({"method": "glora", "method.path": "random"}, "none has the key"),
        ({"train.lr": None}, "no record has train.lr=null: they have 0.001"),
    ],
)
def test_where_that_nothing_meets_says_which_key_and_what_there_is(where: dict[str, Any], named: str) -> None:
    with pytest.raises(BadInput) as refused:
        select(MANY, where)
    assert named in str(refused.value)


def test_no_records_are_no_configuration() -> None:
    with pytest.raises(BadInput, match="no records"):
        select([], {})


@pytest.mark.parametrize(
    ("where", "named"),
    [
        ({"method": "lora"}, "method=lora is more than one configuration: method.rank is 2 or 4: add"),
        ({"search": "random"}, "search.winner is inherit or retrain"),
        ({"search.winner": "retrain"}, "search is evolution or random"),
        (
            {"method": "glora", "search": ["evolution", None], "search.winner": ["inherit", None]},
            "search is evolution or null",
        ),
        ({}, "no condition is more than one configuration"),
    ],
)
def test_several_configurations_are_refused_by_what_they_differ_in(where: dict[str, Any], named: str) -> None:
    with pytest.raises(BadInput) as refused:
        select(MANY, where)
    assert named in str(refused.value)


def test_where_is_told_in_words() -> None:
    where = {"method": "lora", "method.rank": [4, 8], "search": None, "train.lr": 0.1}
    assert conditions_text(where) == "method=lora, method.rank=4 or 8, search=null, train.lr=0.1"


RIGHT = ({"digits": (150, 160, 158), "dsprites_loc": (90, 120, 100)}, {"digits": (140, 141, 149)})
ONE = side("A", RIGHT[0], "glora")
TWO = side("B", {**RIGHT[1], "dsprites_loc": (95, 90, 99)}, "lora")


def test_a_task_is_the_paired_difference_of_its_outcomes() -> None:
    (digits, _) = compare_sides(ONE, TWO).tasks
    outcomes = [[[i < right for i in range(N)] for right in each] for each in (RIGHT[0]["digits"], RIGHT[1]["digits"])]
    assert digits.difference == statistics.paired_difference(*outcomes)
    assert (digits.first, digits.second) == pytest.approx((156 / N, 430 / 3 / N))


def test_the_mean_over_tasks_is_the_paired_t_test_of_the_seeds() -> None:
    first = [(150 + 90) / 2 / N, (160 + 120) / 2 / N, (158 + 100) / 2 / N]
    second = [(140 + 95) / 2 / N, (141 + 90) / 2 / N, (149 + 99) / 2 / N]
    expected = ttest_rel(first, second).confidence_interval(0.95)
    found = compare_sides(ONE, TWO).mean
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert found.value == pytest.approx((sum(first) - sum(second)) / 3)
    assert found.n == 3


def test_the_mean_is_over_seeds_that_every_task_has() -> None:
    a, b = (side(label, {"digits": (x, 100), "dsprites_loc": (60,)}) for label, x in (("a", 110), ("b", 100)))
    found = compare_sides(a, b)
    assert (found.mean.value, found.mean.n) == (pytest.approx(10 / 2 / N), 1)
    assert [on.difference.n for on in found.tasks] == [2, 1]


RUNS = st.integers(0, N)
GRIDS = st.lists(st.tuples(RUNS, RUNS, RUNS, RUNS), min_size=1, max_size=3)


@settings(max_examples=10, deadline=None)
@given(GRIDS)
def test_the_other_way_round_everything_is_the_other_way_round(grid: list[tuple[int, int, int, int]]) -> None:
    rights = [{f"task{i}": row[at : at + 2] for i, row in enumerate(grid)} for at in (0, 2)]
    a, b = side("a", rights[0], "full"), side("b", rights[1])
    there, back = compare_sides(a, b), compare_sides(b, a)
    assert back.mean.value == -there.mean.value
    assert (back.mean.low, back.mean.high) == pytest.approx((-there.mean.high, -there.mean.low))
    assert (back.sign, back.tally) == (-there.sign, there.tally[::-1])
    assert sum(there.tally) == len(grid)


def test_the_order_of_records_moves_nothing() -> None:
    backwards = compare_sides(Side("A", ONE.records[::-1]), Side("B", TWO.records[::-1]))
    assert (backwards.tasks, backwards.mean) == (compare_sides(ONE, TWO).tasks, compare_sides(ONE, TWO).mean)


# mean of (d, d + 2 s, d + s) examples: t(0.975, 2) * s / sqrt 3
HALF = 4.302652729911275 * 0.01 / 3**0.5


def ahead(by: int) -> tuple[Side, Side]:
    """On one task, by + 0, 4 and 2 examples of N = 200: by / 2 + 1 points +- 100 HALF."""
    seeds = (100, 100, 100)
    return side("A", {"digits": [100 + by, 104 + by, 102 + by]}, "glora"), side("B", {"digits": seeds})


def test_a_difference_whose_interval_excludes_zero_is_said_with_its_size() -> None:
    low, high = 0.11 - HALF, 0.11 + HALF
    span = f"95 % interval {100 * low:.2f} to {100 * high:.2f}, 3 seeds; "
    assert (
        conclusion_of(compare_sides(*ahead(20)))
        == f"A is ahead of B by 11.00 points ({span}1 win, 0 not separated, 0 losses of 1 task)"
    )
    assert conclusion_of(compare_sides(*ahead(20)[::-1])) == (
        f"B is behind A by 11.00 points ({span}0 wins, 0 not separated, 1 loss of 1 task)"
    )


def test_what_is_not_decided_is_said_to_be_so() -> None:
    a, b = ahead(-2)  # -1, 1 and 0 points
    assert conclusion_of(compare_sides(a, b)) == (
        f"not decided: A minus B is 0.00 points (95 % interval {-100 * HALF:.2f} to {100 * HALF:.2f}, 3 seeds; "
        "0 wins, 1 not separated, 0 losses of 1 task)"
    )


def test_one_seed_decides_nothing_whatever_it_says() -> None:
    found = compare_sides(side("A", {"digits": (200,)}), side("B", {"digits": (0,)}))
    assert found.sign == 0
    assert conclusion_of(found) == (
        "not decided: A minus B is 100.00 points (one seed, so no interval; 1 win, 0 not separated, 0 losses of 1 task)"
    )


def test_equal_gains_on_every_seed_do_not_become_a_win_by_rounding() -> None:
    """These three differences of a sum of zero leave -4e-17 in floating point, on every seed alike."""
    a = side("A", {"x": (66, 66), "y": (66, 66), "z": (141, 141)})
    b = side("B", {"x": (110, 110), "y": (130, 130), "z": (33, 33)})
    assert (compare_sides(a, b).mean.value, compare_sides(a, b).sign) == (0.0, 0)


@pytest.mark.parametrize("first", [True, False])
def test_what_saw_the_test_split_decides_nothing(first: bool) -> None:
    seen = side("A", {"digits": (190, 190, 190)}, "glora", search="evolution", on="test")
    pair = (seen, TWO_DIGITS) if first else (TWO_DIGITS, seen)
    found = compare_sides(*pair)
    assert found.mean.excludes_zero
    assert found.sign == 0
    assert conclusion_of(found) == "not decided: A saw the test split"
    assert (seen.name, TWO_DIGITS.name) == ("A [chosen on test]", "B")


TWO_DIGITS = side("B", {"digits": (140, 141, 149)})


def test_ratios_are_those_of_the_means_with_the_search_in_the_price() -> None:
    stages = {
        "retrain": {"seconds": 1.0, "flops": 5},
        "search": {"seconds": 2.0, "flops": 10},
        "supernet": {"seconds": 4.0, "flops": 20},
    }
    runs = [made("glora", seed=s, params=p, stages=stages) for s, p in ((0, 100), (1, 300))]
    a, b = Side("A", runs), side("B", {"digits": (1, 2)}, params=50, stages={"train": {"seconds": 3.0, "flops": 7}})
    found = compare_sides(a, b)
    assert (a.params, a.flops, b.flops) == (200, 35, 7)
    assert (found.params_ratio, found.flops_ratio) == (4, 5)
    assert list(a.stages) == ["supernet", "search", "retrain"]  # in the order of the run
    assert a.stages["search"] == {"seconds": 2.0, "flops": 10}


def test_a_ratio_that_there_is_not_is_none() -> None:
    plain, free = side("A", {"digits": (1,)}), side("B", {"digits": (1,)}, "linear", params=0)
    assert plain.flops is None
    assert compare_sides(plain, free).params_ratio is None
    assert compare_sides(plain, free).flops_ratio is None
    mixed = Side("A", [*side("", {"digits": (1,)}, stages={"train": {"seconds": 1, "flops": 1}}).records, made(seed=1)])
    assert mixed.flops is None  # one record that does not say it leaves the mean unsaid


def test_every_run_that_one_side_lacks_is_named() -> None:
    a, b = Side("A", ONE.records[1:]), Side("B", TWO.records[:-1])
    with pytest.raises(BadInput) as refused:
        compare_sides(a, b)
    assert "missing: A on digits, seed 0; B on dsprites_loc, seed 2. " in str(refused.value)


def test_a_failed_run_is_missing_with_its_reason() -> None:
    failed = made("lora", "digits", 1, status="failed")
    b = Side("B", [failed, *(r for r in TWO.records if r.run_id != failed.run_id)])
    with pytest.raises(BadInput, match=r"missing: B on digits, seed 1 \(failed: NonFiniteLoss\)\."):
        compare_sides(ONE, b)


def test_no_seed_of_every_task_is_refused() -> None:
    apart = [Side("A", [made(method, "a", 0), made(method, "b", 1)]) for method in ("lora", "full")]
    with pytest.raises(BadInput, match=r"A: no seed has a result on every task \(a, b\)"):
        compare_sides(*apart)
    with pytest.raises(BadInput, match="no seed"):
        compare_sides(Side("A", []), Side("B", []))


def test_records_that_do_not_compare_are_refused() -> None:
    other = Side("B", [replace(r, protocol=record.PROTOCOL + 1) for r in TWO.records])
    with pytest.raises(BadInput, match="do not compare"):
        compare_sides(ONE, other)


def test_points_have_no_negative_zero() -> None:
    assert [TOP1.difference_text(x) for x in (-1e-9, 0.0, -0.012345, 1.0)] == ["0.00", "0.00", "-1.23", "100.00"]
