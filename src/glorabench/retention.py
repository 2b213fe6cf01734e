"""The `forgetting` command: what each method learns, what it forgets of the upstream task, and both against full."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from glorabench import stats
from glorabench.cells import comparable
from glorabench.comparison.compare import points as in_points
from glorabench.errors import BadInput
from glorabench.forms import Part
from glorabench.gathered import gathered
from glorabench.output import put
from glorabench.points import Point, points
from glorabench.record import Record
from glorabench.render import title_of
from glorabench.table import estimate_text, marks

BASE = "full"  # the method that the others are held against
_SPAN = "95 % interval"
HEAD = ("method", "top-1 %", _SPAN, "n", "upstream %", _SPAN, "forgotten", _SPAN, "verdict")
NOTES = (
    "top-1: on the tasks; upstream: of the fine-tuned trunk on held-out images of the task that it was pretrained on, "
    "under the head that it was pretrained with; forgotten: points of it lost by fine-tuning. Means over tasks, "
    "Student's t over the n seeds that every task has. verdict: against full fine-tuning, from the differences of the "
    "same task and seed: learns or forgets less or more where the interval of the difference excludes zero, else alike."
)


@dataclass(frozen=True)
class Kept:
    """A configuration and what it forgot, accuracies in [0, 1].

    Args:
        point: on all tasks, each run with `upstream`.
        learned, after, forgotten: top-1, upstream accuracy after fine-tuning, and what that lost.
        less: learned and forgotten minus those of full fine-tuning; None of that itself, or without it.
    """

    point: Point
    learned: stats.Estimate
    after: stats.Estimate
    forgotten: stats.Estimate
    less: tuple[stats.Estimate, stats.Estimate] | None

    @property
    def verdict(self) -> str:
        """`learns less, forgets less` and so on, against full fine-tuning."""
        if self.less and math.isnan(self.less[0].low):
            return "one seed"
        return "" if self.less is None else ", ".join(map(_verb, ("learn", "forget"), self.less))

    @property
    def told(self) -> str:
        """Both differences with their intervals."""
        spans = [f"{in_points(e.value)} ({_span(e)})" for e in self.less or ()]
        return f"{self.point.method} against {BASE}: learned {spans[0]}, forgotten {spans[1]}: {self.verdict}"


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


def _over(p: Point, of: Callable[[Record], float], base: Point | None = None) -> stats.Estimate:
    """Mean over tasks of a value, or of its difference to that of `base`, over seeds."""
    draws = [draw for draw in p.draws if base is None or draw in base.draws]
    each = [
        fmean(of(runs[d]) - (of(base.runs[task][d]) if base else 0.0) for task, runs in p.runs.items()) for d in draws
    ]
    return stats.mean([round(value, 12) for value in each])


def _top1(r: Record) -> float:
    return float(r.metrics["top1"])


def _after(r: Record) -> float:
    return float((r.upstream or {})["after"])


def _forgot(r: Record) -> float:
    return float((r.upstream or {})["before"]) - _after(r)


def _verb(verb: str, less: stats.Estimate) -> str:
    return f"{verb}s " + (("less" if less.value < 0 else "more") if less.excludes_zero else "alike")


def _span(e: stats.Estimate) -> str:
    return "one seed" if math.isnan(e.low) else f"{in_points(e.low)} to {in_points(e.high)}"


def part(records: Sequence[Record]) -> Part:
    """The table of comparable records.

    Raises:
        BadInput: no configuration says what it forgot.
    """
    made, left = kept(records)
    if not made:
        raise BadInput("no configuration says in all its runs what it forgot upstream: runs of backbone=vit_mini do")
    body = []
    for k in made:
        forgotten = (in_points(k.forgotten.value), "" if math.isnan(k.forgotten.low) else _span(k.forgotten))
        tops = (*estimate_text(k.learned), str(k.learned.n), *estimate_text(k.after))
        body.append((k.point.method, *tops, *forgotten, k.verdict))
    before = made[0].point.records[0].upstream or {}
    told = [f"{before['task']}: {100 * before['before']:.2f} % of {before['n']:,} images before fine-tuning"]
    told += [k.told for k in made if k.less] + [f"left out: {line}" for line in left]
    return Part(title_of(records, True), HEAD, body, told, NOTES + marks(records))


def main(suite: str, results: Path | None, form: str, into: str | None) -> int:
    """The `forgetting` command: the table of a suite's records, shown as `form` or written `into` a file.

    Raises:
        BadInput: there are no records, none that says it, or the file has no block for the suite.
    """
    groups = comparable(gathered(suite, results)[1])
    put([part(group) for group in groups], form, into, f"forgetting:{suite}")
    return 0
