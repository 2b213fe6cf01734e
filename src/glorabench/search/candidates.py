"""Candidates: where a search takes genomes from: within the parameter limits, never the same twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from glorabench.search.space import Genome, PathSpace

TRIES = 250  # at most, for one candidate: a space may be used up


class Candidates:
    """New genomes of a space.

    Args:
        space: the paths there are.
        low, high: parameters of a subnet, both included.
        rng: of all draws; an algorithm may use it for its own.
    """

    def __init__(self, space: PathSpace, low: int, high: int, rng: np.random.Generator) -> None:
        self.space, self.low, self.high, self.rng = space, low, high, rng
        self._seen: set[Genome] = set()

    def admit(self, genome: NDArray[np.int64] | Genome) -> Genome | None:
        """The genome, moved inside the limits; None if it was there before or cannot be moved. From now on it was."""
        inside = self._inside(np.array(genome, np.int64))
        if inside is None:
            return None
        key = tuple(inside.tolist())
        if key in self._seen:
            return None
        self._seen.add(key)
        return key

    def _inside(self, genome: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """One random gene after the other gets a smaller (larger) choice until the subnet is small (large) enough.

        The official code throws such a genome away and tries again, which a tight limit turns into endless tries.
        Every other time through, no choice may jump over both limits: so narrow ones are met.
        """
        total, options = self.space.size(genome), self.space.options
        for turn in range(8):
            if self.low <= total <= self.high:
                return genome
            for gene in self.rng.permutation(len(options)):
                row = self.space.sizes[gene, : options[gene]]
                now = row[genome[gene]]
                after = total - now + row
                if total > self.high:
                    fitting = np.flatnonzero((row < now) & (after >= (self.low, 0)[turn % 2]))
                else:
                    fitting = np.flatnonzero((row > now) & (after <= (self.high, np.inf)[turn % 2]))
                if len(fitting):
                    genome[gene] = self.rng.choice(fitting)
                    total += int(row[genome[gene]] - now)
                if self.low <= total <= self.high:
                    return genome
        return None

    def random(self, count: int) -> list[Genome]:
        """As many as asked for, uniform and then moved inside the limits; fewer where the space is used up."""
        found: list[Genome] = []
        for _ in range(count):
            draws = (self.admit(self.rng.integers(self.space.options)) for _ in range(TRIES))
            if (genome := next(filter(None, draws), None)) is None:
                break
            found.append(genome)
        return found

    def filled(self, found: Iterable[Genome | None], count: int) -> list[Genome]:
        """The first `count` that were found, and random ones in place of those that are lacking."""
        kept = [genome for genome in found if genome is not None][:count]
        return kept + self.random(count - len(kept))

    def children(self, draw: Callable[[], NDArray[np.int64]], count: int, tries: int) -> list[Genome]:
        """As many new ones as asked for, moved inside the limits; fewer where `draw` gives no more in so many tries."""
        found: list[Genome] = []
        while len(found) < count and tries > 0:
            tries -= 1
            if (genome := self.admit(draw())) is not None:
                found.append(genome)
        return found

    def recombined(self, one: Genome, two: Genome, rate: float) -> NDArray[np.int64]:
        """Each gene of one parent or of the other, and at `rate` drawn again."""
        genome = np.where(self.rng.random(len(one)) < 0.5, one, two)
        return np.where(self.rng.random(len(one)) < rate, self.rng.integers(self.space.options), genome)
