"""Pareto fronts: closed-form probabilities, ties, what is left out, and the `cost` command."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import replace
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glorabench import cli
from glorabench.analysis import costs
from glorabench.analysis.cells import Group, groups_of
from glorabench.analysis.costs import AXES, Point, deployment_latency, points, relative_latency, stage_total
from glorabench.analysis.fronts import on_front
from glorabench.errors import BadInput
from glorabench.records import record
from glorabench.records.outcomes import pack
from glorabench.records.record import Record
from glorabench.reports.figures import files
from glorabench.reports.tables import costs as costs_table
from test_long_table import made

N = 50
NEAR = 0.035  # three standard errors of a share of 2,000


def run(
    method: str,
    right: int | Sequence[bool],
    seed: int = 0,
    task: str = "digits",
    seconds: float = 1.0,
    unmerged: float = 1.5,
    merged: float | None = 1.0,
    **values: Any,
) -> Record:
    """A record of which `right` of N examples are right (or those listed), with every cost."""
    bits = [i < right for i in range(N)] if isinstance(right, int) else list(right)
    one = made(method, task=task, seed=seed, **values)
    each = {"plain": {"median": 2.0}, "unmerged": {"median": 2 * unmerged}}
    timing = {**each, **({"merged": {"median": 2 * merged}} if merged else {})}
    stages = {"supernet": {"seconds": seconds, "flops": 2e12}, "search": {"seconds": 0.0, "flops": 1e12}}
    cost = {"stages": stages, "peak_bytes": 2**30, "peak_kind": "resident_set"}
    return replace(
        one,
        metrics={"top1": sum(bits) / len(bits), "n": len(bits)},
        outcomes={"top1": pack(bits)},
        merge={"mergeable": True} if merged else {"mergeable": False, "reason": "a branch"},
        cost={**one.cost, **cost, "latency_ms": {"batch_64": timing, "batch_1": timing}},
    )


def on(records: Sequence[Record], axis: str = "params") -> dict[str, tuple[bool, float] | None]:
    """By method: whether it is on the front, and how often."""
    found = points(Group(records))
    standings = costs.standings(found)[axis]
    return {p.method: (s.on_front, s.probability) if s else None for p, s in zip(found, standings, strict=True)}


def test_what_is_ahead_by_one_example_is_on_the_front_when_that_example_is_drawn() -> None:
    """The dearer one beats the cheaper one only where it draws what it has more: 1 - (1 - k/N)^N."""
    for k in (1, 3):
        found = on([run("cheap", 25, params=10), run("dear", 25 + k, params=20)])
        assert found["cheap"] == (True, 1.0)
        assert found["dear"][0]
        assert found["dear"][1] == pytest.approx(1 - (1 - k / N) ** N, abs=NEAR)


def test_what_is_ahead_on_one_of_two_seeds_is_on_the_front_when_that_seed_is_drawn() -> None:
    """Seed 0 is right on all and wrong on all, seed 1 equal: 1 - (1/2)^2."""
    found = on(
        [
            *(run("cheap", right, seed, params=10) for seed, right in enumerate((0, N))),
            *(run("dear", N, seed, params=20) for seed in (0, 1)),
        ]
    )
    assert found == {"cheap": (True, 1.0), "dear": (True, pytest.approx(0.75, abs=NEAR))}


def test_a_cost_that_varies_over_seeds_follows_the_seeds_that_are_drawn() -> None:
    """Mean of 1 and 3 seconds: below 2 in one draw of four, 2 in two, above in one; equal points stand together."""
    records = [run("varied", 25, seed, seconds=s) for seed, s in enumerate((1.0, 3.0))]
    records += [run("steady", 25, seed, seconds=2.0) for seed in (0, 1)]
    assert on(records, "seconds") == {
        "varied": (True, pytest.approx(0.75, abs=NEAR)),
        "steady": (True, pytest.approx(0.75, abs=NEAR)),
    }
    assert on(records, "flops") == {"varied": (True, 1.0), "steady": (True, 1.0)}


def test_a_dominated_point_is_never_on_the_front() -> None:
    """The same examples and more are right in the cheaper one: in every draw it is at least as good."""
    found = on([run("good", 30, params=10), run("bad", 25, params=20), run("same", 30, params=11)])
    assert found == {"good": (True, 1.0), "bad": (False, 0.0), "same": (False, 0.0)}


def test_seeds_are_paired_also_over_tasks() -> None:
    """Seed 0 gains on one task, seed 1 loses on the other: ahead in the draw of seed 0 alone, and in that of both where
    more of the examples gained are drawn than of those lost: Bin(50, 1/2) > Bin(50, 1/2)."""
    right = {("digits", 0): N, ("digits", 1): 25, ("svhn", 0): 25, ("svhn", 1): 0}
    records = [run("cheap", 25, seed, task, params=10) for task, seed in right]
    records += [run("dear", r, seed, task, params=20) for (task, seed), r in right.items()]
    tie = comb(2 * N, N) / 4**N
    assert on(records)["dear"] == (False, pytest.approx(1 / 4 + 1 / 2 * (1 - tie) / 2, abs=NEAR))
    both = [run("cheap", 0, seed, task, params=10) for task, seed in right]
    both += [run("dear", N if seed == 0 else 0, seed, task, params=20) for task, seed in right]
    assert on(both)["dear"][1] == pytest.approx(0.75, abs=NEAR)  # independent draws would give 1 - 1/16


def test_configurations_with_other_seeds_are_drawn_on_their_own() -> None:
    records = [run("cheap", right, seed, params=10) for seed, right in enumerate((0, N))]
    records += [run("dear", right, seed + 5, params=20) for seed, right in enumerate((0, N))]
    # means 0, 1/2, 1 with 1/4, 1/2, 1/4 each, independently: dear is ahead in 5 of 16
    assert on(records)["dear"] == (False, pytest.approx(5 / 16, abs=NEAR))


def test_equal_means_of_other_examples_are_a_tie_and_not_a_rounding_error() -> None:
    tasks = ("digits", "svhn", "cifar")
    one = [run("one", r, task=t, params=10) for t, r in zip(tasks, (10, 21, 35), strict=True)]
    two = [run("two", r, task=t, params=10) for t, r in zip(tasks, (35, 10, 21), strict=True)]
    found = on([*one, *two])
    assert found["one"][0]
    assert found["two"][0]


def test_the_same_records_give_the_same_numbers_in_any_order() -> None:
    records = [run(m, r + s, s, t) for m, r in (("a", 20), ("b", 22)) for s in (0, 1) for t in ("digits", "svhn")]
    assert on(records) == on(records[::-1])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=8))
def test_the_front_is_what_no_other_point_beats(pairs: list[tuple[int, int]]) -> None:
    top1, cost = np.array(pairs, float).T
    beaten = [
        any(a >= x and c <= y and (a > x or c < y) for a, c in zip(top1, cost, strict=True))
        for x, y in zip(top1, cost, strict=True)
    ]
    assert on_front(top1, cost).tolist() == [not b for b in beaten]


def test_costs_are_those_of_the_whole_run() -> None:
    one = run("lora", 25, seconds=4.0, params=7)
    (point,) = points(Group([one, run("lora", 25, task="svhn", seconds=6.0, params=7)]))
    assert {axis.name: point.cost(axis) for axis in AXES} == {
        **{"params": 7, "flops": 3e12, "seconds": 5.0, "peak_bytes": 2**30, "latency_64": 1.0, "latency_1": 1.0}
    }
    assert stage_total(made(), "flops") is None
    assert relative_latency(one, 1, "unmerged") == 1.5
    assert relative_latency(one, 64, "merged") == 1.0
    assert relative_latency(made(), 1, "merged") is None


@pytest.mark.parametrize(
    ("unmerged", "merged", "expected"), [(1.5, 1.08, 1.0), (0.97, 1.02, 1.0), (1.2, None, 1.2), (0.9, None, 1.0)]
)
def test_the_noise_of_a_stopwatch_decides_no_front(unmerged: float, merged: float | None, expected: float) -> None:
    assert deployment_latency(run("lora", 25, unmerged=unmerged, merged=merged), 64) == expected


def test_accuracy_is_of_the_seeds_that_every_task_has() -> None:
    records = [run("lora", 20 + 10 * s, s, t) for t in ("digits", "svhn") for s in (0, 1)]
    (point,) = points(Group([*records, run("lora", N, 2)]))
    assert point.score.value == pytest.approx(25 / N)
    assert point.score.n == 2
    assert point.draws == ((0, -1), (1, -1))


def test_what_misses_a_task_or_saw_the_test_split_is_on_no_front_and_beats_nothing() -> None:
    records = [run("lora", 20, task=t, params=10) for t in ("digits", "svhn")]
    records += [run("glora", 50, task=t, params=1, search="evolution", on="test") for t in ("digits", "svhn")]
    records += [run("ssf", 50, params=1), run("full", 50, status="failed"), run("full", 50, task="svhn", params=1)]
    records[-2] = made("full", status="failed")
    found = on(records)
    assert found["lora"] == (True, 1.0)
    assert [found[m] for m in found if m != "lora"] == [None] * 3
    reasons = {p.method: p.reason for p in points(Group(records))}
    assert reasons["ssf"] == "no result on svhn"
    assert reasons["full"] == "no result on digits"
    apart = [run("lora", 20, 0), run("lora", 20, 1, "svhn")]
    assert [p.reason for p in points(Group(apart))] == ["no seed has a result on every task"]


def test_a_cost_that_a_record_does_not_say_leaves_its_axis_alone() -> None:
    old = run("old", 30, params=5)
    old.cost.pop("stages")
    records = [old, run("new", 25, params=10)]
    assert on(records, "flops") == {"old": None, "new": (True, 1.0)}
    assert on(records)["new"] == (False, 0.0)
    assert on([old], "seconds") == {"old": None}


def test_outcomes_of_other_examples_are_refused() -> None:
    with pytest.raises(BadInput, match="not scored on the same examples"):
        on([run("a", 25), run("b", [True] * 10)])
    with pytest.raises(BadInput, match="not scored on the same examples"):
        on([run("a", 25), run("a", [True] * 10, seed=1)])
    with pytest.raises(BadInput, match="does not keep what each example got in top1"):
        on([replace(run("a", 25), outcomes={})])


def test_no_points_have_no_standings() -> None:
    assert costs.standings([Point("x", {}, reason="none")])["params"] == [None]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    records = [run(m, r, s, params=p) for m, r, p in (("lora", 30, 10), ("full", 35, 99)) for s in (0, 1)]
    records += [run("ssf", 20, s, unmerged=1.25, merged=None, params=99) for s in (0, 1)]
    for r in records:
        record.write_record(r, record.path_of(tmp_path, r.config))
    return tmp_path


def test_the_command_shows_every_number_as_csv(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cost", "--results", str(results), "--format", "csv"]) == 0
    lines = {line["method"]: line for line in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    lora, ssf = lines["lora"], lines["ssf"]
    assert (lora["score"], lora["n"], lora["params"], lora["flops"]) == ("0.6", "2", "10", "3e+12")
    assert (lora["unmerged_64"], lora["merged_1"], lora["mergeable"]) == ("1.50", "1.00", "1")
    assert (ssf["unmerged_64"], ssf["merged_64"], ssf["mergeable"]) == ("1.25", "", "0")
    assert (lora["front_params"], lora["p_front_params"]) == ("1", "1.0000")
    assert (ssf["front_params"], ssf["p_front_params"]) == ("0", "0.0000")
    assert (ssf["suite"], ssf["backbone"], ssf["rule"]) == ("mini", "vit_mini", "last_epoch")


@pytest.mark.parametrize("form", ["text", "md"])
def test_the_command_shows_both_tables_and_what_they_mean(
    results: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["cost", "mini", "--results", str(results), "--format", form]) == 0
    out = capsys.readouterr().out
    assert "on the front of" in out
    assert "1.00*" in out
    assert "60.00" in out
    assert "latency 64" in out
    assert "bootstrap" in out


def test_the_command_draws_a_front_for_each_cost_as_a_file_of_its_own(results: Path, tmp_path: Path) -> None:
    folder = tmp_path / "drawn"
    assert cli.main(["cost", "mini", "--results", str(results), "--figures", str(folder)]) == 0
    assert {path.name for path in folder.iterdir()} == {f"accuracy-{axis.name}.svg" for axis in AXES}
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    tree = ElementTree.fromstring(first["accuracy-params.svg"])
    space = "{http://www.w3.org/2000/svg}"
    assert tree.tag == f"{space}svg"
    kinds = {"".join(g.itertext()).partition(":")[0]: g.get("class") for g in tree.iter(f"{space}g")}
    assert kinds == {"LoRA": "front", "full fine-tuning": "front", "SSF": "other"}
    style = "".join(e.text or "" for e in tree.iter(f"{space}style"))
    used = {name for e in tree.iter() for name in e.get("class", "").split()}
    assert all(f".{name}" in style for name in used - {"other", "name"})  # names and others look as the rest
    assert cli.main(["cost", "mini", "--results", str(results), "--figures", str(folder)]) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first


def test_each_backbone_has_figures_that_say_what_they_are_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [run(m, r, backbone=b) for m, r in (("lora", 30), ("full", 35)) for b in ("vit_mini", "vit_b16")]
    for r in records:
        record.write_record(r, record.path_of(tmp_path, r.config))
    folder = tmp_path / "drawn"
    assert cli.main(["cost", "mini", "--results", str(tmp_path), "--figures", str(folder)]) == 0
    drawn = [(folder / name).read_text() for name in ("accuracy-params.svg", "accuracy-params-2.svg")]
    told = ["".join(ElementTree.fromstring(text).itertext()) for text in drawn]
    names = sorted(("vit_mini", "vit_b16"), key=lambda name: name not in told[0])
    assert all(f"2 runs of {name} on suite mini" in text for name, text in zip(names, told, strict=True))
    fake = [replace(r, provenance={"data": {"fake": True}}) for r in records[::2]]
    files.draw_fronts(map(costs.cost_group, groups_of(fake)), folder)
    assert "FAKE IMAGES" in (folder / "accuracy-params.svg").read_text()


def test_a_folder_that_cannot_be_made_is_named(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results / "file").touch()
    assert cli.main(["cost", "mini", "--results", str(results), "--figures", str(results / "file")]) == 2
    assert "give another folder with --figures" in capsys.readouterr().err


def test_what_was_measured_on_different_machines_is_said() -> None:
    records = [run("lora", 25), run("full", 25)]
    records = [replace(r, provenance={"device": d}) for r, d in zip(records, ("cpu", "H100"), strict=True)]
    assert "MEASURED ON DIFFERENT MACHINES (H100; cpu)" in "\n".join(costs_table.remarks(Group(records)))
    assert "MACHINES" not in "\n".join(costs_table.remarks(Group(records[:1])))
    assert "no FLOPs" in "\n".join(costs_table.remarks(Group([made()])))


def test_a_suite_without_records_says_how_to_make_some(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cost", "vtab1k", "--results", str(tmp_path)]) == 2
    assert "no records of suite 'vtab1k'" in capsys.readouterr().err
