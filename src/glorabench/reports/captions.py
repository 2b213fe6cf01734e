"""Captions of tables and numbers as text: titles, notes on marks, values with their intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from glorabench.analysis import statistics
from glorabench.analysis.cells import Group
from glorabench.analysis.labels import INHERITED, inherits
from glorabench.config.schema import SEARCH_VERSION
from glorabench.records.compatibility import MARK, any_contaminated
from glorabench.records.metrics import PERCENT, Metric
from glorabench.records.record import Record

DETAILS = "What each word means: docs/tables.md."  # the end of a caption
FAKE = "FAKE DATA"  # in the title of every table of such records
_FIT = {"train": "train alone", "trainval": "train and val"}
_CONTAMINATED_NOTE = (
    f" {MARK}: something was chosen by its score on the test split, so this {{}} is too good by an unknown amount; no "
    "such row is called best or compared."
)
_FAKE_NOTE = f" {FAKE}: they were made by `glorabench data fake`, so no number here says anything about a method."


def count_text(number: int, singular: str, plural: str = "") -> str:
    """A number and what is counted: `1 win`, `2 wins`."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def title_of(records: Sequence[Record], whole: bool) -> str:
    """The title of a table, with the whole selection or only the split that scores it."""
    names, report_on = records[0].names, records[0].config["selection"]["report_on"]
    trained_on = records[0].config["selection"].get("trained_on")
    brief = f"scored on {report_on}" + (f", trained on {trained_on}" if trained_on else "")
    selection = selection_text(records[0]) if whole else brief
    warning = f"{FAKE}: " if any_fake(records) else ""
    return f"{warning}{len(records)} runs of {names['backbone']} on suite {names['data']}, {selection}"


def selection_text(r: Record) -> str:
    """The split that scores a record, the split that trained it, and the rule that picks the epoch."""
    selection = r.config["selection"]
    elsewhere = f" of {selection['trained_on']}" if selection.get("trained_on") else ""
    return f"scored on {selection['report_on']}, trained on {selection['fit_on']}{elsewhere}, {selection['rule']}"


def notes_of_marks(group: Group) -> str:
    """Notes that explain the marks of rows, and a warning where images are fake."""
    notes = _inheritance_note(group.records) + _search_note(group.records)
    if any_contaminated(group.records):
        notes += _CONTAMINATED_NOTE.format(label_of(group.metric))
    if any_fake(group.records):
        notes += _FAKE_NOTE
    return notes


def _inheritance_note(records: Iterable[Record]) -> str:
    """The splits that trained the supernets of inherited winners, and those of the other rows."""
    configs = [r.config for r in records if inherits(r.config)]
    if not configs:
        return ""
    supernets = sorted({_FIT[config["search"].get("fit_on") or "train"] for config in configs})
    other_splits = sorted({_FIT[config["selection"]["fit_on"]] for config in configs})
    ending = (
        ", as other rows are" if supernets == other_splits else f"; other rows train on {' or '.join(other_splits)}"
    )
    return f" {INHERITED}: the weights are those of the supernet, trained on {' or '.join(supernets)}{ending}."


def _search_note(records: Iterable[Record]) -> str:
    """The versions of the search behind the rows; empty where all are of the present version."""
    versions = {r.config["search"].get("version", 1) for r in records if r.config.get("search")}
    if not versions - {SEARCH_VERSION}:
        return ""
    names = " and ".join(f"search.version={version}" for version in sorted(versions, key=str))
    return f" Searched paths are of {names}; the search of this release is version {SEARCH_VERSION} (docs/search.md)."


def any_fake(records: Iterable[Record]) -> bool:
    """True when any record was made on images of `glorabench data fake`."""
    return any(r.provenance.get("data", {}).get("fake") for r in records)


def label_of(metric: Metric | None) -> str:
    """The label of a metric in a text; `score` where no run has a metric."""
    return metric.label if metric else "score"


def unit_text(metric: Metric | None) -> str:
    """The label and unit of a metric: `top-1 in percent`."""
    if metric is None or not metric.unit:
        return label_of(metric)
    return f"{metric.label} in {'percent' if metric.unit == PERCENT else metric.unit}"


def heading_of(metric: Metric | None) -> str:
    """The head of a column with a metric."""
    return metric.heading if metric else "score"


def estimate_text(estimate: statistics.Estimate, metric: Metric) -> tuple[str, str]:
    """Value and interval as two texts in the unit of the metric; the interval is cut at its possible values."""
    value = metric.text(estimate.value)
    if math.isnan(estimate.low):
        return value, ""
    low, high = metric.within(estimate.low), metric.within(estimate.high)
    return value, f"{metric.text(low, metric.digits - 1)} to {metric.text(high, metric.digits - 1)}"


def interval_text(estimate: statistics.Estimate, metric: Metric) -> str:
    """The interval of a difference in the unit of the metric; empty for one seed."""
    if math.isnan(estimate.low):
        return ""
    return f"{metric.difference_text(estimate.low)} to {metric.difference_text(estimate.high)}"
