"""Records of schema 2 are read as what they were: every number, and what it is called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from glorabench.records import record
from glorabench.records.metrics import Metric
from glorabench.records.migration import SCHEMA, migrate
from glorabench.records.record import CorruptRecord

ROOT = Path(__file__).resolve().parents[2]
RUNS = sorted((ROOT / "results").glob("quickstart/runs/*/*.json")) + sorted(
    (ROOT / "results" / "mini").glob("../runs/mini/glora+*s0*.json")
)


def as_schema_2(data: dict[str, Any]) -> dict[str, Any]:
    """The record as release 0.5 wrote it."""
    old = json.loads(json.dumps(data))
    outcomes = old["outcomes"]
    old["outcomes"] = outcomes.pop("top1", None)
    old["outcomes_of"] = outcomes or None
    del old["measures"]
    for stage in (old["cost"].get("stages") or {}).values():
        stage["images"] = stage.pop("examples")
    if old.get("upstream"):
        del old["upstream"]["metric"]
    return {**old, "schema": 2}


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_a_record_of_schema_2_reads_as_what_it_is_now(path: Path, tmp_path: Path) -> None:
    now = json.loads(path.read_text())
    assert now["schema"] == SCHEMA
    old = as_schema_2(now)
    assert migrate(json.loads(json.dumps(old))) == now
    (tmp_path / path.name).write_text(json.dumps(old))
    assert record.read(tmp_path / path.name) == record.read(path)


def test_further_test_sets_keep_their_names_and_outcomes(tmp_path: Path) -> None:
    old = as_schema_2(json.loads(RUNS[0].read_text()))
    old["metrics"]["imagenet_a/top1_200"] = 0.5
    old["outcomes_of"] = {"imagenet_a/top1_200": "2:AQ=="}
    (tmp_path / RUNS[0].name).write_text(json.dumps(old))
    made = record.read(tmp_path / RUNS[0].name)
    assert made.measures == [Metric("top1", "top-1"), Metric("imagenet_a/top1_200", "imagenet_a/top1_200")]
    assert made.outcomes_of("imagenet_a/top1_200") == "2:AQ=="
    assert made.metric.name == "top1"


@pytest.mark.parametrize("schema", [1, 4, "3", None, True])
def test_another_schema_is_refused_by_name(schema: Any, tmp_path: Path) -> None:
    (tmp_path / RUNS[0].name).write_text(json.dumps({**json.loads(RUNS[0].read_text()), "schema": schema}))
    with pytest.raises(CorruptRecord, match=f"schema {schema!r}, expected 3"):
        record.read(tmp_path / RUNS[0].name)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"measures": []}, "done without measures"),
        ({"metrics": {"top1": 0.5}}, r"metrics\.n"),
        ({"metrics": {"top1": 0.5, "n": 4, "wer": 1.0}}, "metrics and measures differ in wer"),
        ({"outcomes": {"wer": "1:AQ=="}}, "outcomes of wer, which is none of its metrics"),
        ({"outcomes": {"top1": "1:f32:AACAPw=="}}, "its outcomes are not bits"),
        ({"metrics": {"top1": 1.5, "n": 4}}, r"top1 is 1\.5, which is not from 0\.0 to 1\.0"),
    ],
)
def test_metrics_that_do_not_fit_what_is_said_of_them_are_refused(change: Any, reason: str, tmp_path: Path) -> None:
    (tmp_path / RUNS[0].name).write_text(json.dumps({**json.loads(RUNS[0].read_text()), **change}))
    with pytest.raises(CorruptRecord, match=reason):
        record.read(tmp_path / RUNS[0].name)
