"""Orders of training examples that are functions of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


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


class VisitShuffle(Shuffle):
    """The same order, as (epoch, index): what the randomness of an augmented image is a function of."""

    def __iter__(self) -> Iterator[tuple[int, int]]:  # type: ignore[override]
        yield from ((self.epoch, index) for index in super().__iter__())
