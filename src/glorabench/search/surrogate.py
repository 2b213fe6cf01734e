"""Evolution that evaluates the most promising of many children: a ridge regression on genes ranks them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glorabench.search.algorithms import Evolution
from glorabench.search.candidates import Candidates
from glorabench.search.space import Genome

_PENALTIES = np.logspace(-2, 4, 13)  # of the regression; leave-one-out errors choose


@dataclass(frozen=True)
class Surrogate(Evolution):
    """Evolution; of `pool` times as many children as it needs, those that are predicted to be best are evaluated.

    The prediction is linear in the choice of every gene, fitted to all scores so far.

    Args:
        pool: generations of children to choose one from.
        unranked: share of a generation that is taken from the children at random.
    """

    pool: int
    unranked: float

    def children(self, scored: dict[Genome, float], candidates: Candidates) -> list[Genome]:
        """The next generation; of children predicted to be equally good the earlier one comes first."""
        from sklearn.linear_model import RidgeCV  # half a second to import, for this search only

        if len(scored) < 2:  # nothing to learn from
            return super().children(scored, candidates)
        made = [child for _ in range(self.pool) for child in super(Surrogate, self).children(scored, candidates)]
        made = [made[i] for i in candidates.rng.permutation(len(made))]
        free = min(round(self.unranked * self.population), len(made))
        model = RidgeCV(alphas=_PENALTIES).fit(_one_hot([*scored], candidates), [*scored.values()])
        foreseen = model.predict(_one_hot(made[free:], candidates)) if made[free:] else np.zeros(0)
        # rounded: the last bits depend on the number of threads, the order must not
        ranked = [made[free + i] for i in np.argsort(-foreseen.round(9), kind="stable")]
        candidates.release(ranked[self.population - free :])
        return made[:free] + ranked[: self.population - free]


def _one_hot(genomes: Sequence[Genome], candidates: Candidates) -> NDArray[np.float64]:
    """Genomes x options of all genes."""
    starts = np.cumsum(candidates.options) - candidates.options
    table = np.zeros((len(genomes), candidates.options.sum()))
    table[np.arange(len(genomes))[:, None], np.array(genomes) + starts] = 1
    return table
