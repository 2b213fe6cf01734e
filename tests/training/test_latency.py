"""Latency that is not measured: every reader of records goes on, with a dash; and measuring has an end."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from glorabench.analysis.cells import Group
from glorabench.cli import main
from glorabench.config.compose import compose
from glorabench.records.record import Record, path_of, write_record
from glorabench.records.store import suite_by_file
from glorabench.reports import wandb_runs
from glorabench.reports.tables import long
from glorabench.training.measure import profiling
from glorabench.training.run import run

COLUMNS = (
    *("task", "method", "top-1 %", "95 % interval", "n", "verdict", "params", "head", "stored kB", "step ms"),
    *("latency", "merge"),
)

RESULTS = Path(__file__).parents[2] / "results" / "quickstart"


@pytest.fixture
def unmeasured(results: Path) -> list[Record]:
    """The quickstart, as it is without the measurement, in a results folder."""
    records = [replace(r, cost={**r.cost, "latency_ms": None}) for r in suite_by_file("mini", RESULTS).values()]
    for r in records:
        write_record(r, path_of(results, r.config))
    return records


def test_a_run_can_leave_it_out_and_is_the_same_run(results, cache, monkeypatch):
    words = ["method=linear", "logger=none", "progress=none", "train.epochs=1", f"results_dir={results}"]
    made = run(compose([*words, "latency_rounds=0"]))
    assert made.cost["latency_ms"] is None
    assert made.merge == {
        "mergeable": True,
        **{key: made.merge[key] for key in ("max_abs_diff", "flipped", "n", "dtype")},
    }
    monkeypatch.setattr("glorabench.training.run._execute", lambda _: pytest.fail("the run was repeated"))
    assert run(compose([*words, "latency_rounds=3"])) == made


def test_every_reader_shows_a_dash_or_leaves_it_out(unmeasured, results, capsys):
    where = ["--results", str(results)]
    latency = {row[1]: row[COLUMNS.index("latency")] for row in long.long_rows(Group(unmeasured)) if row[0] == "digits"}
    assert set(latency.values()) == {"-"}
    for command in (["table", "mini", "--long"], ["cost", "mini"], ["compare", "method=lora", "method=glora"]):
        assert main([*command, *where]) == 0
        assert "latency" in capsys.readouterr().out or command[0] == "compare"
    assert main(["cost", "mini", "--format", "csv", *where]) == 0
    for row in csv.DictReader(capsys.readouterr().out.splitlines()):
        assert [row[name] for name in ("unmerged_64", "merged_1", "front_latency_64")] == ["", "", ""]
    assert main(["cost", "mini", "--format", "md", *where]) == 0
    head, _, *body = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    at = head.index("unmerged 64")
    assert {row[at] for row in body[: len(latency)]} == {"-"}
    assert main(["report", "mini", *where]) == 0
    assert "accuracy-latency" not in (results / "report.html").read_text()
    assert json.dumps([wandb_runs.replay_of_record(r).summary for r in unmeasured])


def test_measuring_ends_when_its_time_is_up():
    """A million rounds would take hours."""
    calls = []
    net = nn.Identity()
    net.register_forward_hook(lambda *_: calls.append(1))
    found = profiling.latency({"one": net, "two": nn.Linear(3, 3)}, torch.ones(2, 3), rounds=1_000_000, seconds=0.0)
    assert found.keys() == {"one", "two"}
    assert found["one"]["median"] > 0
    assert calls
    assert profiling.latency({"one": net}, torch.ones(2, 3), rounds=2)["one"].keys() == {"median", "iqr"}
