"""Orders of training examples that depend only on (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class Shuffle(Sampler[int]):
    """A permutation that depends only on (seed, epoch), so that a resumed run sees the same batches."""

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
    """The same order as pairs (epoch, index), on which the randomness of an augmented image depends."""

    def __iter__(self) -> Iterator[tuple[int, int]]:  # type: ignore[override]
        yield from ((self.epoch, index) for index in super().__iter__())
