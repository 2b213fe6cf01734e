"""Groups of ties: the first is that of the table, every method is in one, the best leads, intervals agree with p."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from glorabench.analysis import significance, statistics, tie_groups
from glorabench.analysis.cells import Group
from glorabench.analysis.costs import points
from glorabench.analysis.pairs import all_pairs, compare_points
from glorabench.records import record

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def group() -> Group:
    return Group(record.read_all([ROOT / "results" / "runs" / "mini"]))


def test_each_method_is_in_one_group_and_the_first_is_that_of_the_table(group: Group) -> None:
    all_points = points(group)
    ranking = tie_groups.ranking(group, all_points)
    assert sorted(ranking.order) == sorted(p.method for p in all_points)
    scores = {p.method: p.score.value for p in all_points}
    bests = [scores[g.best] for g in ranking.groups]
    assert bests == sorted(bests, reverse=True)
    for tied in ranking.groups:
        values = [scores[m] for m in tied.members]
        assert values == sorted(values, reverse=True)
        assert tied.members[0] == tied.best
    kinds = {method: verdict.kind for method, verdict in ranking.verdicts.items()}
    assert {m for m, kind in kinds.items() if kind in ("best", "tied")} == set(ranking.groups[0].members)
    assert ranking.group_of("nothing") is None


def test_of_many_groups_the_rest_is_not_tested(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tie_groups, "MOST_GROUPS", 2)
    ranking = tie_groups.ranking(group, points(group))
    assert [bool(g.best) for g in ranking.groups] == [True, True, False]
    assert len(ranking.order) == len(set(ranking.order)) == 22


def test_what_was_chosen_on_test_is_in_no_group(group: Group) -> None:
    marked = [replace(r, selection={**r.selection, "contaminated": r.names["method"] == "full"}) for r in group.records]
    spoiled = Group(marked)
    ranking = tie_groups.ranking(spoiled, points(spoiled))
    assert not any(method.startswith("full") for method in ranking.order)


def test_every_two_methods_are_compared_once_and_the_signs_turn(group: Group) -> None:
    all_points = points(group)[:5]
    pairs = all_pairs(all_points)
    assert set(pairs) == {(i, j) for i in range(5) for j in range(i + 1, 5)}
    back = compare_points(all_points[1], all_points[0])
    assert back is not None
    assert back.mean is not None
    there = pairs[0, 1].mean
    assert there is not None
    assert back.mean.value == pytest.approx(-there.value)


@pytest.mark.parametrize("factor", [1.0, 3.0, 21.0])
def test_an_interval_excludes_zero_where_the_corrected_p_is_below_the_level(factor: float, group: Group) -> None:
    first = next(cell for cell in group.cells if cell.method == "full")
    decided = set()
    for other in group.by_task[first.task]:
        if other is first:
            continue
        draws = sorted(first.by_draw().keys() & other.by_draw().keys())
        sides = [tuple(cell.by_draw()[draw].outcomes_of("top1") for draw in draws) for cell in (first, other)]
        paired = significance.paired_outcomes(sides[0], sides[1])
        assert isinstance(paired, statistics.PairedDifference)
        interval = paired.interval_of(factor)
        assert interval.excludes_zero == (min(1.0, factor * paired.p) < 0.05)
        assert interval.low <= paired.estimate.low
        decided.add(interval.excludes_zero)
    if factor == 1.0:
        assert decided == {True, False}
