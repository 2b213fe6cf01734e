"""Search algorithms: dataclasses of settings whose `asking` is a generator: it yields candidates, it is sent scores.

Asking is a deterministic function of the candidates' generator and of the scores: told the same scores, it asks for
the same candidates. So the scores told so far are the whole state of a search, and replaying them resumes it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from glorabench.errors import BadInput, whole
from glorabench.search.candidates import Candidates
from glorabench.search.space import Genome

_TRIES = 10  # for each child that is wanted, as in the official code
Asking = Generator[list[Genome], list[float], None]


@dataclass(frozen=True)
class Algorithm(ABC):
    """How candidates are chosen; the fields of a subclass are its settings.

    Whole numbers are at least 1, other numbers between 0 and 1.
    """

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type in (int, "int"):
                whole(f"search.algorithm.{field.name}", value)
            if field.type in (float, "float") and not (type(value) in (int, float) and 0 <= value <= 1):
                raise BadInput(f"search.algorithm.{field.name} must be a number from 0 to 1, got {value!r}")

    @property
    @abstractmethod
    def evaluations(self) -> int:
        """Candidates that it asks for, at most."""

    @abstractmethod
    def asking(self, candidates: Candidates) -> Asking:
        """Yields a batch of new candidates, is sent their accuracies, and so on."""


@dataclass(frozen=True)
class Random(Algorithm):
    """Uniform candidates: what a search has to beat.

    Args:
        batch: asked for at once.
        total: of all.
    """

    batch: int
    total: int

    @property
    def evaluations(self) -> int:
        """All of them."""
        return self.total

    def asking(self, candidates: Candidates) -> Asking:
        """Uniform ones, batch after batch."""
        left = self.total
        while left > 0 and (drawn := candidates.random(min(self.batch, left))):
            left -= len(drawn)
            yield drawn


@dataclass(frozen=True)
class Generations(Algorithm):
    """Generations of candidates, a random one first.

    Args:
        population: candidates of a generation.
        generations: after the first one.
    """

    population: int
    generations: int

    @property
    def evaluations(self) -> int:
        """The population in every generation and at the start."""
        return self.population * (self.generations + 1)


@dataclass(frozen=True)
class Evolution(Generations):
    """The search of the official GLoRA code (that of NOAH and AutoFormer).

    Random candidates first; then in every generation children of the best ones so far, by mutation and by crossover,
    filled up with random ones. Every try draws its parents anew, and there are ten tries for each child that is wanted,
    shared by all of its kind. The official code evaluates the last generation and never ranks it; here it counts.

    Args:
        parents: the best so far, from which children come.
        mutants: children by mutation.
        rate: at which a mutation draws a gene again.
        crossed: children by crossover of two parents.
    """

    parents: int
    mutants: int
    rate: float
    crossed: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mutants + self.crossed > self.population:
            raise BadInput(
                f"search.algorithm: {self.mutants} mutants and {self.crossed} crossed do not fit into a population "
                f"of {self.population}"
            )

    def asking(self, candidates: Candidates) -> Asking:
        """Generation after generation."""
        scored: dict[Genome, float] = {}
        for generation in range(self.generations + 1):
            batch = self.children(scored, candidates) if generation else candidates.random(self.population)
            if not batch:  # every path has been evaluated
                return
            scored.update(zip(batch, (yield batch), strict=True))

    def best(self, scored: dict[Genome, float]) -> list[Genome]:
        """Those from which children come; of equally good ones the earlier comes first."""
        return sorted(scored, key=lambda genome: -scored[genome])[: self.parents]

    def children(self, scored: dict[Genome, float], candidates: Candidates) -> list[Genome]:
        """The next generation."""
        parents = self.best(scored)

        def parent() -> Genome:
            return parents[candidates.rng.integers(len(parents))]

        def mutant() -> NDArray[np.int64]:
            return candidates.recombined(one := parent(), one, self.rate)

        def crossing() -> NDArray[np.int64]:
            return candidates.recombined(parent(), parent(), 0.0)

        mutants = candidates.children(mutant, self.mutants, _TRIES * self.mutants)
        crossed = candidates.children(crossing, self.crossed, _TRIES * self.crossed)
        return candidates.filled([*mutants, *crossed], self.population)
