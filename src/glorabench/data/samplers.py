"""Orders of training examples that depend only on (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class Shuffle(Sampler[int]):
    """A permutation that depends only on (seed, epoch), so that a resumed run sees the same batches.


    Args:
        size: examples.
        seed: of the run.
        batch: of the whole step; processes share it in equal parts. Without several processes it plays no role.
        rank, processes: which of how many processes this is.
    """

    def __init__(self, size: int, seed: int, batch: int = 1, rank: int = 0, processes: int = 1) -> None:
        self.size, self.seed, self.epoch = size, seed, 0
        self.batch, self.rank, self.processes = batch, rank, processes

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer before each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.size)
        if self.processes > 1:  # whole batches, a row each, of which this process has its columns
            part = self.batch // self.processes
            batches = order[: self.size // self.batch * self.batch].reshape(-1, self.batch)
            order = batches[:, self.rank * part : (self.rank + 1) * part].ravel()
        yield from order.tolist()

    def __len__(self) -> int:
        if self.processes == 1:
            return self.size
        return self.size // self.batch * (self.batch // self.processes)


class VisitShuffle(Shuffle):
    """The same order as pairs (epoch, index), on which the randomness of an augmented image depends."""

    def __iter__(self) -> Iterator[tuple[int, int]]:  # type: ignore[override]
        yield from ((self.epoch, index) for index in super().__iter__())
