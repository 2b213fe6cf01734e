"""The table of what each method learns and forgets."""

from __future__ import annotations

from glorabench.analysis import statistics
from glorabench.analysis.cells import Group
from glorabench.analysis.forgetting import BASE, Forgetting, forgetting_of_methods
from glorabench.errors import BadInput
from glorabench.records.metrics import Metric
from glorabench.reports.captions import DETAILS, estimate_text, interval_text, notes_of_marks, title_of
from glorabench.reports.rendering import Part

_INTERVAL = "95 % interval"
_NOTES = (
    "{}: on the tasks; upstream: of the adapted trunk under the head that it was pretrained with; forgotten: what it "
    f"lost there. verdict: against full fine-tuning, by paired differences. {DETAILS}"
)


def forgetting_part(group: Group) -> Part:
    """The table of a group of records.

    Raises:
        BadInput: no configuration has measured forgetting in all its runs.
    """
    rows, omissions = forgetting_of_methods(group)
    if not rows:
        raise BadInput("no configuration says in all its runs what it forgot upstream: runs of backbone=vit_mini do")
    first = rows[0]
    metric, upstream_metric = first.point.metric, first.upstream_metric
    upstream = first.point.records[0].upstream or {}
    score_before = upstream_metric.with_unit(upstream["before"])
    examples = f"{upstream['n']:,} {upstream.get('examples', 'images')}"
    lines = [f"{upstream['task']}: {score_before} of {examples} before fine-tuning"]
    lines += [against_full(row) for row in rows if row.against_base]
    lines += [f"left out: {line}" for line in omissions]
    head = ("method", metric.heading, _INTERVAL, "n")
    head += (upstream_metric.heading, _INTERVAL, "forgotten", _INTERVAL, "verdict")
    notes = _NOTES.format(metric.label) + notes_of_marks(group)
    return Part(title_of(group.records, True), head, [_row(row) for row in rows], lines, notes)


def _row(row: Forgetting) -> tuple[str, ...]:
    metric, upstream_metric = row.point.metric, row.upstream_metric
    gain = (*estimate_text(row.learned, metric), str(row.learned.n))
    forgotten = (upstream_metric.difference_text(row.forgotten.value), interval_text(row.forgotten, upstream_metric))
    return (row.point.method, *gain, *estimate_text(row.after, upstream_metric), *forgotten, row.verdict)


def against_full(row: Forgetting) -> str:
    """A line with both differences from full fine-tuning and their intervals."""
    gain, forgotten = row.against_base or (row.learned, row.forgotten)
    texts = [_difference(gain, row.point.metric), _difference(forgotten, row.upstream_metric)]
    return f"{row.point.method} against {BASE}: learned {texts[0]}, forgotten {texts[1]}: {row.verdict}"


def _difference(estimate: statistics.Estimate, metric: Metric) -> str:
    return f"{metric.difference_text(estimate.value)} ({interval_text(estimate, metric) or 'one seed'})"
