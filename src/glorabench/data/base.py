"""Image tasks: seeded batches from uint8 arrays, normalisation on the device, a test split that opens once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from glorabench.data.batches import Batches, Shuffle, as_is
from glorabench.data.cache import Arrays
from glorabench.errors import BadInput, one_of
from glorabench.objectives import Classification


class LeakError(RuntimeError):
    """Somebody asked for test labels outside the one final test step."""


@dataclass(frozen=True)
class ImageTask:
    """What a task is: names, classes and its splits (images uint8 N x 3 x H x W, labels int64)."""

    suite: str
    name: str
    group: str
    classes: int
    splits: Mapping[str, Arrays]
    fingerprint: str

    def arrays(self, split: str) -> Arrays:
        """The arrays of train, val or trainval (train followed by val).

        Raises:
            LeakError: asked for test, which only the final test step opens.
        """
        if split == "test":
            raise LeakError("test labels are read by the final test step only")
        if split != "trainval":
            return self.splits[split]
        parts = [self.splits["train"], self.splits["val"]]
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    def module(self, **loading: Any) -> ImageData:
        """The Trainer's view of the task; arguments as in `ImageData`."""
        return ImageData(self, **loading)

    def objective(self, label_smoothing: float) -> Classification:
        """What is minimised and what is reported."""
        return Classification(self.classes, label_smoothing)


class ImageData(LightningDataModule):
    """Batches of one task.

    Args:
        task: the task.
        fit_on: `trainval`, or `train` (then val is evaluated every epoch).
        report_on: `test`, or `val` for tuning.
        batch_size: of training; the last incomplete batch is dropped, unless it is the only one.
        eval_batch_size: of evaluation.
        seed: of the order of batches.
        size, mean, std, interpolation: what the backbone wants.
    """

    def __init__(
        self,
        task: ImageTask,
        *,
        fit_on: str,
        report_on: str,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
        size: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        interpolation: str,
    ) -> None:
        super().__init__()
        for key, value, known in (
            ("fit_on", fit_on, ("train", "trainval")),
            ("report_on", report_on, ("val", "test")),
        ):
            one_of(f"selection.{key}", value, known)
        if fit_on == "trainval" and report_on == "val":
            raise BadInput("selection.report_on=val needs selection.fit_on=train: trainval contains val")
        self.task, self.fit_on, self.report_on = task, fit_on, report_on
        self.batch_size, self.eval_batch_size, self.seed = batch_size, eval_batch_size, seed
        self.size, self.interpolation = size, interpolation
        self.mean, self.std = (torch.tensor(v).view(1, -1, 1, 1) for v in (mean, std))
        self.encode: Callable[[Tensor], Tensor] | None = None
        self._encoded: dict[str, Arrays] = {}
        self.device = torch.device("cpu")  # where `encode` computes
        self._test_was_read = self._opening = False
        self.contaminated = False  # by a search on test

    def inputs(self, split: str) -> Arrays:
        """Images of a split, or their features once `encode` is set; LeakError for an unopened test split."""
        images, labels = self.task.splits["test"] if split == "test" and self._opening else self.task.arrays(split)
        if self.encode is None:
            return images, labels
        if split not in self._encoded:
            chunks = range(0, len(images), self.eval_batch_size)
            batches = [torch.tensor(images[c : c + self.eval_batch_size]) for c in chunks]
            encoded = [self.encode(self.normalise(batch.to(self.device))).cpu() for batch in batches]
            self._encoded[split] = torch.cat(encoded).numpy(), labels
        return self._encoded[split]

    def _loader(self, split: str, train: bool) -> DataLoader[tuple[Tensor, Tensor]]:
        batches = Batches(self.inputs(split))
        size = min(self.batch_size, len(batches)) if train else self.eval_batch_size
        return DataLoader(
            batches,
            batch_size=size,
            sampler=Shuffle(len(batches), self.seed) if train else None,
            drop_last=train,
            collate_fn=as_is,
        )

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Batches of `fit_on` in an order of (seed, epoch)."""
        return self._loader(self.fit_on, train=True)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Val; the Trainer asks for it only when it is not trained on."""
        return self._loader("val", train=False)

    def test_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """The report split, once.

        Raises:
            LeakError: asked for outside the final test step, or a second time.
        """
        if self.report_on == "test":
            testing = self.trainer is not None and self.trainer.testing
            if not testing or self._test_was_read:
                raise LeakError("test labels are read once, by the final test step")
            self._test_was_read = self._opening = True
        loader = self._loader(self.report_on, train=False)
        self._opening = False
        return loader

    def example(self, count: int, device: torch.device) -> Tensor:
        """Inputs of the first `count` training examples, ready for the network."""
        return self.normalise(torch.tensor(self.task.arrays(self.fit_on)[0][:count]).to(device))

    def searched(self, on: str, device: torch.device) -> tuple[Tensor, Tensor]:
        """(inputs, labels) that score the candidates of a search, ready for the network and kept on `device`.

        Raises:
            LeakError: asked for test by a search that is not declared `contaminated`, as its record would have to say.
        """
        if on == "test" and not self.contaminated:
            raise LeakError("a search on test has to be declared: search.on=test")
        images, labels = self.task.splits["test"] if on == "test" else self.task.arrays(on)
        starts = range(0, len(images), self.eval_batch_size)
        batches = [torch.tensor(images[s : s + self.eval_batch_size]).to(device) for s in starts]
        return torch.cat([self.normalise(batch) for batch in batches]), torch.tensor(labels).to(device)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Normalise on the device."""
        return self.normalise(batch[0]), batch[1]

    def normalise(self, images: Tensor) -> Tensor:
        """Uint8 images to normalised floats at the backbone's size; features pass through."""
        if images.dtype != torch.uint8:
            return images
        x = images.float()
        if x.shape[-1] != self.size:
            x = F.interpolate(x, (self.size, self.size), mode=self.interpolation, antialias=True).clamp(0, 255)
        return (x / 255 - self.mean.to(x.device)) / self.std.to(x.device)
