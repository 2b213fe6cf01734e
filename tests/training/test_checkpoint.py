"""Checkpoints: whole or not there, the one before kept, and what is damaged is noticed, named and gone around."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from pathlib import Path

import pytest
import torch

from glorabench.config.compose import compose
from glorabench.errors import BadInput
from glorabench.records.record import Record, checkpoint_folder
from glorabench.training import checkpoint
from glorabench.training.build import build
from glorabench.training.checkpoint import (
    LAST,
    PREVIOUS,
    DamagedCheckpoint,
    latest_checkpoint,
    read_training_state,
    write_checkpoint,
)
from glorabench.training.run import run
from glorabench.training.stage import Stage
from glorabench.training.tracker import Tracker

WORDS = ["method=linear", "logger=none", "progress=none", "train.epochs=3", "latency_rounds=0", "checkpoint_every=1"]
pytestmark = pytest.mark.usefixtures("cache")


def stage_of(config: dict) -> Stage:
    tracker = Tracker("x", "x", Path(config["results_dir"]), "disabled", None, None)
    return Stage(config, build(config), tracker, "train", checkpoint_folder(config))


@pytest.fixture(scope="module")
def trained(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Stage, Record, dict]:
    """A training with its last two checkpoints, and the record of the uninterrupted run."""
    config = compose([*WORDS, f"results_dir={tmp_path_factory.mktemp('trained')}"])
    stage = stage_of(config)
    stage.fit()
    whole = compose([*WORDS, f"results_dir={tmp_path_factory.mktemp('whole')}"])
    return stage, run(whole), config


@pytest.fixture
def folder(trained: tuple[Stage, Record, dict], tmp_path: Path) -> Path:
    """A copy of the two checkpoints."""
    return Path(shutil.copytree(trained[0].folder, tmp_path / "checkpoints"))


def found(folder: Path, stage: Stage) -> Path | None:
    return latest_checkpoint(folder, stage.tuner, stage.trainer.callbacks)


def test_the_last_two_are_there_and_the_newest_is_taken(trained, folder):
    assert sorted(path.name for path in folder.iterdir()) == [LAST, PREVIOUS]
    assert [read_training_state(folder / name)["epoch"] for name in (PREVIOUS, LAST)] == [1, 2]
    assert found(folder, trained[0]) == folder / LAST
    (folder / LAST).unlink()
    assert found(folder, trained[0]) == folder / PREVIOUS
    (folder / PREVIOUS).unlink()
    assert found(folder, trained[0]) is None


def flipped(path: Path, at: float) -> None:
    whole = bytearray(path.read_bytes())
    whole[int(at * (len(whole) - 1))] ^= 0x40
    path.write_bytes(whole)


def altered(change):
    """A checkpoint with a true checksum and a false content."""

    def damage(path: Path) -> None:
        content = read_training_state(path)
        change(content)
        (path.parent / PREVIOUS).rename(path.parent / "kept")
        write_checkpoint(content, path)
        (path.parent / "kept").rename(path.parent / PREVIOUS)

    return damage


def spoil(content: dict) -> None:
    next(iter(content["state_dict"].values())).fill_(float("nan"))


def spoil_optimiser(content: dict) -> None:
    content["optimizer_states"][0]["state"][0]["exp_avg"].fill_(float("inf"))


def reshape(content: dict) -> None:
    name = next(iter(content["state_dict"]))
    content["state_dict"][name] = torch.zeros(3)


DAMAGES = {
    **{f"flipped at {at}": lambda path, at=at: flipped(path, at) for at in (0, 0.1, 0.5, 0.9, 1)},
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1000]),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("my notes\n" * 100),
    "another program's": lambda path: torch.save({"state_dict": {}}, path),
    "not finite": altered(spoil),
    "optimiser not finite": altered(spoil_optimiser),
    "other shapes": altered(reshape),
    "lacks a callback": altered(lambda content: content["callbacks"].clear()),
    "lacks the optimiser": altered(lambda content: content.pop("optimizer_states")),
    "beyond the end": altered(lambda content: content.update(global_step=10_000)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_is_damaged_is_set_aside_by_name_and_the_one_before_is_taken(trained, folder, capsys, damage):
    before = (folder / PREVIOUS).read_bytes()
    damage(folder / LAST)
    damaged = (folder / LAST).read_bytes()
    assert found(folder, trained[0]) == folder / PREVIOUS
    assert (folder / PREVIOUS).read_bytes() == before
    assert (folder / "last.corrupt1").read_bytes() == damaged
    said = capsys.readouterr().err
    assert said.startswith(f"warning: {folder / LAST} is damaged (")
    assert said.endswith("kept as last.corrupt1, previous.ckpt is tried\n")
    damage_of_previous = (folder / PREVIOUS).read_bytes()[:-1]
    (folder / PREVIOUS).write_bytes(damage_of_previous)
    assert found(folder, trained[0]) is None
    assert capsys.readouterr().err.endswith("kept as previous.corrupt1, training starts again\n")


def test_a_pipe_in_the_place_of_a_checkpoint_hangs_nothing(trained, folder):
    (folder / LAST).unlink()
    os.mkfifo(folder / LAST)
    assert found(folder, trained[0]) == folder / PREVIOUS


@pytest.mark.parametrize("lost", [[LAST], [LAST, PREVIOUS]], ids=["one", "both"])
def test_a_run_that_goes_on_from_what_is_left_ends_as_if_nothing_had_happened(trained, results, capsys, lost):
    stage, whole, config = trained
    config = {**config, "results_dir": str(results)}
    shutil.copytree(stage.folder, checkpoint_folder(config))
    for name in lost:
        flipped(checkpoint_folder(config) / name, 0.4)
    made = run(config)
    assert (made.run_id, made.outcomes, made.metrics) == (whole.run_id, whole.outcomes, whole.metrics)
    assert [e["train_loss"] for e in made.history] == [e["train_loss"] for e in whole.history]
    counted = [{k: v for k, v in r.cost["stages"]["train"].items() if k != "seconds"} for r in (made, whole)]
    assert counted[0] == counted[1]
    assert made.cost["flops_per_step"] == whole.cost["flops_per_step"]
    assert capsys.readouterr().err.count("warning:") == len(lost)


def test_a_disk_that_is_full_leaves_both_as_they_were(trained, folder, monkeypatch):
    """The limit of a file's size is what a full disk is here; the temporary folder plays no part."""
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    content = {"tensor": torch.randn(100_000)}
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(BadInput, match=r"last\.ckpt cannot be written .*training goes on from the last checkpoint"):
            write_checkpoint(content, folder / LAST)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    write_checkpoint(content, folder / LAST)
    assert torch.equal(read_training_state(folder / LAST)["tensor"], content["tensor"])
    assert (folder / PREVIOUS).read_bytes() == before[LAST]


def test_without_links_the_one_before_is_kept_as_well(folder, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(1, "links are not permitted")

    monkeypatch.setattr(checkpoint.os, "link", refuse)
    before = (folder / LAST).read_bytes()
    write_checkpoint({"n": 1}, folder / LAST)
    assert read_training_state(folder / LAST) == {"n": 1}
    assert (folder / PREVIOUS).read_bytes() == before


def test_what_a_dead_process_left_half_written_is_removed_at_the_next_start(trained, folder):
    from glorabench.files import _HOST

    left = folder / f".{LAST}.{_HOST}-999999999.tmp"
    left.write_bytes(b"half")
    assert found(folder, trained[0]) == folder / LAST
    assert not left.exists()


def test_nothing_that_pickle_could_run_is_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    write_checkpoint({"trap": Trap()}, tmp_path / LAST)
    with pytest.raises(DamagedCheckpoint):
        read_training_state(tmp_path / LAST)
    assert not (tmp_path / "ran").exists()
