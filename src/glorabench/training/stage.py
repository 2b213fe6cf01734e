"""One training of a run: its network, its Trainer and its cost. Only a searched run has several stages."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

from glorabench.errors import BadInput
from glorabench.search.samplers import SAMPLERS
from glorabench.training import schedules
from glorabench.training.build import Parts
from glorabench.training.finetuner import FineTuner
from glorabench.training.history import TrainingHistory
from glorabench.training.measure import profiling
from glorabench.training.selection import BEST, BestEpoch, split_to_watch
from glorabench.training.trainer import fit_from_checkpoint, network, progress, trainer_of
from glorabench.training.wandb_logger import Tracker


class Stage:
    """The training of an injected backbone, ready to `fit` and to test.

    Args:
        config: the config of the stage.
        parts: task, backbone, method and data, built from the config.
        tracker: gets a copy of the metrics.
        name: train, supernet or retrain.
        folder: folder of the checkpoints.

    Raises:
        BadInput: `compile` or the best epoch is asked for, but the path of the network changes at every step.
    """

    def __init__(self, config: dict[str, Any], parts: Parts, tracker: Tracker, name: str, folder: Path) -> None:
        train, data = config["train"], parts.data
        self.config, self.parts, self.name, self.folder = config, parts, name, folder
        self.ledger = TrainingHistory(lines=progress(config) == "lines", title="" if name == "train" else f"{name} ")
        split, epochs = (None if name == "supernet" else split_to_watch(config)) or ("val", None)
        self.best = BestEpoch() if split == "test" else None
        callbacks = [self.ledger, *filter(None, [self.best])]
        self.trainer = trainer_of(config, callbacks, tracker, epochs, folder)
        data.evaluation_split, data.contaminated = split, split == "test"  # only this rule may use test during training
        self.device = self.trainer.strategy.root_device
        parts.backbone.net.to(self.device)
        self.objective = parts.objective
        tracker.prefix = "" if name == "train" else f"{name}/"
        with profiling.PeakMemory() as self.peak:
            net, self.shortcuts = network(parts, train, self.trainer)
            start = time.perf_counter()
            loader = data.train_dataloader()  # this computes the features if they are cached
            self.features_s = round(time.perf_counter() - start, 3)
        self.steps, self.batch_size = len(loader), cast(int, loader.batch_size)
        self.tuner = FineTuner(
            net,
            self.objective,
            lr=train["lr"],
            weight_decay=train["weight_decay"],
            decay=train["decay"],
            total_steps=train["epochs"] * self.steps,
            lr_factor=schedules.lr_factor_of(train, self.steps),
            clip=train["clip"],
            seed=config["seed"],
            sampler=SAMPLERS[config.get("sampler", "uniform")],
            evaluation_split=split,
        )
        if self.best and self.tuner.paths.is_supernet:
            raise BadInput(
                f"selection.rule={BEST} is for a fixed path: give method.path, or search with search.on=test"
            )
        if config["compile"] is not None:
            if self.tuner.paths.is_supernet:
                raise BadInput("compile is for a fixed path: a supernet would be compiled again at every step")
            net.compile(backend=config["compile"])

    def fit(self) -> None:
        """Train, from the newest checkpoint if there is one."""
        with profiling.PeakMemory() as peak:
            fit_from_checkpoint(self.trainer, self.tuner, self.parts.data, self.folder)
        self.peak.bytes = max(self.peak.bytes, peak.bytes)
        if self.best:
            self.best.restore(self.tuner)

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
        cost, steps = self.ledger.cost(self.steps), self.tuner.total_steps
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
