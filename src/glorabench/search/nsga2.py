"""NSGA-II (Deb et al. 2002, doi:10.1109/4235.996017): accuracy against parameters, the whole front in one search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from glorabench.search.algorithms import Asking, Generations
from glorabench.search.candidates import TRIES, Candidates
from glorabench.search.space import Genome

if TYPE_CHECKING:
    from pymoo.core.population import Population


@dataclass(frozen=True)
class NSGA2(Generations):
    """Children of the paths that no other one beats in both accuracy and parameters, or that few do.

    As many survive as are in a generation. Sorting and crowding are pymoo's. The variation is the candidates' own:
    pymoo's may ask for a path twice, and finds none within tight limits.

    Args:
        rate: at which a child of two parents draws a gene again.
    """

    rate: float

    def asking(self, candidates: Candidates) -> Asking:
        """Generation after generation."""
        from pymoo.core.population import Population  # a second to import, for this search only
        from pymoo.core.problem import Problem
        from pymoo.operators.survival.rank_and_crowding import RankAndCrowding

        space, survival, alive = candidates.space, RankAndCrowding(), Population()
        problem = Problem(n_var=len(space.options), n_obj=2)
        for generation in range(self.generations + 1):
            batch = self._children(alive, candidates) if generation else self._first(candidates)
            if not batch:  # every path has been evaluated
                return
            costs = [[1 - score, space.size(g)] for g, score in zip(batch, (yield batch), strict=True)]
            both = Population.merge(alive, Population.new(X=np.array(batch), F=np.array(costs, float)))
            alive = survival.do(problem, both, n_survive=self.population, random_state=candidates.rng)

    def _first(self, candidates: Candidates) -> list[Genome]:
        """The smallest and the largest path within the limits, which random ones are far from, then random ones."""
        return candidates.filled(map(candidates.admit, candidates.space.extremes), self.population)

    def _children(self, alive: Population, candidates: Candidates) -> list[Genome]:
        """As many as survivors; each parent is the better of two: of the lower rank, then the less crowded."""
        genomes, rank, crowding = (np.asarray(alive.get(key)) for key in ("X", "rank", "crowding"))
        better = np.lexsort((-crowding, rank)).argsort()

        def parent() -> Genome:
            return tuple(genomes[min(candidates.rng.integers(len(genomes), size=2), key=better.__getitem__)].tolist())

        def child() -> NDArray[np.int64]:
            return candidates.recombined(parent(), parent(), self.rate)

        made = candidates.children(child, self.population, TRIES * self.population)
        return candidates.filled(made, self.population)
