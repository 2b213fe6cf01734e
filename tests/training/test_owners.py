"""Several processes at once: each run is made once, by one of them, and each finds the same records."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from glorabench.cli import main
from glorabench.config.compose import compose
from glorabench.files import alone, is_taken
from glorabench.records import record
from glorabench.records.record import Record
from glorabench.training import ownership
from glorabench.training.run import run

FAST = ["logger=none", "progress=lines", "latency_rounds=0"]
_EVOLUTION = {"population": 6, "parents": 2, "generations": 1, "mutants": 3, "crossed": 2}
SEARCH = [
    *(*FAST, "method=glora", "method.path=supernet", "train.epochs=1", "search=evolution"),
    *(f"search.algorithm.{key}={value}" for key, value in _EVOLUTION.items()),
]
pytestmark = pytest.mark.usefixtures("cache")


def start(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "glorabench.cli", "run", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(*processes: subprocess.Popen[str]) -> list[str]:
    """What each of them printed; all of them succeeded."""
    said = [process.communicate(timeout=600) for process in processes]
    assert [(process.returncode, errors) for process, (_, errors) in zip(processes, said, strict=True)] == [
        (0, "") for _ in processes
    ]
    return [out for out, _ in said]


@pytest.mark.campaign
def test_what_several_processes_share_is_made_once(results):
    """Two runs on one supernet, by two processes at the same time, and again by a sweep."""
    words = [*SEARCH, "-m", "search.winner=inherit,retrain", f"results_dir={results}"]
    said = ended(start(*words), start(*words))
    for line in ("supernet epoch 1/1", "search 12/12", "retrain epoch 1/1"):
        assert sum(out.count(line) for out in said) == (2 if "search" in line else 1), line
    assert all("another process" in out for out in said) or any(out.count("another process") > 1 for out in said)
    records = record.read_all([results / "runs"])
    assert sorted(r.config["search"]["winner"] for r in records) == ["inherit", "retrain"]
    assert {r.status for r in records} == {"done"}
    assert len({r.search["score"] for r in records}) == 1
    for out in said:
        assert "2 runs of vit_mini" in out


@pytest.fixture
def failed(results, monkeypatch):
    """Makes a run that only leaves a record; how often each was made."""
    made: list[int] = []

    def execute(config):
        made.append(config["seed"])
        return Record(record.run_id(config), "failed", record.identity(config), error={"kind": "x", "message": "y"})

    monkeypatch.setattr("glorabench.training.run._execute", execute)
    return made


def test_a_sweep_makes_what_is_free_first_and_then_waits_for_the_rest(results, failed, monkeypatch, capsys):
    """The other process holds seed 0; it fails when this one waits for it, and that is not repeated."""
    words = [*FAST, "method=linear", f"results_dir={results}"]
    configs = [compose([*words, f"seed={seed}"]) for seed in range(3)]
    owner = alone(results / "locks" / record.run_id(configs[0]), "")
    owner.__enter__()
    owned = ownership.own_run

    def released(config, what="this run"):
        if record.run_id(config) == record.run_id(configs[0]):
            record.write_record(failed_record(configs[0]), record.path_of(results, configs[0]))
            owner.__exit__(None, None, None)
        return owned(config, what)

    monkeypatch.setattr(ownership, "own_run", released)
    assert main(["run", "-m", *words, "seed=0,1,2"]) == 1
    assert failed == [1, 2]
    out = capsys.readouterr().out
    assert "job 1: linear on digits, seed 0: another process makes it" in out


def failed_record(config: dict) -> Record:
    return Record(record.run_id(config), "failed", record.identity(config), error={"kind": "x", "message": "theirs"})


def test_what_the_other_process_left_undone_is_made(results, failed, monkeypatch):
    words = [*FAST, "method=linear", f"results_dir={results}"]
    config = compose([*words, "seed=0"])
    owner = alone(results / "locks" / record.run_id(config), "")
    owner.__enter__()
    owned = ownership.own_run

    def killed(*asked):
        owner.__exit__(None, None, None)
        return owned(*asked)

    monkeypatch.setattr(ownership, "own_run", killed)
    main(["run", "-m", *words, "seed=0,1"])
    assert failed == [1, 0]


def test_a_run_that_another_process_has_failed_in_the_meantime_is_not_repeated(results, failed, monkeypatch):
    config = compose([*FAST, "method=linear", f"results_dir={results}"])
    path, owned = record.path_of(results, config), ownership.own_run
    first = run(config)
    assert run(config).error == first.error  # an earlier failure is repeated
    assert len(failed) == 2

    def waited(*asked):
        record.write_record(failed_record(config), path)
        return owned(*asked)

    monkeypatch.setattr(ownership, "own_run", waited)
    assert run(config).error == {"kind": "x", "message": "theirs"}
    assert len(failed) == 2


def test_a_lock_ends_with_its_process(tmp_path):
    lock = tmp_path / "locks" / "one"
    assert not is_taken(lock)
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom glorabench.files import alone\n"
        f"with alone(Path({str(lock)!r}), ''):\n    print('in', flush=True)\n    time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "in\n"
    assert is_taken(lock)
    process.kill()
    process.wait()
    assert not is_taken(lock)
    with alone(lock, ""):
        assert is_taken(lock)
    assert sorted(path.name for path in Path(tmp_path / "locks").iterdir()) == ["one.lock"]
    assert os.path.getsize(tmp_path / "locks" / "one.lock") < 200
