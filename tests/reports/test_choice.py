"""Choosing within a budget: known answers on made records, and one line for what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from glorabench import cli
from glorabench.analysis.cells import Group
from glorabench.analysis.choice import Budget, choose_within
from glorabench.errors import BadInput
from glorabench.records import record
from glorabench.records.record import Record
from glorabench.reports.tables.choice import choice_part, sentence
from test_costs import run


def runs(method: str, right: int, params: int, merged: float | None = 1.0) -> list[Record]:
    """Three seeds; no merge leaves the latency above that of the plain backbone."""
    return [run(method, right + seed % 2, seed, params=params, merged=merged, unmerged=1.5) for seed in range(3)]


RECORDS = [
    *runs("full", 48, 1_302_400),
    *runs("lora", 46, 9_000),
    *runs("ssf", 45, 1_000),
    *runs("adapter", 47, 8_000, merged=None),
    *runs("linear", 10, 0),
]


def test_without_a_budget_the_best_of_all_and_its_ties() -> None:
    choice = choose_within(Group(RECORDS), Budget())
    assert [p.method for p in choice.best] == ["full"]
    assert {"lora", "adapter"} <= {p.method for p in choice.tied}
    assert "linear" not in {p.method for p in choice.tied}
    assert choice.smallest.method in ("ssf", "adapter")
    assert choice.within[0].method == "full"
    assert choice.beyond == {}


def test_limits_take_out_what_is_beyond_them_and_say_why() -> None:
    choice = choose_within(Group(RECORDS), Budget(params=9_000, latency=1.0))
    assert [p.method for p in choice.best] == ["lora"]
    assert {p.method for p in choice.within} == {"lora", "ssf", "linear"}
    assert choice.beyond["full"] == "1,302,400 parameters, more than 9,000"
    assert choice.beyond["adapter"] == "1.5 latency 64, more than 1"
    assert "linear" not in {p.method for p in choose_within(Group(RECORDS), Budget(score=50)).within}


def test_the_sentence_names_budget_best_ties_and_the_smallest() -> None:
    budget = Budget(params=9_000, latency=1.0)
    text = sentence(choose_within(Group(RECORDS), budget), budget)
    assert text.startswith(
        "Within at most 9,000 parameters, inference at most 1 times that of the plain backbone: lora is"
    )
    assert "top-1 92.67 %" in text
    assert text.endswith("not separated from it: ssf; the smallest of them is ssf, 1,000 parameters")
    part = choice_part(Group(RECORDS), budget)
    assert [row[0] for row in part.body] == ["lora", "ssf", "linear"]
    assert [row[4] for row in part.body] == ["best", "not separated", ""]


def test_what_saw_the_test_split_is_no_choice() -> None:
    seen = runs("cheat", 50, 1)
    for r in seen:
        r.selection["contaminated"] = True
    choice = choose_within(Group([*RECORDS, *seen]), Budget())
    (reason,) = [reason for name, reason in choice.beyond.items() if name.startswith("cheat")]
    assert reason == "something was chosen on the test split"


def test_nothing_within_the_budget_is_said_with_what_is_near() -> None:
    with pytest.raises(BadInput, match=r"no configuration is within this budget \(.*raise a limit"):
        choose_within(Group(RECORDS), Budget(score=100.5))


@pytest.mark.parametrize(("option", "code", "text"), [
    (["--max-params", "9k"], 0, "Within at most 9,000 parameters: adapter is the best"),
    (["--max-params", "nine"], 2, "--max-params 'nine' is no number"),
    (["--at-least", "nan"], 2, "--at-least 'nan' is no number"),
    (["--max-latency", "0.5"], 2, "no configuration is within this budget"),
])  # fmt: skip
def test_the_command(option: list[str], code: int, text: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for r in RECORDS:
        record.write_record(r, record.path_of(tmp_path, r.config))
    assert cli.main(["choose", "mini", "--results", str(tmp_path), *option]) == code
    out = capsys.readouterr()
    assert text in " ".join((out.out + out.err).split())
