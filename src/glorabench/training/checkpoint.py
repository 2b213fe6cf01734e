"""Checkpoints of a training: each file is written whole and ends with its checksum, and the previous one is kept."""

from __future__ import annotations

import hashlib
import io
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from glorabench import files
from glorabench.errors import first_line
from glorabench.records import record
from glorabench.training import signals
from glorabench.training.finetuner import FineTuner

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
_DIGEST = 64  # characters of the checksum that ends a file
_FIX = (
    "free space or set results_dir=FOLDER and give the same command again: training goes on from the last checkpoint "
    "that is whole"
)


class DamagedCheckpoint(ValueError):
    """A checkpoint from which no training can continue. The message says what is wrong with it."""


class Saver(Checkpoint):
    """Writes a checkpoint every few epochs, after the last epoch, and when a signal asks for the end.

    Args:
        folder: folder of the checkpoints.
        epochs: number of epochs between two checkpoints.
    """

    def __init__(self, folder: Path, epochs: int) -> None:
        self.path, self.epochs = folder / LAST, epochs
        self.is_over = False  # the training ended before its last epoch, by a callback or by its time

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Train no further where the checkpoint was the last one."""
        trainer.should_stop = trainer.should_stop or self.is_over

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write a checkpoint if one is due.

        Raises:
            KeyboardInterrupt: a signal has asked for the end. The checkpoint is written before.
            BadInput: the checkpoint cannot be written.
        """
        epoch, self.is_over = trainer.current_epoch + 1, trainer.should_stop
        is_stopping = trainer.strategy.reduce_boolean_decision(signals.is_stopping(), all=False)
        if epoch % self.epochs == 0 or epoch == trainer.max_epochs or self.is_over or is_stopping:
            trainer.save_checkpoint(self.path)
        if is_stopping:
            raise KeyboardInterrupt

    def state_dict(self) -> dict[str, Any]:
        """Travels in the checkpoint, where there is something to say."""
        return {"is_over": True} if self.is_over else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.is_over = bool(state_dict.get("is_over"))


class WholeFiles(CheckpointIO):
    """Lightning writes and reads checkpoints with the functions of this file."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint; see `write_checkpoint`."""
        write_checkpoint(checkpoint, Path(path))

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint, without pickle; see `read_training_state`."""
        return read_training_state(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint."""
        Path(path).unlink(missing_ok=True)


def write_checkpoint(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a checkpoint and its checksum, whole or not at all. The old checkpoint becomes PREVIOUS.

    Raises:
        BadInput: the disk is full or the folder is not writable. The old checkpoints are untouched.
    """
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    with files.whole_file(path, _FIX) as draft:
        with draft.open("wb") as file:
            file.write(buffer.getbuffer())
            file.write(hashlib.sha256(buffer.getbuffer()).hexdigest().encode())
        if path.exists():
            _keep(path)


def _keep(path: Path) -> None:
    """Give a checkpoint the name PREVIOUS as a second name. On a file system without links, rename it."""
    with files.whole_file(path.with_name(PREVIOUS), _FIX) as draft:
        try:
            os.link(path, draft)
        except OSError:
            path.replace(draft)


def read_training_state(path: Path) -> dict[str, Any]:
    """The checkpoint at `path`.

    Raises:
        DamagedCheckpoint: the file is cut off, altered or no checkpoint.
    """
    if not path.is_file():
        raise DamagedCheckpoint("it is no regular file")
    try:
        whole = path.read_bytes()
        body, digest = memoryview(whole)[:-_DIGEST], whole[-_DIGEST:]
        if hashlib.sha256(body).hexdigest().encode() != digest:
            raise DamagedCheckpoint("its checksum does not match")
        return torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except DamagedCheckpoint:
        raise
    except Exception as error:  # from the file system, or from any part of torch's reader
        raise DamagedCheckpoint(f"it cannot be read: {first_line(error)}") from error


def latest_checkpoint(folder: Path, tuner: FineTuner, callbacks: Iterable[Callback]) -> Path | None:
    """The newest checkpoint in `folder` from which this training can continue; None if there is none.

    Half-written files of killed processes are removed. A damaged checkpoint is renamed, with a warning.

    Args:
        folder: folder of the checkpoints.
        tuner: the module to train.
        callbacks: the callbacks of its Trainer.
    """
    files.sweep(folder)
    paths = [path for path in (folder / LAST, folder / PREVIOUS) if os.path.lexists(path)]
    for path in paths:
        try:
            _check(read_training_state(path), tuner, callbacks)
        except DamagedCheckpoint as error:
            older_paths = paths[paths.index(path) + 1 :]
            next_step = f"{older_paths[0].name} is tried" if older_paths else "training starts again"
            aside = record.set_aside(path)
            print(f"warning: {path} is damaged ({error}); kept as {aside.name}, {next_step}", file=sys.stderr)
        else:
            return path
    return None


def _check(checkpoint: dict[str, Any], tuner: FineTuner, callbacks: Iterable[Callback]) -> None:
    """Refuse a checkpoint on which Lightning would fail, or which it would load although its values are wrong.

    Raises:
        DamagedCheckpoint: the message says why.
    """
    if not isinstance(checkpoint, dict):
        raise DamagedCheckpoint("it holds no checkpoint")
    absent_keys = {"state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks"} - checkpoint.keys()
    states = checkpoint.get("callbacks", {})
    absent_keys |= {callback.state_key for callback in callbacks if callback.state_dict()} - states.keys()
    if absent_keys:
        raise DamagedCheckpoint(f"it lacks {', '.join(sorted(absent_keys))}")
    shapes = {name: tuple(tensor.shape) for name, tensor in tuner.state_dict().items()}
    stored_shapes = {name: tuple(tensor.shape) for name, tensor in checkpoint["state_dict"].items()}
    if shapes != stored_shapes:
        raise DamagedCheckpoint(
            f"it is of another network: {sorted(shapes.items() ^ stored_shapes.items())[0][0]} differs"
        )
    step = checkpoint.get("global_step")
    if not isinstance(step, int) or not 0 <= step <= tuner.total_steps:
        raise DamagedCheckpoint(f"it is of step {step}, of {tuner.total_steps}")
    state = [checkpoint["state_dict"], checkpoint["optimizer_states"]]
    if not all(bool(tensor.isfinite().all()) for tensor in _tensors(state)):
        raise DamagedCheckpoint("it holds values that are not finite")


def _tensors(node: Any) -> Iterator[Tensor]:
    if isinstance(node, Tensor):
        yield node
    elif isinstance(node, dict):
        for value in node.values():
            yield from _tensors(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _tensors(value)
