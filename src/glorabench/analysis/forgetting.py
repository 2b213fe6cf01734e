"""What each method learns and forgets of the upstream task, against full fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from glorabench.analysis import statistics
from glorabench.analysis.costs import Point, points
from glorabench.records.record import Record

BASE = "full"  # the method that the others are held against


@dataclass(frozen=True)
class Kept:
    """A configuration and what it forgot, accuracies in [0, 1].

    Args:
        point: on all tasks, each run with `upstream`.
        learned, after, forgotten: top-1, upstream accuracy after fine-tuning, and what that lost.
        less: learned and forgotten minus those of full fine-tuning; None of that itself, or without it.
    """

    point: Point
    learned: statistics.Estimate
    after: statistics.Estimate
    forgotten: statistics.Estimate
    less: tuple[statistics.Estimate, statistics.Estimate] | None

    @property
    def verdict(self) -> str:
        """`learns less, forgets less` and so on, against full fine-tuning."""
        if self.less and math.isnan(self.less[0].low):
            return "one seed"
        return "" if self.less is None else ", ".join(map(_verb, ("learn", "forget"), self.less))


def kept(records: Sequence[Record]) -> tuple[list[Kept], list[str]]:
    """One for each configuration whose runs all say what they forgot; and the names of the others, why.

    Args:
        records: comparable ones.
    """
    made = points(records)
    known = [p for p in made if not p.reason and all(r.upstream for r in p.records)]
    left = [f"{p.method}: {p.reason or 'not every run says what it forgot'}" for p in made if p not in known]
    base = [p for p in known if p.records[0].names["method"] == BASE and not p.contaminated]
    found = []
    for p in known:
        less = None
        if len(base) == 1 and p is not base[0] and set(p.draws) & set(base[0].draws):
            less = (_over(p, _top1, base[0]), _over(p, _forgot, base[0]))
        found.append(Kept(p, p.top1, _over(p, _after), _over(p, _forgot), less))
    return found, left


def _over(p: Point, of: Callable[[Record], float], base: Point | None = None) -> statistics.Estimate:
    """Mean over tasks of a value, or of its difference to that of `base`, over seeds."""
    draws = [draw for draw in p.draws if base is None or draw in base.draws]
    each = [
        fmean(of(runs[d]) - (of(base.runs[task][d]) if base else 0.0) for task, runs in p.runs.items()) for d in draws
    ]
    return statistics.mean([round(value, 12) for value in each])


def _top1(r: Record) -> float:
    return float(r.metrics["top1"])


def _after(r: Record) -> float:
    return float((r.upstream or {})["after"])


def _forgot(r: Record) -> float:
    return float((r.upstream or {})["before"]) - _after(r)


def _verb(verb: str, less: statistics.Estimate) -> str:
    return f"{verb}s " + (("less" if less.value < 0 else "more") if less.excludes_zero else "alike")
