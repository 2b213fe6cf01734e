"""Stage: one training of a run: what is trained, by which Trainer, and what it took. Most runs have one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from glorabench import cost
from glorabench.build import Parts
from glorabench.errors import BadInput
from glorabench.finetuner import FineTuner
from glorabench.ledger import Ledger
from glorabench.search.samplers import SAMPLERS
from glorabench.tracker import Tracker
from glorabench.training import fit, network, progress, trainer_of


class Stage:
    """The training of an injected backbone, ready to `fit` and to test.

    Args:
        config: of the stage.
        parts: task, backbone, method and data built from it.
        tracker: mirror of the metrics.
        name: train, supernet or retrain.
        folder: of its checkpoints.

    Raises:
        BadInput: `compile` is asked for a network whose path changes at every step.
    """

    def __init__(self, config: dict[str, Any], parts: Parts, tracker: Tracker, name: str, folder: Path) -> None:
        train, data = config["train"], parts.data
        self.config, self.parts, self.name, self.folder = config, parts, name, folder
        self.ledger = Ledger(lines=progress(config) == "lines", title="" if name == "train" else f"{name} ")
        validate = config["selection"]["fit_on"] == "train" and name != "supernet"
        self.trainer = trainer_of(config, self.ledger, tracker, validate, folder)
        self.device = self.trainer.strategy.root_device
        parts.backbone.net.to(self.device)
        self.objective = parts.task.objective(train["label_smoothing"])
        tracker.prefix = "" if name == "train" else f"{name}/"
        with cost.PeakMemory() as self.peak:
            net, self.ways = network(parts, train, self.trainer)
            started = time.perf_counter()
            self.steps = len(data.train_dataloader())  # where features are cached, they are computed here
            self.features_s = round(time.perf_counter() - started, 3)
        self.tuner = FineTuner(
            net,
            self.objective,
            lr=train["lr"],
            weight_decay=train["weight_decay"],
            decay=train["decay"],
            warmup_steps=round(train["warmup_epochs"] * self.steps),
            total_steps=train["epochs"] * self.steps,
            min_lr=train["min_lr"],
            clip=train["clip"],
            seed=config["seed"],
            sampler=SAMPLERS[config.get("sampler", "uniform")],
        )
        if config["compile"] is not None:
            if self.tuner.paths.is_supernet:
                raise BadInput("compile is for a fixed path: a supernet would be compiled again at every step")
            net.compile(backend=config["compile"])

    def fit(self) -> None:
        """Train, from the last checkpoint if there is one."""
        with cost.PeakMemory() as peak:
            fit(self.trainer, self.tuner, self.parts.data, self.folder)
        self.peak.bytes = max(self.peak.bytes, peak.bytes)

    def notes(self) -> dict[str, Any]:
        """What has to be kept beside the trained tensors so that `restore` can do without `fit`."""
        peak = {"bytes": self.peak.bytes, "kind": self.peak.kind}
        return {"ledger": self.ledger.state_dict(), "peak": peak, "features_s": self.features_s}

    def restore(self, notes: dict[str, Any]) -> None:
        """Know what a training took that was done before."""
        self.ledger.load_state_dict(notes["ledger"])
        self.peak.bytes, self.peak.kind = notes["peak"]["bytes"], notes["peak"]["kind"]
        self.features_s = notes["features_s"]

    def cost(self) -> dict[str, Any]:
        """Time, memory and FLOPs as the record has them."""
        return {
            **self.ledger.cost(self.steps),
            "features_s": self.features_s,
            "peak_bytes": self.peak.bytes,
            "peak_kind": self.peak.kind,
        }

    def summary(self) -> dict[str, Any]:
        """{seconds, steps, images, flops} of the whole stage."""
        spent, steps = self.ledger.cost(self.steps), self.tuner.total_steps
        batch = min(self.config["train"]["batch_size"], len(self.parts.data.inputs(self.parts.data.fit_on)[1]))
        return {
            "seconds": round(spent["train_s"] + self.features_s, 3),
            "steps": steps,
            "images": steps * batch,
            "flops": spent["flops_per_step"] * steps,
        }

    def history(self) -> list[dict[str, Any]]:
        """One entry per epoch; of a run of several stages each names its stage."""
        named = {} if self.name == "train" else {"stage": self.name}
        return [{**named, **entry} for entry in self.ledger.history]
