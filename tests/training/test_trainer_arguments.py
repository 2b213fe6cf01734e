"""What a config gives the Trainer: precision, time, callbacks, a profiler; and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.plugins import MixedPrecision
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from glorabench.cli import main
from glorabench.config.compose import compose
from glorabench.errors import BadInput
from glorabench.records import record
from glorabench.records.record import checkpoint_folder
from glorabench.training import trainer_arguments
from glorabench.training.build import build, check_run
from glorabench.training.checkpoint import LAST, read_training_state
from glorabench.training.finetuner import FineTuner
from glorabench.training.objectives.classification import Classification
from glorabench.training.stage import Stage
from glorabench.training.tracker import Tracker
from glorabench.training.trainer_arguments import precision_of

QUICK = ["method=linear", "logger=none", "progress=none", "latency_rounds=0", "train.warmup_epochs=0"]
STOPPING = "trainer.callbacks=[{_target_: lightning.pytorch.callbacks.EarlyStopping, %s}]"


@pytest.mark.parametrize(
    ("has_gpu", "has_bf16", "precision"),
    [(False, False, "32-true"), (True, True, "bf16-mixed"), (True, False, "16-mixed")],
    ids=["CPU", "A100", "V100"],
)
def test_auto_is_what_the_device_has(has_gpu, has_bf16, precision, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16 or including_emulation)
    assert precision_of("auto") == precision


def test_16_mixed_without_a_gpu_is_refused_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadInput, match=r"train.precision=16-mixed needs a GPU"):
        check_run(compose([*QUICK, "train.precision=16-mixed"]))


def fp16_trainer(scale: float, epochs: int = 1) -> Trainer:
    """16-mixed on the CPU, which Lightning has for GPUs alone, with a scale that gradients must not keep."""
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=1000)
    silent: dict[str, Any] = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
    return Trainer(
        accelerator="cpu", devices=1, max_epochs=epochs, plugins=[MixedPrecision("16-mixed", "cpu", scaler)], **silent,
        enable_model_summary=False, limit_val_batches=0,
    )  # fmt: skip


@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_scaled_gradients_are_clipped_at_their_true_size(scale: float) -> None:
    norms: list[float] = []

    class Watched(FineTuner):
        def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
            super().on_before_optimizer_step(optimizer)
            norms.append(float(torch.cat([p.grad.flatten() for p in self.net.parameters()]).norm()))

    torch.manual_seed(0)
    data = TensorDataset(10 * torch.randn(32, 6), torch.randint(3, (32,)))
    tuner = Watched(
        nn.Linear(6, 3), Classification(3, 0.0), lr=0.01, weight_decay=0.0, decay="all", total_steps=4,
        lr_factor=lambda step: 1.0, clip=0.25, seed=0,
    )  # fmt: skip
    fp16_trainer(scale).fit(tuner, DataLoader(data, 8))
    assert norms == pytest.approx([0.25] * 4, rel=1e-3)


def stage_of(folder: Path, *words: str) -> Stage:
    config = compose([*QUICK, "checkpoint_every=10", f"results_dir={folder}", *words])
    check_run(config)
    return Stage(config, build(config), Tracker("x", "x", folder), "train", checkpoint_folder(config))


@pytest.mark.usefixtures("cache")
def test_the_time_ends_a_training_after_an_epoch_and_it_stays_ended(tmp_path: Path) -> None:
    words = ("train.epochs=500", "train.max_time='0:00:00:01'")
    stage = stage_of(tmp_path, *words)
    stage.fit()
    epochs = len(stage.history())
    assert 1 <= epochs < 500
    assert stage.summary()["steps"] == epochs * stage.steps
    assert read_training_state(stage.folder / LAST)["callbacks"]["Saver"] == {"is_over": True}
    again = stage_of(tmp_path, *words)
    again.fit()
    assert again.history() == stage.history()


@pytest.mark.usefixtures("cache")
def test_a_callback_of_lightning_stops_early_and_stays_stopped(tmp_path: Path) -> None:
    words = ("train.epochs=9", "selection.fit_on=train", "trainer.limit_train_batches=2")
    words += (STOPPING % "monitor: val/top1, mode: max, patience: 1, min_delta: 2.0",)
    stage = stage_of(tmp_path, *words)
    stage.fit()
    assert len(stage.history()) == 2
    again = stage_of(tmp_path, *words)
    again.fit()
    assert again.history() == stage.history()
    assert torch.equal(again.tuner.net.weight, stage.tuner.net.weight)


@pytest.mark.usefixtures("cache")
def test_anomalies_are_looked_for_and_time_is_profiled(tmp_path: Path) -> None:
    words = ("trainer.detect_anomaly=true", "trainer.profiler=simple", "trainer.limit_train_batches=3")
    stage = stage_of(tmp_path, *words, "train.epochs=1")
    assert stage.trainer._detect_anomaly
    stage.fit()
    assert stage.steps == stage.summary()["steps"] == 3
    (report,) = (tmp_path / "profiles").iterdir()
    assert "optimizer_step" in report.read_text()


def test_what_moves_numbers_is_part_of_the_id_and_nothing_else() -> None:
    plain = record.run_id(compose([]))
    for word in ("trainer.detect_anomaly=true", "trainer.profiler=simple", "train.strategy=ddp", "logger=csv"):
        assert record.run_id(compose([word])) == plain, word
    moving = ["trainer.deterministic=true", "trainer.benchmark=true", "trainer.limit_train_batches=3"]
    moving += ["train.max_time='0:01:00:00'", "train.devices=2", "train.precision=16-mixed", STOPPING % "monitor: x"]
    assert len({plain, *(record.run_id(compose([word])) for word in moving)}) == len(moving) + 1


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "train.precision=16",
            "train.precision '16'. Known: 16-mixed, 32-true, auto, bf16-mixed.",
        ),
        ("train.accumulate=0", "train.accumulate must be a whole number of at least 1, got 0"),
        ("train.devices=0", "train.devices must be a whole number from 1 to 1024, got 0"),
        ("train.devices=auto", "train.devices must be a whole number from 1 to 1024, got 'auto'"),
        ("train.devices=3", "train.devices=3 does not divide train.batch_size=64"),
        ("train.strategy=fsdp", "train.strategy 'fsdp'; did you mean 'ddp'? Known: auto, ddp, ddp_find_unused"),
        (
            "train.max_time=60",
            "train.max_time must be days:hours:minutes:seconds in quotes, such as '00:01:30:00', or",
        ),
        ("train.max_time='00:00:00:00'", "train.max_time must be days:hours:minutes:seconds"),
        ("trainer.detect_anomaly=3", "trainer.detect_anomaly must be true or false, got 3"),
        ("trainer.deterministic=yes", "trainer.deterministic must be true, false, warn or null, got 'yes'"),
        ("trainer.benchmark=3", "trainer.benchmark must be true, false or null, got 3"),
        ("trainer.limit_train_batches=0.5", "trainer.limit_train_batches must be a whole number of at least 1 or null"),
        ("trainer.profiler=x", "trainer.profiler 'x'. Known: advanced, simple."),
        ("trainer.max_epochs=3", "no key 'trainer.max_epochs'"),
        ("+trainer.max_epochs=3", "no key 'trainer.max_epochs'"),
        ("trainer=3", "trainer must be keys and values, got 3"),
        ("trainer.callbacks=3", "trainer.callbacks must be list, got 3"),
        ("trainer.callbacks=[{_target_: os.system, command: ls}]", "'os.system' is no callback of glorabench"),
        ("trainer.callbacks=[{_target_: lightning.pytorch.callbacks.ModelCheckpoint}]", "is no callback of glorabench"),
        (STOPPING % "patience: 3", "trainer.callbacks.monitor is missing"),
        (STOPPING % "monitor: x, mode: up", "trainer.callbacks: lightning.pytorch.callbacks.EarlyStopping refuses its"),
        (STOPPING % "monitor: x, nothing: 3", "has no argument 'nothing'"),
        (STOPPING % "monitor: val/top1", "trainer.callbacks: nothing measures val/top1 during this training"),
        ("optimizer=adam", "no optimizer 'adam'; did you mean 'adamw'"),
        ("optimizer.momentum=0.9", "no key 'optimizer.momentum'"),
        ("optimizer._target_=torch.optim.SGD", "'torch.optim.SGD' is no optimizer of glorabench"),
        ("optimizer._target_=glorabench.training.stage.Stage", "is no optimizer"),
        ("logger=[wandb,wandb]", "logger=[wandb,wandb] must name each once, and none alone"),
        ("logger=[none,csv]", "logger=[none,csv] must name each once, and none alone"),
        ("logger=[csv,nothing]", "no logger 'nothing'"),
        ("method.blocks=[6]", "method.blocks=[6]: vit_mini has the blocks 0 to"),
        ("+train.lr_of.nothing=1", "train.lr_of.nothing: no method 'nothing'"),
    ],
)
def test_a_bad_value_is_one_line_that_names_key_value_and_what_is_allowed(
    word: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *QUICK, f"results_dir={tmp_path / 'results'}", word]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_callback_of_ones_own_needs_a_word_on_the_command_line(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "my_callbacks.py").write_text(
        "from lightning.pytorch import Callback\n\n\nclass Mine(Callback):\n    '''Nothing.'''\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    from glorabench.config.instantiate import allow_packages

    word = "trainer.callbacks=[{_target_: my_callbacks.Mine}]"
    with pytest.raises(BadInput, match="add --allow my_callbacks to the command"):
        compose([*QUICK, word])
    with allow_packages(["my_callbacks"]):
        (callback,) = trainer_arguments.further_callbacks(compose([*QUICK, word]))
    assert type(callback).__name__ == "Mine"
