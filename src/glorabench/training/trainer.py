"""Make Lightning's Trainer for a config, choose the network to train, and continue from a checkpoint."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn

from glorabench.data.datamodule import TaskData
from glorabench.training import signals
from glorabench.training.build import Parts
from glorabench.training.checkpoint import Saver, WholeFiles
from glorabench.training.devices import ALONE, Share
from glorabench.training.finetuner import FineTuner
from glorabench.training.history import TrainingHistory
from glorabench.training.progress_line import ProgressLine
from glorabench.training.sweep_place import can_rewrite_line, short_title
from glorabench.training.tracker import Tracker
from glorabench.training.trainer_arguments import further_callbacks, precision_of, profiler_of, trainer_settings

for _name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # the record names the device
for _message in (
    ".*does not have many workers.*",  # one process is enough: batches come from memory
    ".*LeafSpec.*is deprecated.*",  # Lightning itself uses the deprecated class
    "The `srun` command is available",  # a run is one process, so it needs no srun
    ".*module\\(s\\) in eval mode at the start.*",  # a constant trunk stays in eval mode on purpose
):
    warnings.filterwarnings("ignore", message=_message)


def network(parts: Parts, train: dict[str, Any], trainer: Trainer) -> tuple[nn.Module, dict[str, bool]]:
    """The network to train. If the trunk is constant and its features are computed once, it is only the head."""
    backbone, data = parts.backbone, parts.data
    is_frozen = backbone.trunk_is_frozen()
    backbone.set_training(not is_frozen)  # a trunk that learns nothing has no drop-path
    is_cached = is_frozen and train["cache_features"] and not data.varies
    data.device = trainer.strategy.root_device
    if not is_cached or backbone.classifier is None:
        return backbone.net, {"cached_features": False}

    @torch.inference_mode()
    def encode(inputs: Tensor) -> Tensor:
        with trainer.precision_plugin.forward_context():
            return backbone.features(inputs).float()

    data.encode = encode
    return backbone.classifier, {"cached_features": True}


def trainer_of(
    config: dict[str, Any],
    observers: Sequence[Callback],
    tracker: Tracker,
    epochs: int | None,
    folder: Path,
    share: Share = ALONE,
) -> Trainer:
    """Lightning's Trainer for a config: a checkpoint in `folder` every few epochs, and each process on one device.

    Its root is a folder that does not exist, because under Slurm Lightning restores any checkpoint in its root.

    Args:
        config: the config of the training.
        observers: further callbacks.
        tracker: gets a copy of the metrics.
        epochs: epochs between evaluations; None for no evaluation.
        folder: folder of the checkpoints.
        share: the part of this process in the training.

    Raises:
        BadInput: an argument of the Trainer or of a callback is wrong, or the machine lacks what is asked for.
    """
    train, bar = config["train"], progress(config) == "bar" and share.rank == 0
    settings, is_supernet = trainer_settings(config), config["method"].get("path") == "supernet"
    find_unused = is_supernet or train.get("strategy") == "ddp_find_unused_parameters_true"
    callbacks: list[Callback] = [*observers, *further_callbacks(config)]
    callbacks.append(Saver(folder, config["checkpoint_every"]))
    if bar:
        stage = next((observer.title for observer in observers if isinstance(observer, TrainingHistory)), "")
        callbacks.append(ProgressLine(short_title(config, stage)))
    return Trainer(
        accelerator="auto",
        devices=share.devices,
        strategy=share.strategy(find_unused),
        plugins=[share.environment(), WholeFiles()],
        precision=precision_of(train["precision"]),  # type: ignore[arg-type]
        max_epochs=train["epochs"],
        accumulate_grad_batches=train.get("accumulate", 1),
        detect_anomaly=settings.detect_anomaly,
        deterministic=settings.deterministic,  # type: ignore[arg-type]
        benchmark=settings.benchmark,
        profiler=profiler_of(config, folder.name) if share.rank == 0 else None,
        callbacks=callbacks,
        logger=tracker,
        enable_progress_bar=False,  # the line is ours
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=1.0 if epochs else 0,
        check_val_every_n_epoch=epochs or 1,
        log_every_n_steps=1,  # only means of epochs are logged
        use_distributed_sampler=False,  # the data module knows its part
        default_root_dir=folder / "lightning",
    )


def trainer_of_test(config: dict[str, Any], tracker: Tracker, folder: Path) -> Trainer:
    """Lightning's Trainer for a test in this process alone, without what `trainer` adds to a training."""
    return trainer_of({**config, "trainer": {}}, [], tracker, None, folder, ALONE)


def progress(config: dict[str, Any]) -> str:
    """How progress is shown: `bar`, `lines` or `none`. `auto` is a bar where a line can be rewritten, else lines."""
    if config["progress"] != "auto":
        return config["progress"]
    return "bar" if can_rewrite_line() else "lines"


def fit_from_checkpoint(trainer: Trainer, tuner: FineTuner, data: TaskData, start: Path | None) -> None:
    """Train, from the checkpoint `start` if there is one. Ctrl-C raises KeyboardInterrupt."""
    signals.raise_if_stopping()
    with interruptible():
        trainer.fit(tuner, data, ckpt_path=start, weights_only=True)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt inside the block. Lightning turns it into sys.exit(1)."""
    try:
        yield
    except SystemExit as stop:
        raise KeyboardInterrupt from stop
