"""Samplers: which path a training step of the supernet takes, as a function of (seed, step)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from glorabench.search.space import Genome, PathSpace

Sampler = Callable[[PathSpace, int, int], Genome]


def uniform(space: PathSpace, seed: int, step: int) -> Genome:
    """Each choice is drawn independently and uniformly, as in the official GLoRA code."""
    return space.draw(seed, step)


def fair(space: PathSpace, seed: int, step: int) -> Genome:
    """A gene with n choices takes each of them once in every n steps, in a random order.

    This is the strict fairness of FairNAS (Chu et al., arXiv 1907.01845, section 3.3) with one path per step. A step
    costs as much as with `uniform`, and no choice is trained less often than another.
    """
    picks = np.empty(len(space.options), np.int64)
    for count in np.unique(space.options):
        genes = np.flatnonzero(space.options == count)
        rounds = np.random.default_rng([seed, step // count, count])
        picks[genes] = rounds.permuted(np.tile(np.arange(count), (len(genes), 1)), axis=1)[:, step % count]
    return tuple(picks.tolist())


def sandwich(space: PathSpace, seed: int, step: int) -> Genome:
    """The largest path, two random paths and the smallest path take turns.

    This is the sandwich rule (Yu and Huang, arXiv 1903.05134, section 3.2) without distillation, spread over four steps
    instead of added up in one. A step costs as much as with `uniform`.
    """
    smallest, largest = space.extremes
    return {0: largest, 3: smallest}.get(step % 4) or space.draw(seed, step)


SAMPLERS: Mapping[str, Sampler] = {"uniform": uniform, "fair": fair, "sandwich": sandwich}
