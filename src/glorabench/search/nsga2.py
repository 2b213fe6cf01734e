"""NSGA-II (Deb et al. 2002, doi:10.1109/4235.996017): accuracy against parameters, the whole front in one search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from glorabench.search.algorithms import Algorithm, Asking
from glorabench.search.candidates import Candidates
from glorabench.search.space import Genome

if TYPE_CHECKING:
    from pymoo.core.population import Population


@dataclass(frozen=True)
class NSGA2(Algorithm):
    """Children of the paths that no other one beats in both accuracy and parameters, or that few do.

    Sorting and crowding are pymoo's. The variation is the candidates' own: pymoo's may ask for a path twice, and finds
    none within tight limits.

    Args:
        population: candidates of a generation, and survivors of one.
        generations: after the first, random one.
        rate: at which a child of two parents draws a gene again.
    """

    population: int
    generations: int
    rate: float

    @property
    def evaluations(self) -> int:
        """The population in every generation and at the start."""
        return self.population * (self.generations + 1)

    def asking(self, candidates: Candidates) -> Asking:
        """Generation after generation."""
        from pymoo.core.population import Population  # a second to import, for this search only
        from pymoo.core.problem import Problem
        from pymoo.operators.survival.rank_and_crowding import RankAndCrowding

        problem, survival, alive = Problem(n_var=len(candidates.options), n_obj=2), RankAndCrowding(), Population()
        for generation in range(self.generations + 1):
            batch = self._children(alive, candidates) if generation else self._first(candidates)
            if not batch:  # every path has been evaluated
                return
            costs = [[1 - score, candidates.size(g)] for g, score in zip(batch, (yield batch), strict=True)]
            both = Population.merge(alive, Population.new(X=np.array(batch), F=np.array(costs, float)))
            alive = survival.do(problem, both, n_survive=self.population, random_state=candidates.rng)

    def _first(self, candidates: Candidates) -> list[Genome]:
        """The smallest and the largest path within the limits, which random ones are far from, then random ones."""
        ends = (candidates.admit(genome) for genome in candidates.extremes)
        found = [end for end in ends if end is not None][: self.population]
        return found + candidates.random(self.population - len(found))

    def _children(self, alive: Population, candidates: Candidates) -> list[Genome]:
        """As many as survivors; each parent is the better of two: of the lower rank, then the less crowded."""
        genomes, rank, crowding = (np.asarray(alive.get(key)) for key in ("X", "rank", "crowding"))
        better = np.lexsort((-crowding, rank)).argsort()

        def parent() -> Genome:
            return tuple(genomes[min(candidates.rng.integers(len(genomes), size=2), key=better.__getitem__)].tolist())

        made = [candidates.child(parent(), parent(), self.rate) for _ in range(self.population)]
        found = [child for child in made if child is not None]
        return found + candidates.random(self.population - len(found))
