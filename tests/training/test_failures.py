"""What a failed run says of itself: kind, message and traceback, and nothing of the machine that it failed on."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from glorabench.analysis.cells import groups_of
from glorabench.cli import main
from glorabench.config.compose import compose
from glorabench.errors import BadInput
from glorabench.records import record
from glorabench.records.record import Record
from glorabench.reports import wandb_runs
from glorabench.reports.html.report import report_page
from glorabench.reports.tables import suite
from glorabench.training import failures
from glorabench.training.build import build
from glorabench.training.failures import without_places
from glorabench.training.finetuner import FineTuner
from glorabench.training.measure.provenance import provenance
from glorabench.training.run import run

FAST = ["method=linear", "logger=none", "progress=none", "train.epochs=1", "latency_rounds=0"]
CONFIG = {"results_dir": "/home/jo/my results", "cache_dir": "/home/jo/.cache", "data": {"root": "/data/vtab"}}
pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("no file '/home/jo/my results/checkpoints/ab/last.ckpt'", "no file '<results_dir>/checkpoints/ab/last.ckpt'"),
        ("/data/vtab/cifar/train800.txt: line 3", "<data.root>/cifar/train800.txt: line 3"),
        ("[Errno 2] '/mnt/b/c/d.npz'", "[Errno 2] '.../c/d.npz'"),
        (
            "cannot open /home/jo/.cache/x.npy, not /home/jo/.cached/y",
            "cannot open <cache_dir>/x.npy, not .../.cached/y",
        ),
        ("see https://example.org/a/b and 3/4 of n/a", "see https://example.org/a/b and 3/4 of n/a"),
        ("images/s, a/b/c and q/k/v stay", "images/s, a/b/c and q/k/v stay"),
        (f"{Path(failures.__file__).parent}/run.py", "glorabench/training/run.py"),
        (f"{Path(torch.__file__).parent}/nn/modules/module.py", "site-packages/torch/nn/modules/module.py"),
    ],
)
def test_places_of_the_machine_are_left_out(said: str, expected: str) -> None:
    assert without_places(said, CONFIG) == expected


def broken(*_: object) -> None:
    raise RuntimeError(f"cannot read {Path.home()}/secret/file.bin, see {Path(__file__).parent}/other/file")


@pytest.fixture
def failed(results: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    monkeypatch.setattr(FineTuner, "training_step", broken)
    return run(compose([*FAST, f"results_dir={results}"]))


def test_an_unexpected_error_leaves_its_traceback_without_places(failed, results, cache, capsys):
    assert capsys.readouterr().err == ""
    text = record.path_of(results, compose([*FAST, f"results_dir={results}"])).read_text()
    error = json.loads(text)["error"]
    assert error == failed.error
    assert error["kind"] == "RuntimeError"
    assert error["message"].startswith("cannot read ~/secret/file.bin")
    assert error["traceback"].startswith("Traceback (most recent call last):\n")
    assert 'File "glorabench/training/trainer.py", line ' in error["traceback"]
    assert "in broken" in error["traceback"]
    for place in (results, cache, Path(__file__).parents[2], Path.home(), Path(torch.__file__).parents[1]):
        assert str(place) not in text


def test_readers_show_kind_and_message_alone(failed):
    shown = [
        report_page([failed]),
        json.dumps(wandb_runs.replay_of_record(failed).config),
        *map(str, suite.suite_parts(groups_of([failed]))),
    ]
    assert not [text for text in shown if "Traceback" in text or "most recent call" in text]
    assert all("RuntimeError" in text for text in shown)


@pytest.mark.parametrize("variable", ["HYDRA_FULL_ERROR", "GLORABENCH_DEBUG"])
def test_the_traceback_is_printed_where_it_is_asked_for(results, monkeypatch, capsys, variable):
    monkeypatch.setenv(variable, "1")
    monkeypatch.setattr(FineTuner, "training_step", broken)
    assert main(["run", *FAST, f"results_dir={results}"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("Traceback (most recent call last):")
    assert f"RuntimeError: cannot read {Path.home()}/secret/file.bin" in said


def test_bad_input_has_no_traceback():
    made = failures.failure(compose(FAST), BadInput("seed must be a number"))
    assert made.error == {"kind": "BadInput", "message": "seed must be a number"}


@pytest.mark.parametrize(("step", "blamed"), [(0, "the weights of the backbone or the inputs"), (3, "lower train.lr")])
def test_before_anything_is_trained_no_learning_rate_is_to_blame(results, monkeypatch, step, blamed):
    """The rate at fault is that of an update: there is none before the first step."""
    loss = FineTuner.training_step

    def spoiled(self, batch, index):
        inputs, labels = batch
        return loss(self, (inputs * float("nan") if index == step else inputs, labels), index)

    monkeypatch.setattr(FineTuner, "training_step", spoiled)
    made = run(compose([*FAST, f"results_dir={results}"]))
    assert made.error["kind"] == "NonFiniteLoss"
    assert made.error["message"].startswith(f"the loss is not finite at step {step} of 15")
    assert blamed in made.error["message"]
    assert ("train.lr" in made.error["message"]) == (step > 0)


def test_versions_are_of_what_a_run_uses():
    always = {"glorabench", "torch", "timm", "lightning", "numpy", "torchvision", "Pillow", "scipy", "scikit-learn"}
    known = {}
    for words in (["method=lora"], ["method=peft"]):
        parts = build(compose([*words, "data.task=digits"]))
        known[words[0]] = provenance(parts.backbone.net)["versions"]
    assert known["method=lora"].keys() == {"python", *always}
    assert known["method=peft"].keys() == {"python", "peft", *always}
    assert all(found[name] == version(name) for found in known.values() for name in found if name != "python")
