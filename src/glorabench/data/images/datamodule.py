"""Batches of an image task for the Trainer: order, augmentation, normalisation on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from glorabench.data.cache import Arrays
from glorabench.data.images.augmentation import AUGMENTATIONS, AugmentedImages, BatchMixing
from glorabench.data.images.decoding import THREADS, map_in_threads
from glorabench.data.images.task import ImageTask, Split
from glorabench.data.samplers import Shuffle, VisitShuffle
from glorabench.data.task import LeakError
from glorabench.errors import BadInput, one_of

Batch = tuple[Tensor, Tensor]
_FREE = 4  # a split may take one part in so many of an accelerator's free memory


class ImageData(LightningDataModule):
    """Batches of one task.

    Args:
        task: the task.
        fit_on: `trainval`, or `train` (then val is evaluated every epoch).
        report_on: `test`, or `val` for tuning.
        batch_size: of training; the last incomplete batch is dropped, unless it is the only one.
        eval_batch_size: of evaluation.
        seed: of the order of batches, of augmentation and of what a search holds out.
        size, mean, std, interpolation: what the backbone wants.
        augment: a recipe of `augmentation.py`, or None.
        mixup, cutmix: Beta parameters, or None.
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
        augment: str | None = None,
        mixup: float | None = None,
        cutmix: float | None = None,
    ) -> None:
        super().__init__()
        for key, value, known in (
            ("selection.fit_on", fit_on, ("train", "trainval")),
            ("selection.report_on", report_on, ("val", "test")),
            ("train.augment", augment or AUGMENTATIONS[0], AUGMENTATIONS),
        ):
            one_of(key, value, known)
        if fit_on == "trainval" and report_on == "val":
            raise BadInput("selection.report_on=val needs selection.fit_on=train: trainval contains val")
        self.task, self.fit_on, self.report_on = task, fit_on, report_on
        self.batch_size, self.eval_batch_size, self.seed = batch_size, eval_batch_size, seed
        self.view = task.view(size, mean, std, interpolation)
        self.mean, self.std = (torch.tensor(v).view(1, -1, 1, 1) for v in (self.view.mean, self.view.std))
        self.augment = augment
        self.mixing = BatchMixing(augment, mixup, cutmix, task.classes, seed)
        self.varies = bool(augment or mixup or cutmix)  # inputs that differ from visit to visit
        self.encode: Callable[[Tensor], Tensor] | None = None
        self._encoded: dict[str, Arrays] = {}
        self.device = torch.device("cpu")  # where `encode` computes and training images are kept
        self._test_was_read = False
        self.contaminated = False  # by a search on test, or an epoch chosen on it
        self.watched = "val"  # or test: what is evaluated during training

    def facts(self) -> dict[str, Any]:
        """What a record says of the data; records that differ in it do not compare."""
        told = {"suite": self.task.suite, "task": self.task.name, "fingerprint": self.task.fingerprint}
        return told | ({"preprocess": self.view.id, **self.task.facts} if self.view.id else {})

    def decode(self) -> None:
        """Decode every split that the run keeps before it trains, so that a damaged image is met then and not after."""
        for name in self.task.tests if self.report_on == "test" else ():
            if self.task.geometry is not None and self.task.splits[name].kept(self.view):
                self.task.splits[name].still(self.view)

    def _evaluated(self, split: Split) -> Iterable[Batch]:
        """All of a split in order: out of a cache, or decoded on the way."""
        if not split.kept(self.view):
            return Stream(lambda index: split.read(self.view, index), split.labels, self.eval_batch_size)
        return self._loader(Batches((split.still(self.view), split.labels)), self.eval_batch_size)

    def _loader(self, batches: Batches, size: int, **more: Any) -> DataLoader[Batch]:
        return DataLoader(batches, batch_size=size, collate_fn=as_is, **more)

    def _features(self, name: str, split: Split) -> Arrays:
        """What `encode` makes of a split, once."""
        assert self.encode is not None
        if name not in self._encoded:
            found = [self.encode(self.normalise(x.to(self.device))).cpu() for x, _ in self._evaluated(split)]
            self._encoded[name] = torch.cat(found).numpy(), split.labels
        return self._encoded[name]

    def _evaluation(self, name: str, split: Split) -> Iterable[Batch]:
        if self.encode is None:
            return self._evaluated(split)
        return self._loader(Batches(self._features(name, split)), self.eval_batch_size)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of `fit_on` in an order of (seed, epoch)."""
        split, seed = self.task.split(self.fit_on), self.seed
        size = min(self.batch_size, len(split.labels))
        if self.augment is not None:
            images = AugmentedImages(split.whole(), split.labels, self.augment, self.view, seed)
            order = VisitShuffle(len(images), seed)
            workers = THREADS if THREADS > 2 else 0  # with two cores they would take the network's
            return DataLoader(
                images,
                size,
                sampler=order,
                drop_last=True,
                num_workers=workers,
                persistent_workers=workers > 0,
                pin_memory=self.device.type == "cuda",
            )
        arrays = (split.still(self.view), split.labels) if self.encode is None else self._features(self.fit_on, split)
        return self._loader(
            Batches(arrays, self.device), size, sampler=Shuffle(len(split.labels), seed), drop_last=True
        )

    def val_dataloader(self) -> Iterable[Batch]:
        """What is evaluated during training: val, which is not trained on then, or test where a rule declares it.

        Raises:
            LeakError: test is asked for, and not declared `contaminated`, as the record would have to say.
        """
        if self.watched == "val":
            return self._evaluation("val", self.task.split("val"))
        if not self.contaminated:
            raise LeakError("testing during training has to be declared: selection.rule=best_test_epoch")
        return self._evaluation("test", self.task.splits["test"])

    def test_dataloader(self) -> list[Iterable[Batch]]:
        """The report split, once: val, or every test set in the order of `task.tests`.

        Raises:
            LeakError: asked for outside the final test step, or a second time.
        """
        if self.report_on == "val":
            return [self.val_dataloader()]
        if self.trainer is None or not self.trainer.testing or self._test_was_read:
            raise LeakError("test labels are read once, by the final test step")
        self._test_was_read = True
        return [self._evaluation(name, self.task.splits[name]) for name in self.task.tests]

    def example(self, count: int, device: torch.device) -> Tensor:
        """Inputs of the first `count` training examples, as they would be evaluated, ready for the network."""
        split = self.task.split(self.fit_on)
        if self.augment is None or self.view.geometry is None:
            images = split.still(self.view)[:count]
        else:  # only the uncropped images are kept
            whole = split.whole()
            images = np.stack([self.view.still(Image.fromarray(whole[i])) for i in range(min(count, len(whole)))])
        return self.normalise(torch.tensor(images).to(device))

    def searched(self, on: str, device: torch.device) -> tuple[Tensor, Tensor]:
        """(inputs, labels) that score the candidates of a search, ready for the network and kept on `device`; in an
        order that the seed draws, as a part of them is held out and lists are often sorted by class.

        Raises:
            LeakError: asked for test by a search that is not declared `contaminated`, as its record would have to say.
        """
        if on == "test" and not self.contaminated:
            raise LeakError("a search on test has to be declared: search.on=test")
        split = self.task.splits["test"] if on == "test" else self.task.split(on)
        size = (len(split.labels), 3, self.view.size, self.view.size)
        places = torch.randperm(size[0], generator=torch.Generator().manual_seed(self.seed)).to(device)
        inputs = torch.empty(size, device=device)  # filled in place: a large test split is there once
        for at, (images, _) in zip(places.split(self.eval_batch_size), self._evaluated(split), strict=True):
            inputs[at] = self.normalise(images.to(device))
        return inputs, torch.tensor(split.labels, device=device)[places.argsort()]

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Normalise on the device; erase and mix what is trained on."""
        images, labels = self.normalise(batch[0]), batch[1]
        if self.trainer is not None and self.trainer.training:
            return self.mixing(images, labels, self.trainer.global_step)
        return images, labels

    def normalise(self, images: Tensor) -> Tensor:
        """Uint8 images to normalised floats at the backbone's size; features pass through."""
        if images.dtype != torch.uint8:
            return images
        x, size = images.float(), self.view.size
        if x.shape[-1] != size:
            x = F.interpolate(x, (size, size), mode=self.view.interpolation, antialias=True).clamp(0, 255)
        return (x / 255 - self.mean.to(x.device)) / self.std.to(x.device)


