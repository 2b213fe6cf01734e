"""Evolution against a plain re-telling of the official loop (Arnav0400/ViT-Slim@0fed674, GLoRA/evolution_utils.py)."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import fmean, stdev

import numpy as np
import pytest
from torch import nn

from glorabench.config.compose import compose
from glorabench.config.instantiate import ALGORITHM, make
from glorabench.search.algorithms import Evolution
from glorabench.search.candidates import Candidates
from glorabench.search.space import Genome, PathSpace
from test_search import GLORA, Layer

SEEDS = range(14)
LAYERS = 12
OPTIONS = [len(sizes) for sizes in GLORA] * LAYERS
SETTINGS = compose(["method=glora", "method.path=supernet", "search=evolution", "search.algorithm.generations=8"])[
    "search"
]["algorithm"]  # of the official 20 generations those in which parents still differ
Score = Callable[[Genome], float]


@dataclass
class Told:
    """What a search did.

    Args:
        scores: of all candidates that were evaluated, in their order.
        mutants, crossed: how many real children each generation had.
        best: the parents of each generation.
    """

    scores: list[float] = field(default_factory=list)
    mutants: list[int] = field(default_factory=list)
    crossed: list[int] = field(default_factory=list)
    best: list[list[Genome]] = field(default_factory=list)


def scorer(seed: int) -> Score:
    """A sum over genes and some pairs of them, coarse enough for ties."""
    rng = np.random.default_rng(seed)
    worth, pairs = rng.normal(size=(len(OPTIONS), 4)), rng.normal(size=(len(OPTIONS), 4, 4))

    def score(genome: Genome) -> float:
        alone = sum(worth[gene, choice] for gene, choice in enumerate(genome))
        both = sum(pairs[i, genome[i], genome[i + 1]] for i in range(len(genome) - 1))
        return round(float(alone + both) / 60, 2)

    return score


class Official:
    """The loop of the official code: names and order of its steps are kept, layers are flat genes."""

    def __init__(self, score: Score, seed: int) -> None:
        self.score, self.random, self.told = score, random.Random(seed), Told()
        self.visited: dict[Genome, float] = {}
        self.keep_top_k: list[Genome] = []
        self.candidates: list[Genome] = []

    def is_legal(self, cand: Genome) -> bool:
        if cand in self.visited:
            return False
        self.visited[cand] = self.score(cand)
        self.told.scores.append(self.visited[cand])
        return True

    def update_top_k(self, k: int) -> None:
        t = self.keep_top_k
        t += self.candidates
        t.sort(key=lambda cand: self.visited[cand], reverse=True)
        self.keep_top_k = t[:k]
        self.told.best.append(self.keep_top_k[:])

    def get_random(self, num: int) -> None:
        while len(self.candidates) < num:
            cand = tuple(self.random.randrange(options) for options in OPTIONS)
            if self.is_legal(cand):
                self.candidates.append(cand)

    def get_mutation(self, mutation_num: int, m_prob: float) -> list[Genome]:
        res: list[Genome] = []
        max_iters = mutation_num * 10
        while len(res) < mutation_num and max_iters > 0:
            max_iters -= 1
            cand = self.random.choice(self.keep_top_k)
            final = tuple(
                self.random.randrange(options) if self.random.random() < m_prob else gene
                for gene, options in zip(cand, OPTIONS, strict=True)
            )
            if self.is_legal(final):
                res.append(final)
        self.told.mutants.append(len(res))
        return res

    def get_crossover(self, crossover_num: int) -> list[Genome]:
        res: list[Genome] = []
        max_iters = crossover_num * 10
        while len(res) < crossover_num and max_iters > 0:
            max_iters -= 1
            cand_1, cand_2 = self.random.choice(self.keep_top_k), self.random.choice(self.keep_top_k)
            final = tuple(self.random.choice(pair) for pair in zip(cand_1, cand_2, strict=True))
            if self.is_legal(final):
                res.append(final)
        self.told.crossed.append(len(res))
        return res

    def search(self, settings: Evolution) -> Told:
        self.get_random(settings.population)
        for _ in range(settings.generations):
            self.update_top_k(settings.parents)
            mutation = self.get_mutation(settings.mutants, settings.rate)
            self.candidates = mutation + self.get_crossover(settings.crossed)
            self.get_random(settings.population)
        return self.told


class Counted(Candidates):
    """Candidates that say how many children were real."""

    made: list[int]

    def children(self, draw, count, tries):
        found = super().children(draw, count, tries)
        self.made = [*getattr(self, "made", []), len(found)]
        return found


def ours(settings: Evolution, score: Score, seed: int) -> Told:
    space = PathSpace(nn.Sequential(*(Layer(GLORA) for _ in range(LAYERS))))
    candidates, told, scored = Counted(space, *space.limits, np.random.default_rng(seed)), Told(), {}
    asking = settings.propose(candidates)
    batch = next(asking)
    with suppress(StopIteration):
        while True:
            scored |= {genome: score(genome) for genome in batch}
            told.scores += [scored[genome] for genome in batch]
            told.best.append(settings.best(scored))
            batch = asking.send([scored[genome] for genome in batch])
    told.mutants, told.crossed = candidates.made[::2], candidates.made[1::2]
    return told


@pytest.fixture(scope="module")
def searches() -> tuple[list[Told], list[Told]]:
    """The official searches, and ours, on the same scorers."""
    settings = make(SETTINGS, ALGORITHM)
    return (
        [Official(scorer(seed), seed).search(settings) for seed in SEEDS],
        [ours(settings, scorer(seed), seed) for seed in SEEDS],
    )


FIGURES = {
    "mean of all candidates": lambda told: fmean(told.scores),
    "best found": lambda told: max(told.scores),
    "mean of the last generation": lambda told: fmean(told.scores[-50:]),
    "real crossings": lambda told: fmean(told.crossed),
    "real mutants": lambda told: fmean(told.mutants),
    "worst parent at the end": lambda told: sorted(told.scores[:-50], reverse=True)[9],
}


@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
def test_the_search_is_that_of_the_official_code_in_distribution(searches, figure):
    """Paired by scorer, within four standard errors."""
    gaps = [figure(mine) - figure(theirs) for theirs, mine in zip(*searches, strict=True)]
    error = stdev(gaps) / len(gaps) ** 0.5
    assert abs(fmean(gaps)) <= 4 * error + 1e-9


def test_crossings_are_children_and_not_random_paths(searches):
    """Two parents that are drawn once are one and the same in a tenth of the cases: 2.5 of 25 had no child."""
    assert fmean(fmean(told.crossed) for told in searches[1]) > 24.5
    assert all(len(told.scores) == 450 for each in searches for told in each)


def test_parents_are_ranked_as_the_official_code_ranks_them():
    """Many ties: of equally good ones the earlier."""
    settings, rng = make(SETTINGS, ALGORITHM), random.Random(0)
    for _ in range(20):
        official, scored = Official(lambda genome: float(sum(genome) % 5), 0), {}
        for _ in range(4):
            fresh = {tuple(rng.randrange(options) for options in OPTIONS) for _ in range(50)} - scored.keys()
            official.candidates = list(fresh)
            for genome in official.candidates:
                official.is_legal(genome)
                scored[genome] = official.visited[genome]
            official.update_top_k(settings.parents)
            assert settings.best(scored) == official.keep_top_k
