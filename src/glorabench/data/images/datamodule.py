"""Batches of an image task for the Trainer: order, augmentation, normalisation on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from glorabench.data.cache import Arrays
from glorabench.data.datamodule import TaskData, as_is
from glorabench.data.images.augmentation import AUGMENTATIONS, AugmentedImages, BatchMixing
from glorabench.data.images.decoding import THREADS, map_in_threads
from glorabench.data.images.task import ImageTask, Split
from glorabench.data.samplers import Shuffle, VisitShuffle
from glorabench.errors import one_of

Batch = tuple[Tensor, Tensor]
_FREE = 4  # a split may take at most 1 / _FREE of the accelerator's free memory


class ImageData(TaskData):
    """Batches of one task.

    Args:
        task: the task.
        fit_on: `trainval`, or `train` (then val is evaluated every epoch).
        report_on: `test`, or `val` for tuning.
        batch_size: batch size of training. An incomplete last batch is dropped, unless it is the only one.
        eval_batch_size: batch size of evaluation.
        seed: seed of the order of batches, of the augmentation and of the held-out part of a search.
        size, mean, std, interpolation: the inputs that the backbone reads.
        augment: a recipe of `augmentation.py`, or None.
        mixup, cutmix: Beta parameters, or None.
    """

    can_be_shared: ClassVar[bool] = True

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
        super().__init__(
            task,
            fit_on=fit_on,
            report_on=report_on,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            seed=seed,
        )
        one_of("train.augment", augment or AUGMENTATIONS[0], AUGMENTATIONS)
        self.images = task
        self.view = task.view(size, mean, std, interpolation)
        self.mean, self.std = (torch.tensor(v).view(1, -1, 1, 1) for v in (self.view.mean, self.view.std))
        self.augment = augment
        self.mixing = BatchMixing(augment, mixup, cutmix, task.classes, seed)
        self.varies = bool(augment or mixup or cutmix)
        self._feature_arrays: dict[str, Arrays] = {}

    def facts(self) -> dict[str, Any]:
        """Facts about the data for the record. Records with different facts are not compared."""
        return super().facts() | ({"preprocess": self.view.id, **self.images.facts} if self.view.id else {})

    def read_all(self) -> None:
        """Decode every split that the run caches."""
        for name in self.task.tests if self.report_on == "test" else ():
            if self.images.geometry is not None and self.images.splits[name].has_stills(self.view):
                self.images.splits[name].still(self.view)

    def _still_batches(self, split: Split) -> Iterable[Batch]:
        """All images of a split in order, from a cache or decoded one by one."""
        if not split.has_stills(self.view):
            return Stream(lambda index: split.read(self.view, index), split.labels, self.eval_batch_size)
        return self._loader(Batches((split.still(self.view), split.labels)), self.eval_batch_size)

    def _loader(self, batches: Batches, size: int, **options: Any) -> DataLoader[Batch]:
        return DataLoader(batches, batch_size=size, collate_fn=as_is, **options)

    def _features(self, name: str, split: Split) -> Arrays:
        """The features of a split, which are computed once."""
        assert self.encode is not None
        if name not in self._feature_arrays:
            batches = [self.encode(self.normalise(x.to(self.device))).cpu() for x, _ in self._still_batches(split)]
            self._feature_arrays[name] = torch.cat(batches).numpy(), split.labels
        return self._feature_arrays[name]

    def evaluation_batches(self, split: str) -> Iterable[Batch]:
        """All examples of a split in order: images, or features if the trunk is constant."""
        return self._evaluation(split, self.images.splits[split])

    def _evaluation(self, name: str, split: Split) -> Iterable[Batch]:
        if self.encode is None:
            return self._still_batches(split)
        return self._loader(Batches(self._features(name, split)), self.eval_batch_size)

    def training_batches(self, split: str) -> DataLoader[Batch]:
        """Batches of a split in an order of (seed, epoch). An incomplete last batch is dropped unless it is alone."""
        examples, seed = self.images.split(split), self.seed
        size = min(self.local_batch_size, len(examples.labels))
        share = (len(examples.labels), seed, self.batch_size, self.rank, self.processes)
        if self.augment is not None:
            images = AugmentedImages(examples.whole(), examples.labels, self.augment, self.view, seed)
            order = VisitShuffle(*share)
            workers = THREADS if THREADS > 2 else 0  # with two cores, workers would take time from the network
            return DataLoader(
                images,
                size,
                sampler=order,
                drop_last=True,
                num_workers=workers,
                persistent_workers=workers > 0,
                pin_memory=self.device.type == "cuda",
            )
        arrays = (examples.still(self.view), examples.labels)
        if self.encode is not None:
            arrays = self._features(split, examples)
        return self._loader(Batches(arrays, self.device), size, sampler=Shuffle(*share), drop_last=True)

    def example(self, count: int, device: torch.device) -> Tensor:
        """Inputs of the first `count` training examples, prepared as for evaluation."""
        split = self.images.split(self.fit_on)
        if self.augment is None or self.view.geometry is None:
            images = split.still(self.view)[:count]
        else:  # only uncropped images are cached
            whole = split.whole()
            images = np.stack([self.view.still(Image.fromarray(whole[i])) for i in range(min(count, len(whole)))])
        return self.normalise(torch.tensor(images).to(device))

    def search_batches(self, on: str, held_out: float, device: torch.device) -> tuple[list[Batch], list[Batch]]:
        """Batches (inputs, labels) that score candidates, and held-out batches; see `TaskData`."""
        self.check_search(on)
        split = self.images.splits["test"] if on == "test" else self.images.split(on)
        size = (len(split.labels), 3, self.view.size, self.view.size)
        places = torch.randperm(size[0], generator=torch.Generator().manual_seed(self.seed)).to(device)
        inputs = torch.empty(size, device=device)  # filled in place, so that a large test split is in memory only once
        for indices, (images, _) in zip(places.split(self.eval_batch_size), self._still_batches(split), strict=True):
            inputs[indices] = self.normalise(images.to(device))
        labels = torch.tensor(split.labels, device=device)[places.argsort()]
        n = len(labels) - round(held_out * len(labels))
        return self._cut(inputs[:n], labels[:n]), self._cut(inputs[n:], labels[n:])

    def _cut(self, inputs: Tensor, labels: Tensor) -> list[Batch]:
        size = self.eval_batch_size
        return list(zip(inputs.split(size), labels.split(size), strict=True)) if len(labels) else []

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Normalise on the device; erase and mix training batches."""
        images, labels = self.normalise(batch[0]), batch[1]
        if self.trainer is not None and self.trainer.training:
            accumulate, progress = self.trainer.accumulate_grad_batches, self.trainer.fit_loop.epoch_loop.batch_progress
            part = self.rank * accumulate + progress.current.ready % accumulate  # this batch is not counted yet
            return self.mixing(images, labels, self.trainer.global_step, part)
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
    """Arrays that give a whole batch for a list of indices.

    Args:
        arrays: inputs and labels.
        device: an accelerator to which the arrays are copied if there is room; None does not copy them.
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
        """A batch (inputs, labels), copied from the cache."""
        if self.resident is not None:
            inputs, labels = self.resident
            places = torch.tensor(indices).to(inputs.device, non_blocking=True)
            return inputs[places], labels[places]
        return torch.from_numpy(self.inputs[indices]), torch.from_numpy(self.labels[indices])


def _fits(size: int, device: torch.device) -> bool:
    return size <= torch.cuda.mem_get_info(device)[0] // _FREE


class Stream:
    """Batches that are decoded ahead, in threads and in order. Nothing is cached.

    Args:
        read: index -> image, 3 x height x width.
        labels: (N,).
        size: size of a batch; the last batch may be smaller.
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