class Batches(Dataset[Batch]):
    """Arrays that hand out a whole batch for a list of indices; reading changes nothing.

    Args:
        arrays: inputs and labels.
        device: of an accelerator on which they are kept, where there is room; None leaves them where they are.
    """

    def __init__(self, arrays: Arrays, device: torch.device | None = None) -> None:
        self.inputs, self.labels = arrays
        self.resident: Batch | None = None
        if device is not None and device.type == "cuda" and _fits(self.inputs.nbytes, device):
            self.resident = torch.tensor(self.inputs, device=device), torch.tensor(self.labels, device=device)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Batch:
        inputs, labels = self.__getitems__([index])
        return inputs[0], labels[0]

    def __getitems__(self, indices: list[int]) -> Batch:
        """(inputs, labels) of a batch, copied out of the cache."""
        if self.resident is not None:
            inputs, labels = self.resident
            at = torch.tensor(indices).to(inputs.device, non_blocking=True)
            return inputs[at], labels[at]
        return torch.from_numpy(self.inputs[indices]), torch.from_numpy(self.labels[indices])


def _fits(size: int, device: torch.device) -> bool:
    return size <= torch.cuda.mem_get_info(device)[0] // _FREE


class Stream:
    """Batches decoded ahead in threads and in order; nothing is kept.

    Args:
        read: index -> image, 3 x height x width.
        labels: (N,).
        size: of a batch; the last may be smaller.
    """

    def __init__(self, read: Callable[[int], NDArray[np.uint8]], labels: NDArray[np.int64], size: int) -> None:
        self.read, self.labels, self.size = read, labels, size

    def __len__(self) -> int:
        return -(-len(self.labels) // self.size)

    def __iter__(self) -> Iterator[Batch]:
        images = map_in_threads(self.read, len(self.labels))
        for start in range(0, len(self.labels), self.size):
            labels = torch.from_numpy(self.labels[start : start + self.size])
            yield torch.from_numpy(np.stack([next(images) for _ in labels])), labels


def as_is(batch: Any) -> Any:
    """Batches arrive whole from `__getitems__`."""
    return batch
