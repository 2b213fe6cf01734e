"""Captions and numbers as text: titles, marks of rows, values with their intervals."""

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

DETAILS = "What each word means: docs/tables.md."  # where a caption ends
FAKE = "FAKE IMAGES"  # said of every table of such records
_FIT = {"train": "train alone", "trainval": "train and val"}
_NOTE_OF_MARK = (
    f" {MARK}: something was chosen by its score on the test split, so this {{}} is too good by an unknown amount; no "
    "such row is called best or compared."
)
_NOTE_OF_FAKE = f" {FAKE}: they were drawn by `glorabench data fake`, so no number here says anything about a method."


def count_text(number: int, one: str, many: str = "") -> str:
    """A number and what is counted: `1 win`, `2 wins`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def title_of(records: Sequence[Record], whole: bool) -> str:
    """What a table is of, with the whole of the selection or the split that it is scored on."""
    names, report_on = records[0].names, records[0].config["selection"]["report_on"]
    selection = selection_text(records[0]) if whole else f"scored on {report_on}"
    warning = f"{FAKE}: " if fake(records) else ""
    return f"{warning}{len(records)} runs of {names['backbone']} on suite {names['data']}, {selection}"


def selection_text(r: Record) -> str:
    """The split that a record is scored on, what it was trained on, and which epoch counts."""
    selection = r.config["selection"]
    return f"scored on {selection['report_on']}, trained on {selection['fit_on']}, {selection['rule']}"


def marks(group: Group) -> str:
    """What the marks of the rows say, and that the images are not real, where it is so."""
    notes = _inherited(group.records) + _searches(group.records)
    if any_contaminated(group.records):
        notes += _NOTE_OF_MARK.format(label_of(group.metric))
    if fake(group.records):
        notes += _NOTE_OF_FAKE
    return notes


def _inherited(records: Iterable[Record]) -> str:
    """What the supernets of inherited winners were trained on, and what the other rows were."""
    configs = [r.config for r in records if inherits(r.config)]
    if not configs:
        return ""
    supernets = sorted({_FIT[config["search"].get("fit_on") or "train"] for config in configs})
    others = sorted({_FIT[config["selection"]["fit_on"]] for config in configs})
    rest = ", as other rows are" if supernets == others else f"; other rows train on {' or '.join(others)}"
    return f" {INHERITED}: the weights are those of the supernet, trained on {' or '.join(supernets)}{rest}."


def _searches(records: Iterable[Record]) -> str:
    """Which earlier versions of the search have found the paths of rows; nothing where it is the present one."""
    versions = {r.config["search"].get("version", 1) for r in records if r.config.get("search")}
    if not versions - {SEARCH_VERSION}:
        return ""
    names = " and ".join(f"search.version={version}" for version in sorted(versions, key=str))
    return f" Searched paths are of {names}; the search of this release is version {SEARCH_VERSION} (docs/search.md)."


def fake(records: Iterable[Record]) -> bool:
    """True when one of the records was made on the pictures of `glorabench data fake`."""
    return any(r.provenance.get("data", {}).get("fake") for r in records)


def label_of(metric: Metric | None) -> str:
    """What a metric is called in a text; `score` where no run has one."""
    return metric.label if metric else "score"


def unit_text(metric: Metric | None) -> str:
    """What a metric is called and counted in: `top-1 in percent`."""
    if metric is None or not metric.unit:
        return label_of(metric)
    return f"{metric.label} in {'percent' if metric.unit == PERCENT else metric.unit}"


def heading_of(metric: Metric | None) -> str:
    """What a column of a metric is called."""
    return metric.heading if metric else "score"


def estimate_text(estimate: statistics.Estimate, metric: Metric) -> tuple[str, str]:
    """Value and interval, as two texts in the unit of the metric; the interval ends where its values end."""
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
