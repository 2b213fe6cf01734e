"""Candidates: new genomes for a search, within the parameter limits and never the same twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from glorabench.search.space import Genome, PathSpace

TRIES = 250  # draws for one candidate at most, because a small space can be used up


class Candidates:
    """New genomes of a space.

    Args:
        space: the paths of the supernet.
        low, high: least and most parameters of a subnet.
        rng: the source of all draws; an algorithm may use it, too.
    """

    def __init__(self, space: PathSpace, low: int, high: int, rng: np.random.Generator) -> None:
        self.space, self.low, self.high, self.rng = space, low, high, rng
        self._known_genomes: set[Genome] = set()

    def admit(self, genome: NDArray[np.int64] | Genome) -> Genome | None:
        """The genome, moved inside the limits; None if it was admitted before or cannot be moved."""
        inside = self._inside(np.array(genome, np.int64))
        if inside is None:
            return None
        key = tuple(inside.tolist())
        if key in self._known_genomes:
            return None
        self._known_genomes.add(key)
        return key

    def _inside(self, genome: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """One random gene after the other gets a smaller (larger) choice until the subnet is small (large) enough.

        The official code throws such a genome away and tries again, which takes endless tries if the limits are tight.
        In every other round no choice may jump over both limits, so that narrow limits are met.
        """
        total, options = self.space.size(genome), self.space.options
        for turn in range(8):
            if self.low <= total <= self.high:
                return genome
            may_jump = turn % 2 == 1
            least = 0 if may_jump else self.low
            most = np.inf if may_jump else self.high
            for gene in self.rng.permutation(len(options)):
                sizes = self.space.sizes[gene, : options[gene]]
                size = sizes[genome[gene]]
                totals = total - size + sizes
                if total > self.high:
                    choices = np.flatnonzero((sizes < size) & (totals >= least))
                else:
                    choices = np.flatnonzero((sizes > size) & (totals <= most))
                if len(choices):
                    genome[gene] = self.rng.choice(choices)
                    total += int(sizes[genome[gene]] - size)
                if self.low <= total <= self.high:
                    return genome
        return None

    def random(self, count: int) -> list[Genome]:
        """`count` uniform genomes, moved inside the limits; fewer if the space is used up."""
        genomes: list[Genome] = []
        while len(genomes) < count:
            genome = self._random_genome()
            if genome is None:
                break
            genomes.append(genome)
        return genomes

    def _random_genome(self) -> Genome | None:
        """A new genome; None if there is none in TRIES draws."""
        for _ in range(TRIES):
            genome = self.admit(self.rng.integers(self.space.options))
            if genome:
                return genome
        return None

    def fill_up(self, genomes: Iterable[Genome | None], count: int) -> list[Genome]:
        """The first `count` of these genomes, and random ones in place of missing ones."""
        batch = [genome for genome in genomes if genome is not None][:count]
        return batch + self.random(count - len(batch))

    def children(self, draw: Callable[[], NDArray[np.int64]], count: int, tries: int) -> list[Genome]:
        """`count` new genomes, moved inside the limits; fewer if `draw` gives no more in so many `tries`."""
        genomes: list[Genome] = []
        while len(genomes) < count and tries > 0:
            tries -= 1
            genome = self.admit(draw())
            if genome is not None:
                genomes.append(genome)
        return genomes

    def recombine(self, first: Genome, second: Genome, rate: float) -> NDArray[np.int64]:
        """A child of two parents: each gene is that of one parent or, with probability `rate`, drawn at random."""
        genome = np.where(self.rng.random(len(first)) < 0.5, first, second)
        return np.where(self.rng.random(len(first)) < rate, self.rng.integers(self.space.options), genome)
