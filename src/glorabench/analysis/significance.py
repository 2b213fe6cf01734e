"""Tell the best result of a task, or of a mean over tasks, and which others are not told apart from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from glorabench.analysis import statistics
from glorabench.analysis.cells import Cell
from glorabench.records import record
from glorabench.records.compatibility import draw_of
from glorabench.records.record import Packed, Record, bits

LEVEL = 0.05
SIGNS = {"best": "*", "tied": "=", "behind": "", "untested": "?"}
VERDICTS = (
    "best: the highest mean that the test split did not choose; tied: not told apart from it by a paired test over the "
    "examples of the seeds that both have (Student's t, seeds and examples both drawn at random; McNemar's exact "
    "test for one seed), p at least 0.05 after Holm's correction for all comparisons with the best, which the same "
    "results chose; where outcomes or seeds in common are missing, by overlapping intervals, or untested"
)


@dataclass(frozen=True)
class Verdict:
    """How one method stands to the best one.

    Args:
        kind: `best`, `tied`, `behind` or `untested`.
        p: of the paired test, corrected; None where there was none.
        how: what stood in for the test, or why there was none.
        against: the best one that it was held against; of several with equal means the one that it is least told apart
            from.
    """

    kind: str
    p: float | None = None
    how: str = ""
    against: str = ""

    @property
    def sign(self) -> str:
        """What marks it in a table: `*`, `=`, `?` or nothing."""
        return SIGNS[self.kind]

    @property
    def said(self) -> str:
        """p, where there is one, as text."""
        return "" if self.p is None else "p < 0.001" if self.p < 0.001 else f"p {self.p:.2g}"


def on_task(rivals: Sequence[Cell], metric: str = "top1") -> dict[str, Verdict]:
    """The verdict on every method that has a result on a task; none for what the test split chose, or for one alone.

    Args:
        rivals: cells of one task, of different methods.
        metric: of the records.
    """
    return _judged([{"": cell} for cell in rivals], {"": (1.0, metric)})


def by_task(made: Sequence[Cell]) -> dict[tuple[str, str], Verdict]:
    """The verdicts by task and method."""
    tasks: dict[str, list[Cell]] = {}
    for cell in made:
        tasks.setdefault(cell.task, []).append(cell)
    found = {task: on_task(rivals) for task, rivals in tasks.items()}
    return {(task, method): verdict for task, each in found.items() for method, verdict in each.items()}


def on_mean(rivals: Sequence[Mapping[str, Cell]], weights: Mapping[str, tuple[float, str]]) -> dict[str, Verdict]:
    """The same of a weighted mean over tasks.

    Args:
        rivals: the cells of each method, by column.
        weights: the weight and the metric of each column of the mean; a method that lacks one has no verdict.
    """
    return _judged([r for r in rivals if weights.keys() <= r.keys()], weights)


def _judged(rivals: Sequence[Mapping[str, Cell]], weights: Mapping[str, tuple[float, str]]) -> dict[str, Verdict]:
    runs = {_name(r): {at: _runs(r[at], weights[at][1]) for at in weights} for r in rivals if not _seen(r, weights)}
    common = {name: set.intersection(*(set(found) for found in by.values())) for name, by in runs.items()}
    scores = {name: _score(runs[name], weights, draws) for name, draws in common.items() if draws}
    if len(scores) < 2:
        return {}
    bests = best_of({name: score.value for name, score in scores.items()})
    found = {name: _least_apart(name, bests, runs, weights) for name in scores if name not in bests}
    tested = [name for name, (_, p) in found.items() if isinstance(p, float)]
    corrected = dict(zip(tested, statistics.holm([float(found[name][1]) for name in tested]), strict=True))
    verdicts = {name: Verdict("best") for name in bests}
    for name, (best, why) in found.items():
        if (p := corrected.get(name)) is not None:
            verdicts[name] = Verdict("tied" if p >= LEVEL else "behind", p, against=best)
        else:
            verdicts[name] = _overlap(scores[best], scores[name], str(why), best)
    return verdicts


def best_of(values: Mapping[str, float]) -> list[str]:
    """The names with the highest value, in the order of the alphabet: means that are equal are both the best, in
    whatever order their rows stand."""
    rounded = {name: round(value, 12) for name, value in values.items()}  # equal but for what floating point leaves
    return sorted(name for name, value in rounded.items() if value == max(rounded.values()))


def _least_apart(
    name: str, bests: Sequence[str], runs: Mapping[str, _Runs], weights: Mapping[str, tuple[float, str]]
) -> tuple[str, float | str]:
    """Of the best ones that from which `name` is told apart least, and p or why there is none."""
    found = [(best, _test(runs[best], runs[name], weights)) for best in bests]
    return max(found, key=lambda pair: pair[1] if isinstance(pair[1], float) else -1.0)


def _name(rival: Mapping[str, Cell]) -> str:
    return next(iter(rival.values())).method


def _seen(rival: Mapping[str, Cell], weights: Mapping[str, tuple[float, str]]) -> bool:
    return any(rival[at].contaminated for at in weights)


def _runs(cell: Cell, metric: str) -> dict[tuple[int, int], Record]:
    return {draw_of(r): r for r in cell.done if metric in r.metrics}


_Runs = Mapping[str, Mapping[tuple[int, int], Record]]


def _score(by: _Runs, weights: Mapping[str, tuple[float, str]], draws: set[tuple[int, int]]) -> statistics.Estimate:
    """Mean over its own seeds, those that all its columns have."""
    table = [[by[at][draw].metrics[weights[at][1]] for draw in sorted(draws)] for at in weights]
    return (
        statistics.mean(table[0]) if len(table) == 1 else statistics.stratified(table, [w for w, _ in weights.values()])
    )


def _test(first: _Runs, second: _Runs, weights: Mapping[str, tuple[float, str]]) -> float | str:
    """p of the paired test, or why there is none."""
    found: list[tuple[float, statistics.Paired]] = []
    for at, (weight, metric) in weights.items():
        draws = sorted(first[at].keys() & second[at].keys())
        if not draws:
            return "shares no seed with it"
        one, two = (tuple(record.packed_of(side[at][draw], metric) for draw in draws) for side in (first, second))
        if "" in (known := record.example_counts(one, two)):
            return "has no outcomes in common with it"
        if len(known) > 1:
            return "was not scored on the same examples with every seed"
        found.append((weight, paired_outcomes(one, two)))
    whole = found[0][1] if len(found) == 1 else statistics.weighted(found)
    if whole.value < -1e-12:  # seeds that the other has not made it the best
        return "is ahead of it on the seeds that both have"
    return whole.exact


def _overlap(best: statistics.Estimate, other: statistics.Estimate, why: str, name: str) -> Verdict:
    """By intervals over seeds: what overlaps is tied."""
    if math.isnan(best.low) or math.isnan(other.low):
        return Verdict("untested", how=why, against=name)
    apart = other.high < best.low
    said = "behind, as their intervals do not overlap" if apart else "tied, as their intervals overlap"
    return Verdict("behind" if apart else "tied", how=f"{why}: {said}", against=name)


@lru_cache(1 << 16)
def paired_outcomes(first: Packed, second: Packed) -> statistics.Paired:
    """The difference of both sides; `record.example_counts` of them must be one number."""
    return statistics.paired(*(np.stack([bits(text) for text in side]) for side in (first, second)))
