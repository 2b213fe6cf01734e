"""NSGA-II (Deb et al. 2002, doi:10.1109/4235.996017): accuracy against parameters, the whole front in one search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from glorabench.search.algorithms import Generations, Proposals
from glorabench.search.candidates import TRIES, Candidates
from glorabench.search.space import Genome

if TYPE_CHECKING:
    from pymoo.core.population import Population


@dataclass(frozen=True)
class NSGA2(Generations):
    """The parents are the paths that no other path, or few others, beats in both accuracy and parameters.

    As many paths survive as a generation has. Sorting and crowding are pymoo's. Crossover and mutation are those of
    `Candidates`: pymoo's may propose a path twice, and fail to find paths within tight limits.

    Args:
        rate: probability that a child of two parents draws a gene again.
    """

    rate: float

    def propose(self, candidates: Candidates) -> Proposals:
        """Generation after generation."""
        from pymoo.core.population import Population  # a second to import, for this search only
        from pymoo.core.problem import Problem
        from pymoo.operators.survival.rank_and_crowding import RankAndCrowding

        space, survival, survivors = candidates.space, RankAndCrowding(), Population()
        problem = Problem(n_var=len(space.options), n_obj=2)
        for generation in range(self.generations + 1):
            batch = self._children(survivors, candidates) if generation else self._first(candidates)
            if not batch:  # every path has been evaluated
                return
            scores = yield batch
            costs = [[1 - score, space.size(genome)] for genome, score in zip(batch, scores, strict=True)]
            pool = Population.merge(survivors, Population.new(X=np.array(batch), F=np.array(costs, float)))
            survivors = survival.do(problem, pool, n_survive=self.population, random_state=candidates.rng)

    def _first(self, candidates: Candidates) -> list[Genome]:
        """The smallest and the largest path within the limits, then random ones, which are far from both."""
        return candidates.fill_up(map(candidates.admit, candidates.space.extremes), self.population)

    def _children(self, survivors: Population, candidates: Candidates) -> list[Genome]:
        """As many children as survivors. Each parent is the better of two: of lower rank, then less crowded."""
        genomes, rank, crowding = (np.asarray(survivors.get(key)) for key in ("X", "rank", "crowding"))
        better = np.lexsort((-crowding, rank)).argsort()

        def parent() -> Genome:
            first, second = candidates.rng.integers(len(genomes), size=2)
            winner = first if better[first] <= better[second] else second
            return tuple(genomes[winner].tolist())

        def child() -> NDArray[np.int64]:
            return candidates.recombine(parent(), parent(), self.rate)

        children = candidates.children(child, self.population, TRIES * self.population)
        return candidates.fill_up(children, self.population)
