"""Pareto: accuracy against what it costs; which configurations no other beats in both, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glorabench.errors import BadInput
from glorabench.outcomes import bits
from glorabench.points import AXES, Floats, Point, reduced
from glorabench.record import Record

_CHUNK = 50  # bootstrap samples whose examples are drawn together


def front(top1: Floats, cost: Floats) -> NDArray[np.bool_]:
    """Which points no other beats: none is as good in both and better in one. Equal points stand or fall together.

    Args:
        top1, cost: ... x points.
    """
    order = np.lexsort((-top1, cost), axis=-1)  # the cheapest first, of equal cost the best
    best, paid = np.take_along_axis(top1, order, -1), np.take_along_axis(cost, order, -1)
    new = np.concatenate([np.ones_like(paid[..., :1], bool), paid[..., 1:] != paid[..., :-1]], axis=-1)
    first = np.maximum.accumulate(np.where(new, np.arange(paid.shape[-1]), 0), axis=-1)  # of those of equal cost
    beaten = best < np.take_along_axis(best, first, -1)
    below = np.take_along_axis(np.maximum.accumulate(best, axis=-1), np.maximum(first - 1, 0), -1)  # of lower cost
    beaten |= (first > 0) & (below >= best)
    on = np.empty_like(beaten)
    np.put_along_axis(on, order, ~beaten, -1)
    return on


@dataclass(frozen=True)
class Standing:
    """Whether a point is on the front of an axis, and the share of bootstrap samples in which it is."""

    on: bool
    probability: float


Standings = Mapping[str, Sequence[Standing | None]]  # by axis, then in the order of the points


def standings(made: Sequence[Point], repeats: int = 2000) -> Standings:
    """For each axis, each point's standing; None of what is not judged or does not know this cost.

    A bootstrap with two levels: seeds, then the examples of each task; configurations share the draws, those of seeds
    where they have the same seeds. A cost that varies over seeds follows them. Its generator is fixed.

    Raises:
        BadInput: outcomes are not kept, or not of the same examples.
    """
    judged = [i for i, point in enumerate(made) if point.judged]
    found: dict[str, list[Standing | None]] = {axis.name: [None] * len(made) for axis in AXES}
    if not judged:
        return found
    generator = np.random.default_rng(0)
    sets = sorted({made[i].draws for i in judged})
    seeds = {draws: generator.integers(len(draws), size=(repeats, len(draws))) for draws in sets}
    drawn = dict(zip(judged, _accuracies([made[i] for i in judged], seeds, generator), strict=True))
    for axis in AXES:
        costs = {i: made[i].costs(axis.of, axis.reduce) for i in judged}
        known = {i: values for i, values in costs.items() if values is not None}
        if not known:
            continue
        top1 = np.array([made[i].top1.value for i in known]).round(9)
        now = front(top1, np.array([reduced(values, axis.reduce) for values in known.values()]))
        paid = [reduced(values[seeds[made[i].draws]], axis.reduce) for i, values in known.items()]
        often = front(np.stack([drawn[i] for i in known], -1), np.stack(paid, -1)).mean(axis=0)
        for index, i in enumerate(known):
            found[axis.name][i] = Standing(bool(now[index]), float(often[index]))
    return found


def _accuracies(made: Sequence[Point], seeds: Mapping[Any, NDArray[np.int_]], generator: Any) -> list[Floats]:
    """Mean over tasks of each point in each bootstrap sample."""
    weights = {draws: (rows[..., None] == np.arange(len(draws))).sum(axis=1) for draws, rows in seeds.items()}
    sums = [np.zeros(len(next(iter(seeds.values())))) for _ in made]
    tasks = list(made[0].runs)
    for task in tasks:
        each = [_outcomes(point.runs[task].values()) for point in made]
        if len({matrix.shape[1] for matrix in each}) > 1:
            raise BadInput(f"the runs of {task} were not scored on the same examples")
        rows, ends, n = np.concatenate(each), np.cumsum([len(matrix) for matrix in each]), each[0].shape[1]
        own = [(weights[point.draws], n * len(point.draws)) for point in made]
        for start in range(0, len(sums[0]), _CHUNK):
            part = slice(start, min(start + _CHUNK, len(sums[0])))
            picks = [np.bincount(generator.integers(n, size=n), minlength=n) for _ in range(part.stop - start)]
            hits = np.split(np.asarray(picks, np.float32) @ rows.T, ends[:-1], axis=1)  # whole numbers: exact
            for index, (weight, count) in enumerate(own):
                sums[index][part] += (weight[part] * hits[index]).sum(axis=1) / count
    return [np.round(total / len(tasks), 9) for total in sums]


def _outcomes(runs: Iterable[Record]) -> NDArray[np.float32]:
    """Seeds x examples."""
    runs = list(runs)
    if lacking := [r.run_id for r in runs if not r.outcomes]:
        raise BadInput(f"{lacking[0]} does not keep which examples were right: repeat its run")
    found = [bits(r.outcomes or "") for r in runs]
    if len(set(map(len, found))) > 1:
        raise BadInput(f"the runs of {runs[0].names['task']} were not scored on the same examples")
    return np.array(found, np.float32)
