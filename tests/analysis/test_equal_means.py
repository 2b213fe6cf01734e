"""Equal means are all the best, in whatever order the rows stand; rows of two versions of a search are told apart."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

from glorabench.analysis import cells, significance
from glorabench.analysis.cells import Group, groups_of
from glorabench.config.schema import SEARCH_VERSION
from glorabench.records import record
from glorabench.records.metrics import names_of_best
from glorabench.records.outcomes import pack
from glorabench.records.record import Record
from glorabench.records.store import suite_by_file
from glorabench.reports.tables import long, suite
from glorabench.reports.tables.verdict_words import VERDICT_WORDS
from glorabench.training.objectives.classification import TOP1
from test_long_table import N, made

RESULTS = Path(__file__).parents[2] / "results"


def with_right(method: str, right: int, seed: int = 0, **config: Any) -> Record:
    """A run that has the first `right` of all examples right."""
    outcomes = [i < right for i in range(N)]
    one = made(method=method, seed=seed, **config)
    return replace(one, metrics={**one.metrics, "top1": right / N}, outcomes={"top1": pack(outcomes)})


def verdicts(records: list[Record]) -> dict[str, significance.Verdict]:
    return significance.verdicts_on_task({cell.method: cell for cell in cells.cells(records)})


def test_two_with_the_same_mean_are_both_best_in_any_order():
    rows = [with_right("lora", 180), with_right("glora", 180), with_right("linear", 100), with_right("full", 179)]
    expected = verdicts(rows)
    assert [expected[name].kind for name in ("lora", "glora", "linear", "full")] == [
        "best",
        "best",
        "behind",
        "tied",
    ]
    said = set()
    for order in itertools.permutations(rows):
        assert verdicts(list(order)) == expected
        said.add(long.findings(Group(order))[0].partition(";")[0])
        shown = {row[1]: row[5] for row in long.long_rows(Group(order))}
        assert shown == {name: VERDICT_WORDS[verdict.kind] for name, verdict in expected.items()}
    assert said == {"digits: best are glora and lora, with equal means"}


def test_means_that_differ_by_rounding_alone_are_equal_and_others_are_not():
    assert names_of_best({"a": 0.1 + 0.2, "b": 0.3, "c": 0.3 - 1e-6}, TOP1) == ["a", "b"]
    assert names_of_best({"b": 0.4, "a": 0.3}, TOP1) == ["b"]
    assert names_of_best({}, TOP1) == []


def test_a_third_is_held_against_the_best_one_from_which_it_is_told_apart_least():
    """`third` lacks two of what `one` has right, and all that `other` has right."""
    half = N // 2
    one = replace(with_right("one", half), outcomes={"top1": pack(i < half for i in range(N))})
    other = replace(with_right("other", half), outcomes={"top1": pack(i >= N - half for i in range(N))})
    third = with_right("third", half - 2)
    found, alone = verdicts([other, third, one]), verdicts([third, one])
    assert (alone["third"].best, alone["third"].p) == ("one", pytest.approx(0.5))  # McNemar: two of two
    p = binomtest(half - 2, 2 * half - 2).pvalue
    assert (found["third"].kind, found["third"].best, found["third"].p) == ("tied", "other", pytest.approx(p))


def test_the_quickstart_says_the_same_in_both_orders():
    records = list(suite_by_file("mini", RESULTS / "quickstart").values())
    there, back = (
        suite.suite_parts(groups_of(records), long=True),
        suite.suite_parts(groups_of(records[::-1]), long=True),
    )
    assert {row[1:6] for row in there[0].body} == {row[1:6] for row in back[0].body}
    assert (
        there[0]
        .findings[0]
        .startswith("digits: best are glora and lora, with equal means; linear is not separated from it")
    )
    assert {line.partition(";")[0] for line in there[0].findings} == {
        line.partition(";")[0] for line in back[0].findings
    }


def searched(version: int, task: str, seed: int) -> Record:
    """A committed record of a search, as a search of another version would have left it."""
    found = suite_by_file("mini", RESULTS / "glora").values()
    one = next(
        r
        for r in found
        if (r.names.get("search"), r.names["task"], r.config["seed"]) == ("evolution", task, seed)
        and r.config["search"]["winner"] == "retrain"
    )
    config = {**one.config, "search": {**one.config["search"], "version": version}}
    return replace(one, config=config, run_id=record.run_id(config))


def test_a_record_of_an_earlier_search_is_read_shown_and_named(tmp_path):
    old = searched(2, "digits", 0)
    path = record.path_of(tmp_path, {**old.config, "names": old.names})
    record.write_record(old, path)
    assert record.read_record(path) == old
    notes = long.long_notes(Group([old]))
    assert f"Searched paths are of search.version=2; the search of this release is version {SEARCH_VERSION}" in notes
    assert "search.version" not in long.long_notes(Group([searched(SEARCH_VERSION, "digits", 0)]))


@pytest.mark.parametrize("tasks", [("digits", "digits"), ("digits", "shapes_count")], ids=["one task", "two tasks"])
def test_no_row_is_of_two_versions(tasks):
    both = [searched(2, tasks[0], 0), searched(SEARCH_VERSION, tasks[1], 1)]
    names = [cell.method for cell in cells.cells(both)]
    assert len(set(names)) == 2
    assert all(sum(f"search.version={version}" in name for name in names) == 1 for version in (2, SEARCH_VERSION))
    assert f"search.version=2 and search.version={SEARCH_VERSION}" in long.long_notes(Group(both))
