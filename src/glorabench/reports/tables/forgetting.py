"""The table of what each method learns and forgets."""

from __future__ import annotations

import math
from collections.abc import Sequence

from glorabench.analysis import statistics
from glorabench.analysis.forgetting import BASE, Kept, kept
from glorabench.errors import BadInput
from glorabench.records.record import Record
from glorabench.reports.captions import estimate_text, marks, percentage_points, title_of
from glorabench.reports.rendering import Part

_SPAN = "95 % interval"
HEAD = ("method", "top-1 %", _SPAN, "n", "upstream %", _SPAN, "forgotten", _SPAN, "verdict")
NOTES = (
    "top-1: on the tasks; upstream: of the fine-tuned trunk on held-out images of the task that it was pretrained on, "
    "under the head that it was pretrained with; forgotten: points of it lost by fine-tuning. Means over tasks, "
    "Student's t over the n seeds that every task has. verdict: against full fine-tuning, from the differences of the "
    "same task and seed: learns or forgets less or more where the interval of the difference excludes zero, else alike."
)


def _span(e: statistics.Estimate) -> str:
    return "one seed" if math.isnan(e.low) else f"{percentage_points(e.low)} to {percentage_points(e.high)}"


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
        forgotten = (percentage_points(k.forgotten.value), "" if math.isnan(k.forgotten.low) else _span(k.forgotten))
        tops = (*estimate_text(k.learned), str(k.learned.n), *estimate_text(k.after))
        body.append((k.point.method, *tops, *forgotten, k.verdict))
    before = made[0].point.records[0].upstream or {}
    told = [f"{before['task']}: {100 * before['before']:.2f} % of {before['n']:,} images before fine-tuning"]
    told += [against_full(k) for k in made if k.less] + [f"left out: {line}" for line in left]
    return Part(title_of(records, True), HEAD, body, told, NOTES + marks(records))


def against_full(line: Kept) -> str:
    """Both differences with their intervals."""
    spans = [f"{percentage_points(e.value)} ({_span(e)})" for e in line.less or ()]
    return f"{line.point.method} against {BASE}: learned {spans[0]}, forgotten {spans[1]}: {line.verdict}"
