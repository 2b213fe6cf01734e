"""Signals: whichever ends a command, and wherever: exit code 130, nothing lost, the same numbers afterwards."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glorabench.cli import main
from glorabench.config.compose import compose
from glorabench.records import record
from glorabench.records.record import Record, checkpoint_folder
from glorabench.search.journal import SearchJournal
from glorabench.training import signals
from glorabench.training.checkpoint import LAST, read_training_state
from glorabench.training.history import TrainingHistory
from glorabench.training.run import run

FAST = ["logger=none", "progress=none", "latency_rounds=0", "checkpoint_every=2"]
LINEAR = [*FAST, "method=linear", "train.epochs=4"]
_EVOLUTION = {"population": 6, "parents": 2, "generations": 2, "mutants": 3, "crossed": 2}
SEARCH = [
    *(*FAST, "method=glora", "method.path=supernet", "train.epochs=1", "search=evolution"),
    *(f"search.algorithm.{key}={value}" for key, value in _EVOLUTION.items()),
]
pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(autouse=True)
def hears_ctrl_c() -> Iterator[None]:
    """What a shell runs in the background ignores Ctrl-C, and so would these tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup switches it off for its children
    yield
    signal.signal(signal.SIGINT, before)
    signal.signal(signal.SIGHUP, hangup)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def counted(made: Record) -> dict[str, dict[str, Any]]:
    """The costs of all stages that are counted, not measured."""
    return {name: {k: v for k, v in stage.items() if k != "seconds"} for name, stage in made.cost["stages"].items()}


@pytest.fixture(scope="module")
def whole(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    """The uninterrupted runs."""
    folder = tmp_path_factory.mktemp("whole")
    return {words[4]: run(compose([*words, f"results_dir={folder}"])) for words in (LINEAR, SEARCH)}


@pytest.mark.parametrize(
    ("number", "epoch"), [(signal.SIGINT, 2), (signal.SIGTERM, 2), (signal.SIGHUP, 2), (signal.SIGUSR1, 3)]
)
def test_in_a_training(whole, results, monkeypatch, capsys, number, epoch):
    """In the third epoch: the checkpoint is that of the second, or the warning of Slurm lets the third end."""
    start = TrainingHistory.on_train_batch_start

    def interrupted(self, trainer, *rest):
        start(self, trainer, *rest)
        if trainer.global_step == 2 * 15 + 4:
            send(number)

    words = [*LINEAR, f"results_dir={results}"]
    monkeypatch.setattr(TrainingHistory, "on_train_batch_start", interrupted)
    assert main(["run", *words]) == 130
    assert "interrupted; the same command goes on from here" in capsys.readouterr().err
    monkeypatch.undo()
    config = compose(words)
    assert read_training_state(checkpoint_folder(config) / LAST)["global_step"] == epoch * 15
    assert not list(results.glob("runs/**/*.json"))
    if number in (signal.SIGTERM, signal.SIGHUP):  # they go on as Ctrl-C does
        return
    made, expected = run(config), whole["method=linear"]
    assert (made.outcomes, counted(made)) == (expected.outcomes, counted(expected))
    assert [e["train_loss"] for e in made.history] == [e["train_loss"] for e in expected.history]


@pytest.mark.campaign
def test_in_a_search(whole, results, monkeypatch):
    kept = 7
    tell = SearchJournal.add

    def interrupted(self, *candidate):
        tell(self, *candidate)
        if len(self.lines) == kept:
            send(signal.SIGUSR1)

    words = [*SEARCH, f"results_dir={results}"]
    monkeypatch.setattr(SearchJournal, "add", interrupted)
    assert main(["run", *words]) == 130
    monkeypatch.undo()
    (state,) = results.glob("searches/*.jsonl")
    assert len(state.read_text().splitlines()) == 1 + kept
    made, expected = run(compose(words)), whole["method=glora"]
    assert (made.paths, made.outcomes, made.search) == (expected.paths, expected.outcomes, expected.search)
    assert counted(made) == counted(expected)


class Swallowing:
    """An object whose destructor is interrupted: Python goes on as if nothing had been."""

    def __del__(self) -> None:
        send(signal.SIGINT)


def test_one_that_a_destructor_swallows_ends_a_sweep_all_the_same(results, monkeypatch, capsys):
    started = []

    def job(config):
        started.append(config["seed"])
        del (object := [Swallowing()])[0]
        assert not object
        return Record(record.run_id(config), "failed", record.identity(config), error={"kind": "x", "message": "y"})

    monkeypatch.setattr("glorabench.training.run.run", job)
    assert main(["run", "-m", *LINEAR, "seed=0,1,2", f"results_dir={results}"]) == 130
    assert started == [0]
    assert "Traceback" not in capsys.readouterr().err


def test_a_warning_between_two_jobs_ends_the_sweep_before_the_next(results, monkeypatch):
    started = []

    def job(config):
        started.append(config["seed"])
        send(signal.SIGUSR1)
        return Record(record.run_id(config), "failed", record.identity(config), error={"kind": "x", "message": "y"})

    monkeypatch.setattr("glorabench.training.run.run", job)
    assert main(["run", "-m", *LINEAR, "seed=0,1,2", f"results_dir={results}"]) == 130
    assert started == [0]


def test_what_is_ignored_stays_ignored_and_all_is_as_before_afterwards():
    """`nohup`, and what a shell starts in the background."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
        with signals.handle_signals():
            send(signal.SIGHUP)
            assert not signals.is_stopping()
            with pytest.raises(KeyboardInterrupt):
                send(signal.SIGTERM)
            assert signals.is_interrupted()
        assert {number: signal.getsignal(number) for number in handlers} == handlers
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    with signals.handle_signals():
        assert not signals.is_stopping()
