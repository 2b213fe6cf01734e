"""Search algorithms: random search, evolution, and the interface that they share.

An algorithm is a dataclass of settings. Its method `propose` is a generator: it yields candidates and is sent their
scores. It is a deterministic function of the random generator and of these scores: the same scores give the same
candidates. So the scores are the whole state of a search, and replaying them resumes it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from glorabench.errors import BadInput, check_whole_number
from glorabench.search.candidates import Candidates
from glorabench.search.space import Genome

_TRIES = 10  # tries for each child, as in the official code
Proposals = Generator[list[Genome], list[float], None]


@dataclass(frozen=True)
class Algorithm(ABC):
    """How candidates are chosen; the fields of a subclass are its settings.

    Whole numbers are at least 1, other numbers between 0 and 1.
    """

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type in (int, "int"):
                check_whole_number(f"search.algorithm.{field.name}", value)
            if field.type in (float, "float") and not (type(value) in (int, float) and 0 <= value <= 1):
                raise BadInput(f"search.algorithm.{field.name} must be a number from 0 to 1, got {value!r}")

    @property
    @abstractmethod
    def evaluations(self) -> int:
        """The largest number of candidates that it proposes."""

    @abstractmethod
    def propose(self, candidates: Candidates) -> Proposals:
        """A generator: it yields a batch of new candidates, is sent their scores, and so on."""


@dataclass(frozen=True)
class Random(Algorithm):
    """Uniform candidates: what a search has to beat.

    Args:
        batch: candidates of a batch.
        total: candidates in all.
    """

    batch: int
    total: int

    @property
    def evaluations(self) -> int:
        """The number of candidates in all."""
        return self.total

    def propose(self, candidates: Candidates) -> Proposals:
        """Uniform candidates, batch after batch."""
        budget = self.total
        while budget > 0:
            batch = candidates.random(min(self.batch, budget))
            if not batch:  # every path has been evaluated
                return
            budget -= len(batch)
            yield batch


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

    The first generation is random. Every later generation has children of the best candidates so far, by mutation and
    by crossover, and random candidates in place of missing children. Every try draws its parents anew. There are ten
    tries for each child, shared by all children of a kind. The official code evaluates the last generation but never
    ranks it; here it counts.

    Args:
        parents: how many of the best candidates have children.
        mutants: children by mutation.
        rate: probability that a mutation draws a gene again.
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

    def propose(self, candidates: Candidates) -> Proposals:
        """Generation after generation."""
        scores: dict[Genome, float] = {}
        for generation in range(self.generations + 1):
            batch = self.children(scores, candidates) if generation else candidates.random(self.population)
            if not batch:  # every path has been evaluated
                return
            answers = yield batch
            scores.update(zip(batch, answers, strict=True))

    def best(self, scores: dict[Genome, float]) -> list[Genome]:
        """The candidates that have children; if two are equally good, the earlier one comes first."""
        return sorted(scores, key=lambda genome: -scores[genome])[: self.parents]

    def children(self, scores: dict[Genome, float], candidates: Candidates) -> list[Genome]:
        """The next generation."""
        parents = self.best(scores)

        def parent() -> Genome:
            return parents[candidates.rng.integers(len(parents))]

        def mutant() -> NDArray[np.int64]:
            genome = parent()
            return candidates.recombine(genome, genome, self.rate)

        def crossing() -> NDArray[np.int64]:
            return candidates.recombine(parent(), parent(), 0.0)

        mutants = candidates.children(mutant, self.mutants, _TRIES * self.mutants)
        crossings = candidates.children(crossing, self.crossed, _TRIES * self.crossed)
        return candidates.fill_up([*mutants, *crossings], self.population)
