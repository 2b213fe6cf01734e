"""`train.accumulate`: small batches add up to a large one, each with noise of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from glorabench.config.compose import compose
from glorabench.data.images.augmentation import BatchMixing
from glorabench.errors import BadInput
from glorabench.records import record
from glorabench.training.build import build
from glorabench.training.finetuner import FineTuner
from glorabench.training.objectives.classification import Classification
from glorabench.training.optimizers import SGD
from glorabench.training.stage import Stage
from glorabench.training.tracker import Tracker

SILENT = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


def trained(batch: int, accumulate: int, net: nn.Module, steps: int = 4) -> dict[str, torch.Tensor]:
    """What a network learns of 48 examples in double precision."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(48, 6, generator=generator, dtype=torch.float64)
    y = torch.randint(3, (48,), generator=generator)
    tuner = FineTuner(
        net, Classification(3, 0.0), lr=0.1, weight_decay=0.01, decay="all", total_steps=2 * steps,
        lr_factor=lambda step: 1 / (step + 1), clip=0.5, seed=0, accumulate=accumulate, optimizer=SGD(0.9, False),
    )  # fmt: skip
    trainer = Trainer(
        accelerator="cpu", devices=1, max_epochs=2, accumulate_grad_batches=accumulate, **SILENT,
        limit_val_batches=0, limit_train_batches=steps * accumulate,
    )  # fmt: skip
    trainer.fit(tuner, DataLoader(TensorDataset(x, y), batch))
    assert trainer.global_step == 2 * steps
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def test_four_batches_of_three_train_as_one_of_twelve() -> None:
    whole, parts = trained(12, 1, network()), trained(3, 4, network())
    assert any(not torch.equal(whole[name], tensor) for name, tensor in network().state_dict().items())
    for name, tensor in whole.items():
        assert torch.allclose(parts[name], tensor, rtol=0, atol=1e-12), name


def test_each_batch_of_a_step_has_dropout_of_its_own() -> None:
    masks: list[torch.Tensor] = []
    net = nn.Sequential(nn.Linear(6, 64), nn.Dropout(0.5), nn.Linear(64, 3)).double()
    net[1].register_forward_hook(lambda _, x, y: masks.append((y == 0) & (x[0] != 0)))
    trained(12, 2, net, steps=2)
    assert len(masks) == 8
    assert not any(torch.equal(a, b) for i, a in enumerate(masks) for b in masks[:i])


def stage_of(folder: Path, *words: str) -> Stage:
    quick = ["method=linear", "logger=none", "progress=none", "train.epochs=2", "train.warmup_epochs=0"]
    config = compose([*quick, f"results_dir={folder}", *words])
    return Stage(config, build(config), Tracker("x", "x", folder), "train", folder / "c")


@pytest.mark.usefixtures("cache")
def test_a_run_of_small_batches_is_that_of_the_large_one(tmp_path: Path) -> None:
    """On the same batches in the same order, up to rounding; and its steps, examples and FLOPs are the same."""
    stages = [
        stage_of(tmp_path / str(i), *more)
        for i, more in enumerate((["train.batch_size=64"], ["train.batch_size=16", "train.accumulate=4"]))
    ]
    for stage in stages:
        stage.fit()
    whole, parts = stages
    assert (whole.steps, whole.batch_size) == (parts.steps, parts.batch_size)
    costs = [{key: value for key, value in stage.summary().items() if key != "seconds"} for stage in stages]
    assert costs[0] == costs[1]
    for name, tensor in whole.tuner.state_dict().items():
        assert torch.allclose(parts.tuner.state_dict()[name], tensor, atol=1e-5), name
    losses = [[entry["train_loss"] for entry in stage.history()] for stage in stages]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


@pytest.mark.usefixtures("cache")
def test_each_batch_of_a_step_is_mixed_by_chance_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["train.accumulate=3", "train.mixup=0.8", "trainer.limit_train_batches=6", "train.batch_size=16"]
    stage = stage_of(tmp_path, *words)
    places: list[tuple[int, int]] = []
    mix = BatchMixing.__call__

    def noted(self: BatchMixing, images: torch.Tensor, labels: torch.Tensor, step: int, part: int = 0):
        places.append((step, part))
        return mix(self, images, labels, step, part)

    monkeypatch.setattr(BatchMixing, "__call__", noted)
    stage.fit()
    assert places == [(step, part) for step in range(4) for part in range(3)]


@pytest.mark.usefixtures("cache")
def test_more_batches_than_an_epoch_has_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"train.accumulate=9 is more than the 4 batches of an epoch: give at most 4"):
        stage_of(tmp_path, "train.accumulate=9", "trainer.limit_train_batches=4")


def test_it_is_part_of_the_id_and_one_is_as_before() -> None:
    plain, one, two = (record.run_id(compose(w)) for w in ([], ["train.accumulate=1"], ["train.accumulate=2"]))
    assert plain == one != two
