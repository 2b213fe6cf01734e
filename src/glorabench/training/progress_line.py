"""One line on a terminal that says how far a training is: `[3/12] lora digits s0  epoch 5/15  loss 0.31  2:10 left`."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from glorabench.training.sweep_place import SWEEP_PLACE, clock_text, fit_line

_PAUSE = 0.5  # seconds between two lines


class ProgressLine(Callback):
    """Show the epoch, the loss of the last epoch and the time left. It never waits for the device.

    Args:
        title: the run in a few words.
        write: writes to the terminal.
    """

    def __init__(self, title: str, write: Callable[[str], Any] | None = None) -> None:
        self.title, self.loss = title, ""
        self._write = write or _write_out
        self._start = self._last = self._first_step = 0.0
        self._length = 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say at once that the run has begun."""
        self._show("starting", "")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock; a training that goes on from a checkpoint has steps behind it."""
        self._start = time.monotonic()
        self._first_step = float(trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the line, twice a second at most."""
        now = time.monotonic()
        if now - self._last < _PAUSE:
            return
        self._last = now
        batches = float(trainer.num_training_batches)
        done = trainer.current_epoch + (batch_idx + 1) / batches
        first = self._first_step / max(1.0, float(trainer.estimated_stepping_batches)) * (trainer.max_epochs or 1)
        share = (done - first) / max(1e-9, (trainer.max_epochs or 1) - first)
        left = SWEEP_PLACE.seconds_left(now - self._start, min(1.0, max(share, 1e-6)))
        self._show(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}", f"{clock_text(left)} left")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember the loss, which the history has read already."""
        loss = trainer.callback_metrics.get("train/loss")
        self.loss = "" if loss is None else f"loss {float(loss):.2f}"

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove the line."""
        self._clear()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Remove the line before an error is printed."""
        self._clear()

    def _show(self, epoch: str, left: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        line = fit_line(SWEEP_PLACE.text, self.title, (epoch, self.loss, left), width)
        self._write(f"\r{line}{' ' * min(width - len(line), max(0, self._length - len(line)))}")
        self._length = len(line)

    def _clear(self) -> None:
        if self._length:
            self._write(f"\r{' ' * self._length}\r")
            self._length = 0


def _write_out(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
