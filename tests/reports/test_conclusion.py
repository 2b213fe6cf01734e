"""What a sweep says at its end: known answers on records whose outcomes are known."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from glorabench.analysis.cells import Group
from glorabench.records import record
from glorabench.records.outcomes import unpack
from glorabench.reports.conclusion import conclusion_lines
from test_costs import run

QUICKSTART = Path(__file__).parents[2] / "results" / "quickstart" / "runs"


def seeds(method: str, right: int, **values) -> list[record.Record]:
    return [run(method, right + seed % 2, seed, **values) for seed in range(3)]


def test_the_best_its_ties_and_its_lead_are_named() -> None:
    group = Group(
        [*seeds("linear", 10, params=0), *seeds("full", 48, params=1_302_400), *seeds("ssf", 47, params=1_000)]
    )
    first, second = conclusion_lines(group)
    assert first == (
        "digits: full is the best, with top-1 96.67 %; not told apart from it: ssf; "
        "the smallest of them is ssf, 1,000 parameters."
    )
    assert second.startswith("full minus ssf, the next one: 2.00 points (95 % interval ")
    assert second.endswith(", 3 seeds).")


def test_the_lead_over_tasks_is_that_of_the_outcomes() -> None:
    """A paired t test over the examples of both tasks, written out for one seed."""
    group = Group([r for r in record.read_all([QUICKSTART]) if r.config["seed"] == 0])
    first, second = conclusion_lines(group)
    assert first.startswith("mean of 2 tasks: lora is the best, with top-1 ")
    outcomes = {(r.names["method"], r.names["task"]): unpack(r.outcomes["top1"]) for r in group.records}
    gaps = [
        np.subtract(outcomes["lora", task], outcomes["glora", task], dtype=np.float64)
        for task in ("digits", "dsprites_loc")
    ]
    value = np.mean([gap.mean() for gap in gaps])
    variances = [gap.var(ddof=1) / len(gap) / 4 for gap in gaps]
    freedom = sum(variances) ** 2 / sum(v**2 / (len(gap) - 1) for v, gap in zip(variances, gaps, strict=True))
    half = stats.t.ppf(0.975, freedom) * np.sqrt(sum(variances))
    points = (
        f"{100 * value:.2f} points (95 % interval {100 * (value - half):.2f} to {100 * (value + half):.2f}, 1 seed)"
    )
    assert second == f"lora minus glora, the next one: {points}."


def test_many_ties_are_counted() -> None:
    names = ("bitfit", "dora", "houlsby", "lora", "pfeiffer", "ssf")
    rows = [r for name in names for r in seeds(name, 47, params=len(name))]
    first = conclusion_lines(Group([*seeds("full", 48), *rows]))[0]
    assert "; not told apart from it: 6 others; the smallest of them is ssf, 3 parameters." in first


def test_equal_means_are_all_the_best_and_have_no_lead() -> None:
    (line,) = conclusion_lines(Group([*seeds("full", 48), *seeds("ssf", 48)]))
    assert line.startswith("digits: full and ssf are the best, with top-1 96.67 %")


def test_what_does_not_count_is_left_out_by_name() -> None:
    cheat = seeds("cheat", 50)
    for r in cheat:
        r.selection["contaminated"] = True
    group = Group([*seeds("full", 48), *seeds("ssf", 30), *cheat])
    *_, last = conclusion_lines(group)
    assert re.fullmatch(r"left out: cheat.* \(something was chosen on the test split\)", last)
    assert not any("cheat" in line for line in conclusion_lines(group)[:-1])


@pytest.mark.parametrize("methods", [["lora"], []])
def test_one_method_is_no_comparison(methods: list[str]) -> None:
    assert conclusion_lines(Group([r for method in methods for r in seeds(method, 40)])) == []
