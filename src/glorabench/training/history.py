"""The history of a training, epoch by epoch. It is part of the checkpoints, and can be printed as progress lines."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from glorabench.training import signals
from glorabench.training.finetuner import FineTuner
from glorabench.training.measure.profiling import FlopCount

_STEPS_FOR_FLOPS = 8  # the FLOPs are the mean of so many steps, because the paths of a supernet differ


class TrainingHistory(Callback):
    """History, step time and FLOPs of a run.

    FLOPs are counted during the first training steps, so nothing is computed twice. The time of an epoch ends with its
    last step, after one synchronisation with the device.

    Args:
        lines: print progress as lines, five to ten for a training.
        title: the beginning of each line.
        parts: batches of a step, on all devices.
    """

    def __init__(self, lines: bool, title: str = "", parts: int = 1) -> None:
        self.lines, self.title, self.parts = lines, title, parts
        self.history: list[dict[str, float]] = []
        self.step_flops: list[int] = []
        self._start = 0.0
        self._seconds, self._has_validation = 0.0, False
        self._counter: FlopCount | None = None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._start = time.perf_counter()
        self._seconds = 0.0
        self._has_validation = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that this epoch has a validation metric."""
        self._has_validation = True

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count the FLOPs of the first steps.

        Raises:
            KeyboardInterrupt: a signal asked for the end, but some code caught the exception.
        """
        if signals.is_interrupted():
            raise KeyboardInterrupt
        if len(self.step_flops) < _STEPS_FOR_FLOPS:
            self._counter = FlopCount()
            self._counter.__enter__()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """End the count of FLOPs; after the last step, stop the clock."""
        if self._counter is not None:
            self._counter.__exit__(None, None, None)
            self.step_flops.append(self._counter.get_total_flops())
            self._counter = None
        if trainer.is_last_batch:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self._seconds = time.perf_counter() - self._start

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End the count of FLOPs after a failed step."""
        if self._counter is not None:
            self._counter.__exit__(None, None, None)
            self._counter = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add an entry for the epoch."""
        assert isinstance(pl_module, FineTuner)
        metric = pl_module.objective.metrics[0]
        step, metric_key = trainer.global_step, f"{pl_module.evaluation_split}_{metric.name}"
        entry = {
            "epoch": trainer.current_epoch + 1,
            "step": step,
            "lr": pl_module.lr * pl_module.lr_factor(step - 1),
            "seconds": round(self._seconds, 4),
        }
        for name in ("train_loss", *([metric_key] if self._has_validation else [])):
            entry[name] = round(float(trainer.callback_metrics[name.replace("_", "/", 1)]), 6)
        self.history.append(entry)
        epochs = trainer.max_epochs or 0
        if self.lines and (trainer.current_epoch + 1) % max(1, epochs // 5) == 0:
            line = f"    {self.title}epoch {entry['epoch']}/{epochs}  loss {entry['train_loss']:.4f}"
            if metric_key in entry:
                line += f"  {pl_module.evaluation_split} {metric.with_unit(entry[metric_key], metric.digits - 1)}"
            print(line, flush=True)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"history": self.history, "step_flops": self.step_flops}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.history, self.step_flops = list(state_dict["history"]), list(state_dict["step_flops"])

    def cost(self, steps_per_epoch: int) -> dict[str, float | int]:
        """{train_s, step_ms, flops_per_step}. step_ms is a median over epochs, without the first, which is slower."""
        seconds = [entry["seconds"] for entry in self.history]
        return {
            "train_s": round(sum(seconds), 3),
            "step_ms": round(1e3 * statistics.median(seconds[1:] or seconds) / steps_per_epoch, 3),
            "flops_per_step": round(statistics.mean(self.step_flops) * self.parts),
        }
