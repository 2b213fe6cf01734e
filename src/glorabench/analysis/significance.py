"""Find the best result of a task or of a mean over tasks, and the results that tie with it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from glorabench.analysis import statistics
from glorabench.analysis.cells import Cell, Draw, Group
from glorabench.records.metrics import Metric, equal_scale, metric_named, names_of_best
from glorabench.records.outcomes import OutcomeTexts, example_counts, unpack
from glorabench.records.record import Record

LEVEL = 0.05
SIGNS = {"best": "*", "tied": "=", "behind": "", "untested": "?"}


@dataclass(frozen=True)
class Verdict:
    """How one method compares with the best one.

    Args:
        kind: `best`, `tied`, `behind` or `untested`.
        p: p of the paired test, corrected for several tests; None where there was no test.
        reason: what replaced the test, or why there was none.
        best: the best method that it was compared with. Of several with equal means it is the one with the largest p.
    """

    kind: str
    p: float | None = None
    reason: str = ""
    best: str = ""

    @property
    def sign(self) -> str:
        """The mark in a table: `*`, `=`, `?` or nothing."""
        return SIGNS[self.kind]

    @property
    def p_text(self) -> str:
        """p as text; empty where there is none."""
        if self.p is None:
            return ""
        return "p < 0.001" if self.p < 0.001 else f"p {self.p:.2g}"


@dataclass(frozen=True)
class Term:
    """The weight of a column in a mean, and its metric; None is the metric that decides on its task."""

    weight: float = 1.0
    metric: str | None = None


def verdicts_on_task(rivals: Mapping[str, Cell], metric: str | None = None) -> dict[str, Verdict]:
    """The verdict on every method that has a result on a task.

    There is none for a method that chose on the test split, nor where only one method has a result.


    Args:
        rivals: the cells of one task, by the name of the method.
        metric: a metric of the records; None is the one that decides.
    """
    return _verdicts({name: {"": cell} for name, cell in rivals.items()}, {"": Term(metric=metric)})


def verdicts_by_task(group: Group) -> dict[tuple[str, str], Verdict]:
    """The verdicts of a group, by task and method."""
    verdicts = {}
    for task, rivals in group.by_task.items():
        for method, verdict in verdicts_on_task({cell.method: cell for cell in rivals}).items():
            verdicts[task, method] = verdict
    return verdicts


def verdicts_on_mean(rivals: Mapping[str, Mapping[str, Cell]], terms: Mapping[str, Term]) -> dict[str, Verdict]:
    """The verdict on every method for a weighted mean over tasks.

    Args:
        rivals: the cells of each method, by column; a method that lacks one has no verdict.
        terms: the terms of the mean, by column.
    """
    return _verdicts({name: cells for name, cells in rivals.items() if terms.keys() <= cells.keys()}, terms)


_RunsByColumn = Mapping[str, Mapping[Draw, Record]]  # by column, then by seed


def _verdicts(rivals: Mapping[str, Mapping[str, Cell]], terms: Mapping[str, Term]) -> dict[str, Verdict]:
    runs: dict[str, _RunsByColumn] = {}
    scores: dict[str, statistics.Estimate] = {}
    metrics: list[Metric] = []
    for name, cells in rivals.items():
        if any(cells[column].contaminated for column in terms):
            continue
        of_method = {column: cells[column].by_draw(term.metric or "") for column, term in terms.items()}
        common = set.intersection(*(set(by_draw) for by_draw in of_method.values()))
        if common:
            runs[name], scores[name] = of_method, _mean(of_method, terms, sorted(common))
            metrics += [_metric(next(iter(of_method[column].values())), term) for column, term in terms.items()]
    if len(scores) < 2 or not equal_scale(metrics):
        return {}
    return _against_best(runs, scores, terms, metrics[0])


def _metric(r: Record, term: Term) -> Metric:
    metric = metric_named(r.measures, term.metric) if term.metric else None
    return metric or r.metric


def _against_best(
    runs: Mapping[str, _RunsByColumn],
    scores: Mapping[str, statistics.Estimate],
    terms: Mapping[str, Term],
    metric: Metric,
) -> dict[str, Verdict]:
    bests = names_of_best({name: score.value for name, score in scores.items()}, metric)
    results = {name: _nearest_best(name, bests, runs, terms, metric) for name in scores if name not in bests}
    p_values = {name: p for name, (_, p) in results.items() if isinstance(p, float)}
    corrected_values = dict(zip(p_values, statistics.holm(list(p_values.values())), strict=True))
    verdicts = {name: Verdict("best") for name in bests}
    for name, (best, reason) in results.items():
        if name in corrected_values:
            p = corrected_values[name]
            verdicts[name] = Verdict("tied" if p >= LEVEL else "behind", p, best=best)
        else:
            verdicts[name] = _by_intervals(scores[best], scores[name], metric, str(reason), best)
    return verdicts


def _nearest_best(
    name: str, bests: Sequence[str], runs: Mapping[str, _RunsByColumn], terms: Mapping[str, Term], metric: Metric
) -> tuple[str, float | str]:
    """The best method with the largest p against `name`, and p or why there is none."""
    results = [(best, _test(runs[best], runs[name], terms, metric)) for best in bests]
    return max(results, key=lambda pair: pair[1] if isinstance(pair[1], float) else -1.0)


def _mean(runs: _RunsByColumn, terms: Mapping[str, Term], draws: Sequence[Draw]) -> statistics.Estimate:
    """The weighted mean over columns, for the given seeds."""
    table = []
    for column, term in terms.items():
        of_column = [runs[column][draw] for draw in draws]
        table.append([r.metrics[term.metric] if term.metric else r.score for r in of_column])
    if len(table) == 1:
        return statistics.mean(table[0])
    return statistics.stratified_mean(table, [term.weight for term in terms.values()])


def _test(best: _RunsByColumn, other: _RunsByColumn, terms: Mapping[str, Term], metric: Metric) -> float | str:
    """p of the paired test, or why there is none."""
    differences: list[tuple[float, statistics.PairedDifference]] = []
    for column, term in terms.items():
        draws = sorted(best[column].keys() & other[column].keys())
        if not draws:
            return "shares no seed with it"
        name = term.metric or best[column][draws[0]].metric.name
        first, second = (tuple(runs[column][draw].outcomes_of(name) for draw in draws) for runs in (best, other))
        counts = example_counts(first, second)
        if "" in counts:
            return "has no outcomes in common with it"
        if len(counts) > 1:
            return "was not scored on the same examples with every seed"
        differences.append((term.weight, paired_outcomes(first, second)))
    mean_difference = differences[0][1] if len(differences) == 1 else statistics.weighted_difference(differences)
    if metric.sign * mean_difference.value < -1e-12:  # it is the best only because of seeds that the other lacks
        return "is ahead of it on the seeds that both have"
    return mean_difference.exact_p


def _by_intervals(
    best: statistics.Estimate, other: statistics.Estimate, metric: Metric, reason: str, name: str
) -> Verdict:
    """Decide by intervals over seeds: methods whose intervals overlap are tied."""
    if math.isnan(best.low) or math.isnan(other.low):
        return Verdict("untested", reason=reason, best=name)
    is_behind = other.high < best.low if metric.higher_is_better else other.low > best.high
    words = "behind, as their intervals do not overlap" if is_behind else "not separated, as their intervals overlap"
    return Verdict("behind" if is_behind else "tied", reason=f"{reason}: {words}", best=name)


@lru_cache(1 << 16)
def paired_outcomes(first: OutcomeTexts, second: OutcomeTexts) -> statistics.PairedDifference:
    """The difference of two sides; `outcomes.example_counts` must give one number for them."""
    return statistics.difference_of_tables(*(np.stack([unpack(text) for text in side]) for side in (first, second)))
