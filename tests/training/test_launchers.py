"""Inside Slurm, torchrun or beside `srun` a run is what it is elsewhere: one process, one device, its own weights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from lightning.fabric.utilities.rank_zero import rank_zero_only
from safetensors.torch import load_file

from glorabench.config.compose import compose
from glorabench.records import record
from glorabench.records.record import Record, checkpoint_folder
from glorabench.training.build import build
from glorabench.training.run import run
from glorabench.training.stage import Stage
from glorabench.training.tracker import Tracker

FAST = ["method=linear", "progress=none", "train.epochs=2", "latency_rounds=0"]
SLURM = {
    **{"SLURM_JOB_ID": "77", "SLURM_JOB_NAME": "sweep", "SLURM_NTASKS": "4", "SLURM_PROCID": "1"},
    **{"SLURM_LOCALID": "1", "SLURM_NODEID": "0", "SLURM_NODELIST": "node1", "SLURM_NTASKS_PER_NODE": "4"},
}
TORCHRUN = {
    **{"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0"},
    **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511", "TORCHELASTIC_RUN_ID": "none"},
}
pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def alone(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Record:
    """The run without any launcher."""
    return run(compose([*FAST, "logger=none", f"results_dir={tmp_path_factory.mktemp('alone')}"]))


def plant(folder: Path, config: dict) -> None:
    """What Lightning writes at a requeue, of the training of another seed, wherever it might look for it."""
    other = {**config, "seed": 5, "results_dir": str(folder / "other")}
    tracker = Tracker("x", "x", folder, "disabled", None, None)
    stage = Stage(other, build(other), tracker, "train", checkpoint_folder(other))
    stage.fit()
    for place in (folder, checkpoint_folder(config), checkpoint_folder(config).parent):
        place.mkdir(parents=True, exist_ok=True)
        stage.trainer.save_checkpoint(place / "hpc_ckpt_1.ckpt")


@pytest.mark.parametrize("variables", [SLURM, TORCHRUN], ids=["slurm", "torchrun"])
def test_the_numbers_are_those_of_a_run_alone_and_the_mirror_has_them(variables, alone, results, monkeypatch):
    config = compose([*FAST, "logger=wandb", "logger.mode=offline", f"results_dir={results}"])
    plant(results, config)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rank_zero_only, "rank", 1)  # what importing Lightning there makes of the variables
    made = run(config)
    assert made.status == "done", made.error
    assert (made.run_id, made.outcomes, made.params) == (alone.run_id, alone.outcomes, alone.params)
    assert [e["train_loss"] for e in made.history] == [e["train_loss"] for e in alone.history]
    assert {name: os.environ[name] for name in variables} == variables
    (mirror,) = results.glob("wandb/**/*.wandb")
    assert b"train/loss" in mirror.read_bytes()


@pytest.mark.campaign
def test_a_sound_run_says_nothing_on_standard_error(alone, results, tmp_path):
    """Also where Slurm's `srun` is on PATH."""
    srun = tmp_path / "srun"
    srun.write_text("#!/bin/sh\n")
    srun.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    words = [*FAST, "logger=wandb", "logger.mode=offline", f"results_dir={results}"]
    done = subprocess.run(
        [sys.executable, "-m", "glorabench.cli", "run", *words],
        capture_output=True,
        text=True,
        env={**os.environ, **SLURM, "PATH": path},
    )
    assert (done.returncode, done.stderr) == (0, "")
    (made,) = record.read_all([results / "runs"])
    assert made.outcomes == alone.outcomes


def test_a_run_killed_before_its_first_checkpoint_starts_again_when_it_is_requeued(alone, results, monkeypatch):
    monkeypatch.setattr("glorabench.training.finetuner.FineTuner.training_step", stop)
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    config = compose([*FAST, "logger=none", f"results_dir={results}"])
    with pytest.raises(KeyboardInterrupt):
        run(config)
    monkeypatch.undo()
    assert run(config).outcomes == alone.outcomes
    assert load_file(results / "adapters" / f"{alone.run_id}.safetensors")


def stop(*_: object) -> None:
    raise KeyboardInterrupt
