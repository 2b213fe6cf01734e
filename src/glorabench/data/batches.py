"""Batches: whole ones by index, in an order that is a function of (seed, epoch); or decoded ahead, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from glorabench.data.cache import Arrays
from glorabench.data.decode import in_order

Batch = tuple[Tensor, Tensor]
_FREE = 4  # a split may take one part in so many of an accelerator's free memory


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
        images = in_order(self.read, len(self.labels))
        for start in range(0, len(self.labels), self.size):
            labels = torch.from_numpy(self.labels[start : start + self.size])
            yield torch.from_numpy(np.stack([next(images) for _ in labels])), labels


class Shuffle(Sampler[int]):
    """A permutation that is a function of (seed, epoch), so that a resumed run sees the same batches."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed, self.epoch = size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer before each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        yield from np.random.default_rng([self.seed, self.epoch]).permutation(self.size).tolist()

    def __len__(self) -> int:
        return self.size


class Visits(Shuffle):
    """The same order, as (epoch, index): what the randomness of an augmented image is a function of."""

    def __iter__(self) -> Iterator[tuple[int, int]]:  # type: ignore[override]
        yield from ((self.epoch, index) for index in super().__iter__())


def as_is(batch: Any) -> Any:
    """Batches arrive whole from `__getitems__`."""
    return batch
