"""What each method learns and what it forgets of the upstream task, compared with full fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

from glorabench.analysis import statistics
from glorabench.analysis.cells import Group
from glorabench.analysis.costs import Point, points
from glorabench.records.metrics import Metric, equal_scale
from glorabench.records.record import Record

BASE = "full"  # the method that the others are compared with


@dataclass(frozen=True)
class Forgetting:
    """What a configuration learned and what it forgot.

    Args:
        point: the configuration on all tasks; each of its runs has `upstream`.
        learned: the metric that decides, mean over tasks.
        after: the upstream metric after fine-tuning.
        forgotten: by how much fine-tuning made it worse; above zero is a loss, whatever its direction.
        against_base: how much more was learned (in the direction of the metric) and how much more was forgotten than
            by full fine-tuning. None for full fine-tuning itself, and where it has no runs to compare with.
    """

    point: Point
    learned: statistics.Estimate
    after: statistics.Estimate
    forgotten: statistics.Estimate
    against_base: tuple[statistics.Estimate, statistics.Estimate] | None

    @property
    def upstream_metric(self) -> Metric:
        """The metric of the upstream task."""
        return Metric(**(self.point.records[0].upstream or {})["metric"])

    @property
    def verdict(self) -> str:
        """`learns less, forgets less` and so on, against full fine-tuning."""
        if self.against_base is None:
            return ""
        if math.isnan(self.against_base[0].low):
            return "one seed"
        return ", ".join(map(_verb_text, ("learn", "forget"), self.against_base))


def forgetting_of_methods(group: Group) -> tuple[list[Forgetting], list[str]]:
    """One result for each configuration whose runs all measured forgetting; and lines that say why others have none."""
    all_points = points(group)
    complete = [p for p in all_points if not p.reason and all(r.upstream for r in p.records)]
    complete = [p for p in complete if equal_scale(_upstream_metric(r) for r in p.records)]
    incomplete = [p for p in all_points if p not in complete]
    omissions = [f"{p.method}: {p.reason or 'not every run says what it forgot'}" for p in incomplete]
    bases = [p for p in complete if p.records[0].names["method"] == BASE and not p.contaminated]
    base = bases[0] if len(bases) == 1 else None
    result = []
    for p in complete:
        differences = None
        if base is not None and p is not base and set(p.draws) & set(base.draws):
            differences = (_mean(p, _signed_score, base), _mean(p, _forgotten, base))
        result.append(Forgetting(p, p.score, _mean(p, _upstream_after), _mean(p, _forgotten), differences))
    return result, omissions


def _mean(p: Point, value_of: Callable[[Record], float], base: Point | None = None) -> statistics.Estimate:
    """Mean over tasks and seeds of a value, or of its difference from the value of `base`."""
    values = []
    for draw in p.draws:
        if base is not None and draw not in base.draws:
            continue
        by_task = []
        for task, runs in p.runs.items():
            base_value = value_of(base.runs[task][draw]) if base else 0.0
            by_task.append(value_of(runs[draw]) - base_value)
        values.append(round(fmean(by_task), 12))
    return statistics.mean(values)


def _signed_score(r: Record) -> float:
    """The score with its sign set so that higher is better."""
    return r.metric.sign * r.score


def _upstream_metric(r: Record) -> Metric:
    return Metric(**(r.upstream or {})["metric"])


def _upstream_after(r: Record) -> float:
    return float((r.upstream or {})["after"])


def _forgotten(r: Record) -> float:
    return _upstream_metric(r).sign * (float((r.upstream or {})["before"]) - _upstream_after(r))


def _verb_text(verb: str, difference: statistics.Estimate) -> str:
    if not difference.excludes_zero:
        return f"{verb}s alike"
    return f"{verb}s less" if difference.value < 0 else f"{verb}s more"
