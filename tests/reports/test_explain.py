"""Why: the runs, files and commits behind a cell, and in what configs differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import test_wide_table
from glorabench import cli
from glorabench.errors import BadInput
from glorabench.records import record
from glorabench.records.record import Record
from glorabench.reports.tables.explain import explanation
from test_long_table import made

GIT = {"git": {"sha": "0123456789abcdef", "dirty": True}, "device": "cpu"}


def at(*records: Record) -> dict[Path, Record]:
    return {record.path_of(Path("results"), r.config): r for r in records}


def test_a_cell_names_its_runs_files_and_commits() -> None:
    first = replace(made(right=150), provenance=GIT)
    second = replace(made(seed=1, right=140), provenance={**GIT, "device": "cuda"})
    lines = explanation(at(first, second, made("full", right=50)), "lora/digits")
    assert lines[0] == "lora on digits: top-1 72.50, n 2"
    file = record.path_of(Path("results"), first.config)
    assert (
        lines[1] == f"  run {first.run_id}  seed 0  done, top-1 75.00  commit 0123456789ab (dirty)  {file}"
    )  # fmt: skip
    assert "    provenance.device: cpu (s0); cuda (s1)" in lines
    assert "    seed: 0 (s0); 1 (s1)" in lines
    assert lines[-1] == "  it is the best of its task"


def test_it_says_in_what_the_best_differs_and_how_it_stands() -> None:
    found = at(made(rank=2, right=90), made(rank=8, right=150), made(rank=8, right=150, task="b"))
    lines = explanation(found, "lora (rank=2)/digits")
    assert lines[0].startswith("lora (rank=2) on digits")
    assert "  against the best, lora (rank=8): behind; p < 0.001" in lines
    assert lines[lines.index("  both differ in:") + 1 :] == ["    method.rank: 2 (this); 8 (the best)"]
    both = explanation(found, "lora/digits")
    assert [line for line in both if line.endswith("n 1")] == [
        "lora (rank=2) on digits: top-1 45.00, n 1",
        "lora (rank=8) on digits: top-1 75.00, n 1",
    ]


def test_failed_contaminated_and_fake_runs_are_said_to_be() -> None:
    seen = made("glora", search="evolution", on="test", right=190)
    failed = made("lora", status="failed")
    faked = replace(made("full"), provenance={"data": {"fake": True}})
    lines = "\n".join([*explanation(at(seen, failed), "glora/digits"), *explanation(at(seen, failed), "lora/digits")])
    assert "done, top-1 95.00, chosen on test  commit not of a checkout" in lines
    assert "failed: NonFiniteLoss: step 3" in lines
    assert "lora on digits: no result" in lines
    assert "fake data" in "\n".join(explanation(at(faked), "full/digits"))


def test_a_mean_is_its_tasks_and_a_column_its_task() -> None:
    records = test_wide_table.vtab(test_wide_table.FULL, method="full")
    lines = explanation(at(*records), "full/specialized_mean")
    tasks = [line.split(" on ")[1].split(":")[0] for line in lines if line.startswith("full on ")]
    assert tasks == ["patch_camelyon", "eurosat", "resisc45", "diabetic_retinopathy"]
    assert len([x for x in explanation(at(*records), "full/vtab_mean_19") if x.startswith("full on ")]) == 19
    shift = test_wide_table.imagenet()
    assert explanation(at(shift), "lora/imagenet_a/top1_200")[0].startswith("lora on imagenet_16shot")
    few = [test_wide_table.fewshot("food101", k, 0, 0.5) for k in (1, 2)] + [
        test_wide_table.fewshot("stanford_cars", 1, 0, 0.5)
    ]
    assert len([x for x in explanation(at(*few), "lora/food101") if x.startswith("lora on ")]) == 2


@pytest.mark.parametrize("cell", ["lora/digit", "lorra/digits", "lora", "/", ""])
def test_a_cell_that_there_is_not_is_refused_with_the_nearest(cell: str) -> None:
    with pytest.raises(BadInput, match=rf"no cell '{cell}' \(METHOD/TASK\).*lora/digits") as refused:
        explanation(at(made()), cell)
    assert "\n" not in str(refused.value)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    r = made()
    record.write_record(r, record.path_of(tmp_path, r.config))
    assert cli.main(["table", "mini", "--results", str(tmp_path), "--why", "lora/digits"]) == 0
    out = capsys.readouterr().out
    assert str(record.path_of(tmp_path, r.config)) in out
    assert cli.main(["table", "mini", "--results", str(tmp_path), "--why", "glora/digits"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert cli.main(["table", "vtab1k", "--results", str(tmp_path), "--why", "glora/cifar"]) == 2


def test_a_column_has_its_own_metric() -> None:
    first, second = test_wide_table.imagenet(), test_wide_table.imagenet("full")
    second.metrics["imagenet_a/top1_200"] = 0.5
    lines = explanation(at(first, second), "lora/imagenet_a/top1_200")
    assert lines[0] == "lora on imagenet_16shot: imagenet_a/top1_200 30.00, n 1"
    assert "done, imagenet_a/top1_200 30.00" in lines[1]
    assert any(line.startswith("  against the best, full: ") for line in lines)


def test_a_cell_without_a_run_is_said_to_be_one_and_a_mean_names_what_it_lacks() -> None:
    records = [
        *test_wide_table.vtab(test_wide_table.FULL),
        *test_wide_table.vtab({"cifar": 50.0, "svhn": 50.0}, method="full"),
    ]
    with pytest.raises(BadInput, match="full has no run on dtd, failed or done: make one"):
        explanation(at(*records), "full/dtd")
    lines = explanation(at(*records), "full/natural_mean")
    assert lines[-1].startswith("no run of full on caltech101, dtd, oxford_flowers102, ")
    with pytest.raises(BadInput, match=r"no cell 'fulll/cifar' .*did you mean 'full/cifar'"):
        explanation(at(*records), "fulll/cifar")
