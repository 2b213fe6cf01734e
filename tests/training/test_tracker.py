"""Trackers beside the record: CSV and TensorBoard, several at once, and none that stops a run."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from conftest import stopped_in_epoch
from glorabench.config.compose import compose
from glorabench.training import tracker as module
from glorabench.training.run import run
from glorabench.training.tracker import Tracker

QUICK = ["method=linear", "progress=none", "latency_rounds=0", "train.epochs=2", "train.warmup_epochs=0"]


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("cache")
def test_a_run_may_have_several_and_an_interrupted_one_loses_no_row(results: Path) -> None:
    config = compose([*QUICK, f"results_dir={results}", "checkpoint_every=1", "logger=[csv,tensorboard]"])
    with stopped_in_epoch(2):
        run(config)
    made = run(config)
    folders = sorted((results / "csv" / made.run_id).iterdir())
    assert [folder.name for folder in folders] == ["version_0", "version_1"]
    losses = [float(row["train/loss"]) for folder in folders for row in rows(folder) if row.get("train/loss")]
    assert losses == pytest.approx([entry["train_loss"] for entry in made.history], abs=1e-5)
    assert [row["final/top1"] for row in rows(folders[1])][-1] == str(made.metrics["top1"])
    assert list((results / "tensorboard" / made.run_id).glob("events.out.tfevents.*"))


def test_one_that_fails_is_named_once_and_the_others_go_on(tmp_path: Path, capsys, monkeypatch) -> None:
    class Broken:
        def log_metrics(self, *_: object) -> None:
            raise OSError("no room")

    monkeypatch.setattr(module, "_tensorboard_logger", lambda *_: Broken())
    tracker = Tracker("x", "x", tmp_path, csv=True, tensorboard=True)
    for step in range(3):
        tracker.log_metrics({"train/loss": 1.0 / (step + 1)}, step)
    tracker.save()
    assert capsys.readouterr().err == "warning: TensorBoard failed (no room); the run goes on without it\n"
    assert [row["train/loss"] for row in rows(tmp_path / "csv" / "x" / "version_0")] == ["1.0", "0.5", str(1 / 3)]


def test_what_a_stage_logs_is_named_by_it(tmp_path: Path) -> None:
    tracker = Tracker("x", "x", tmp_path, csv=True)
    tracker.prefix = "supernet/"
    tracker.log_metrics({"train/loss": 1.0}, 0)
    tracker.close({"top1": 0.5, "note": "text"})
    last = rows(tmp_path / "csv" / "x" / "version_0")
    assert (last[0]["supernet/train/loss"], last[-1]["final/top1"]) == ("1.0", "0.5")
    assert "final/note" not in last[0]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("logger=none", {"mode": "disabled", "project": None, "group": None}),
        ("logger=csv", {"csv": True}),
        ("logger=[csv,tensorboard]", {"csv": True, "tensorboard": True}),
        ("logger=[wandb,csv]", {"mode": "offline", "project": "glorabench", "group": None, "csv": True}),
    ],
)
def test_a_word_names_one_or_several(word: str, expected: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert compose([word])["logger"] == expected
