"""`list` and `show`: what stands in them, in which order, and what is refused."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from glorabench.cli import main
from glorabench.records import record
from test_long_table import made


@pytest.fixture
def results(tmp_path: Path) -> Path:
    runs = [made(right=100), made("full", right=150), made("ssf", status="failed"), made(seed=1, right=90)]
    runs[0] = replace(runs[0], history=[{"epoch": i, "train_loss": 1 / i} for i in range(1, 90)])
    for age, r in enumerate(runs):
        path = record.path_of(tmp_path, r.config)
        record.write_record(r, path)
        os.utime(path, (1000 - age, 1000 - age))
    return tmp_path


def lines(capsys: pytest.CaptureFixture[str], *words: str) -> list[list[str]]:
    capsys.readouterr()
    assert main([*words, "--format", "md"]) == 0
    text = capsys.readouterr().out
    return [[cell.strip() for cell in line.strip("| \n").split(" | ")] for line in text.splitlines() if line[:1] == "|"]


def test_the_newest_is_first_and_a_column_sorts(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head, _, *rows = lines(capsys, "list", "--results", str(results))
    assert head[:6] == ["run", "suite", "task", "method", "seed", "status"]
    assert [row[3] for row in rows] == ["lora", "full", "ssf", "lora"]
    assert rows[2][5] == "failed: NonFiniteLoss"
    _, _, *rows = lines(capsys, "list", "--results", str(results), "--sort", "score")
    assert [row[3] for row in rows] == ["full", "lora", "lora", "ssf"]
    _, _, *rows = lines(capsys, "list", "mini", "method=lora", "--results", str(results), "--sort", "seed")
    assert [row[4] for row in rows] == ["1", "0"]


def test_a_run_is_shown_by_the_beginning_of_its_id(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = made(right=100).run_id
    assert main(["show", run[:8], "--results", str(results)]) == 0
    out = capsys.readouterr().out
    assert f"run {run}: lora on digits, seed 0: done" in out
    assert "top-1: 50.00 %" in out
    (curve,) = [line for line in out.splitlines() if "train_loss" in line]
    assert curve.split()[1] == "1"
    assert len(curve.split()[2]) == 60
    assert f"{run}.json" in out
    assert "report_on: test" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["list", "--sort", "scor"], "did you mean 'score'"),
        (["list", "nothing"], "no records of suite 'nothing'"),
        (["list", "method=nothing"], "no record has method=nothing"),
        (["show", "zzz"], "no run 'zzz'"),
        (["show", ""], "is the beginning of 4 ids"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(words: list[str], message: str, results: Path, capsys) -> None:
    assert main([*words, "--results", str(results)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
