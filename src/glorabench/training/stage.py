"""One training of a run: its network, its Trainer and its cost. Only a searched run has several stages."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

from torch import nn

from glorabench.backbones.recomputation import recompute_blocks
from glorabench.config.instantiate import OPTIMIZER, make
from glorabench.errors import BadInput
from glorabench.search.samplers import SAMPLERS
from glorabench.training import schedules
from glorabench.training.build import Parts
from glorabench.training.checkpoint import latest_checkpoint
from glorabench.training.devices import Share, share_of_leader, shared_training
from glorabench.training.finetuner import FineTuner
from glorabench.training.history import TrainingHistory
from glorabench.training.measure import profiling
from glorabench.training.optimizers import Optimizer, optimizer_node
from glorabench.training.selection import BEST, BestEpoch, split_to_watch
from glorabench.training.tracker import Tracker
from glorabench.training.trainer import (
    fit_from_checkpoint,
    interruptible,
    network,
    progress,
    trainer_of,
    trainer_of_test,
)


class Stage:
    """The training of an injected backbone, ready to `fit` and to test.

    Args:
        config: the config of the stage.
        parts: task, backbone, method and data, built from the config.
        tracker: gets a copy of the metrics.
        name: train, supernet or retrain.
        folder: folder of the checkpoints.
        share: the part of this process in the training; None if this process leads it or is alone.

    Raises:
        BadInput: `compile` or the best epoch is asked for, but the path of the network changes at every step; or an
            epoch has fewer batches than `train.accumulate`.
    """

    def __init__(
        self,
        config: dict[str, Any],
        parts: Parts,
        tracker: Tracker,
        name: str,
        folder: Path,
        share: Share | None = None,
    ) -> None:
        train, data = config["train"], parts.data
        self.config, self.parts, self.name, self.folder, self.tracker = config, parts, name, folder, tracker
        self.share = share or share_of_leader(train.get("devices", 1))
        self.accumulate = train.get("accumulate", 1)
        if self.share.devices > 1 and not data.can_be_shared:
            raise BadInput(f"task {parts.task.name} cannot be trained on several devices: train.devices=1")
        data.rank, data.processes = self.share.rank, self.share.devices
        lines = progress(config) == "lines" and self.share.rank == 0
        self.ledger = TrainingHistory(lines, "" if name == "train" else f"{name} ", self.accumulate * data.processes)
        split, epochs = (None if name == "supernet" else split_to_watch(config)) or ("val", None)
        self.best = BestEpoch() if split == "test" else None
        callbacks = [self.ledger, *filter(None, [self.best])]
        self.trainer = trainer_of(config, callbacks, tracker, epochs, folder, self.share)
        data.evaluation_split, data.contaminated = split, split == "test"  # only this rule may use test during training
        self.device = self.trainer.strategy.root_device
        parts.backbone.net.to(self.device)
        if train.get("checkpoint_activations"):
            recompute_blocks(parts.backbone)
        self.objective = parts.objective
        tracker.prefix = "" if name == "train" else f"{name}/"
        with profiling.PeakMemory() as self.peak:
            net, self.shortcuts = network(parts, train, self.trainer)
            start = time.perf_counter()
            loader = data.train_dataloader()  # this computes the features if they are cached
            self.features_s = round(time.perf_counter() - start, 3)
        self.steps = self._steps_of(len(loader))
        self.batch_size = cast(int, loader.batch_size) * data.processes * self.accumulate
        self.tuner = self._fine_tuner(net, split)
        self._check_path()
        if config["compile"] is not None:
            net.compile(backend=config["compile"])

    def _check_path(self) -> None:
        """Refuse for a supernet what needs a fixed path."""
        if not self.tuner.paths.is_supernet:
            return
        if self.best:
            raise BadInput(
                f"selection.rule={BEST} is for a fixed path: give method.path, or search with search.on=test"
            )
        if self.config["compile"] is not None:
            raise BadInput("compile is for a fixed path: a supernet would be compiled again at every step")

    def _steps_of(self, batches: int) -> int:
        """Steps of an epoch; what is left of its batches makes no step, as with a larger batch."""
        batches = min(batches, (self.config.get("trainer") or {}).get("limit_train_batches") or batches)
        steps = batches // self.accumulate
        if not batches:
            raise BadInput("train has fewer examples than train.batch_size, so train.devices share nothing: lower it")
        if not steps:
            raise BadInput(
                f"train.accumulate={self.accumulate} is more than the {batches} batches of an epoch: give at most "
                f"{batches}, or a smaller train.batch_size"
            )
        self.trainer.limit_train_batches = steps * self.accumulate
        return steps

    def _fine_tuner(self, net: nn.Module, evaluation_split: str) -> FineTuner:
        train = self.config["train"]
        optimizer: Optimizer = make(optimizer_node(self.config), OPTIMIZER)
        return FineTuner(
            net,
            self.objective,
            lr=train["lr"],
            weight_decay=train["weight_decay"],
            decay=train["decay"],
            total_steps=train["epochs"] * self.steps,
            lr_factor=schedules.lr_factor_of(train, self.steps, optimizer.needs_schedule),
            clip=train["clip"],
            seed=self.config["seed"],
            sampler=SAMPLERS[self.config.get("sampler", "uniform")],
            evaluation_split=evaluation_split,
            optimizer=optimizer,
            accumulate=self.accumulate,
        )

    def fit(self) -> None:
        """Train, from the newest checkpoint if there is one, on all devices."""
        start = latest_checkpoint(self.folder, self.tuner, self.trainer.callbacks)  # type: ignore[attr-defined]
        others = shared_training(self.share, self.config, self.name, self.folder, start)
        with profiling.PeakMemory() as peak, others:
            fit_from_checkpoint(self.trainer, self.tuner, self.parts.data, start)
        self.peak.bytes = max(self.peak.bytes, peak.bytes)
        self.tuner.end_with_averages()
        if self.best:
            self.best.restore(self.tuner)

    def test(self) -> None:
        """Test what was trained, in this process alone: each example is looked at once."""
        trainer = self.trainer
        if self.share.devices > 1:
            self.parts.data.rank, self.parts.data.processes = 0, 1
            trainer = trainer_of_test(self.config, self.tracker, self.folder)
        with interruptible():
            trainer.test(self.tuner, self.parts.data, verbose=False)

    def notes(self) -> dict[str, Any]:
        """Facts to store beside the trained tensors, so that `restore` can replace `fit`."""
        peak = {"bytes": self.peak.bytes, "kind": self.peak.kind}
        return {"ledger": self.ledger.state_dict(), "peak": peak, "features_s": self.features_s}

    def restore(self, notes: dict[str, Any]) -> None:
        """Take the history and the cost from an earlier training."""
        self.ledger.load_state_dict(notes["ledger"])
        self.peak.bytes, self.peak.kind = notes["peak"]["bytes"], notes["peak"]["kind"]
        self.features_s = notes["features_s"]

    def cost(self) -> dict[str, Any]:
        """Time, memory and FLOPs, with the keys of the record."""
        return {
            **self.ledger.cost(self.steps),
            "features_s": self.features_s,
            "peak_bytes": self.peak.bytes,
            "peak_kind": self.peak.kind,
        }

    def summary(self) -> dict[str, Any]:
        """{seconds, steps, examples, flops} of the whole stage."""
        cost, steps = self.ledger.cost(self.steps), int(self.ledger.history[-1]["step"])
        return {
            "seconds": round(cost["train_s"] + self.features_s, 3),
            "steps": steps,
            "examples": steps * self.batch_size,
            "flops": cost["flops_per_step"] * steps,
        }

    def best_epoch(self) -> dict[str, int]:
        """{epoch: the epoch of the result}; empty if the result is the last epoch."""
        return {"epoch": self.best.epoch} if self.best else {}

    def history(self) -> list[dict[str, Any]]:
        """One entry for each epoch. In a run of several stages each entry names its stage."""
        stage_entry = {} if self.name == "train" else {"stage": self.name}
        return [{**stage_entry, **entry} for entry in self.ledger.history]
