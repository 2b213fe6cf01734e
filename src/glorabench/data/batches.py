"""Batches out of arrays: whole batches by index, in an order that is a function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from glorabench.data.cache import Arrays


class Batches(Dataset[tuple[Tensor, Tensor]]):
    """Arrays that hand out a whole batch for a list of indices; reading changes nothing."""

    def __init__(self, arrays: Arrays) -> None:
        self.inputs, self.labels = arrays

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        inputs, labels = self.__getitems__([index])
        return inputs[0], labels[0]

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """(inputs, labels) of a batch, copied out of the cache."""
        return torch.from_numpy(self.inputs[indices]), torch.from_numpy(self.labels[indices])


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


def as_is(batch: Any) -> Any:
    """Batches arrive whole from `__getitems__`."""
    return batch
