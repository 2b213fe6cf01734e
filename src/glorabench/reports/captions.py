"""Captions and numbers as text: titles, marks of rows, accuracies, percentage points."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from glorabench.analysis import statistics
from glorabench.analysis.cells import INHERITED, inherits
from glorabench.config.schema import SEARCH_VERSION
from glorabench.records.compatibility import MARK, contaminated
from glorabench.records.record import Record

FAKE = "FAKE IMAGES"  # said of every table of such records
_FIT = {"train": "train alone", "trainval": "train and val"}
_NOTE_OF_MARK = (
    f" {MARK}: something was chosen by its accuracy on the test split itself, so this top-1 is too high by an unknown "
    "amount; no such row is called best or compared."
)
_NOTE_OF_FAKE = f" {FAKE}: they were drawn by `glorabench data fake`, so no number here says anything about a method."


def percentage_points(value: float) -> str:
    """A difference of accuracies in percentage points."""
    return f"{round(100 * value, 2) + 0:.2f}"  # + 0: no minus before a zero


def count_text(number: int, one: str, many: str = "") -> str:
    """A number and what is counted: `1 win`, `2 wins`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def title_of(records: Sequence[Record], whole: bool) -> str:
    """What a table is of, with the whole of the selection or the split that it is scored on."""
    names, report_on = records[0].names, records[0].config["selection"]["report_on"]
    said = selection_text(records[0]) if whole else f"scored on {report_on}"
    warning = f"{FAKE}: " if fake(records) else ""
    return f"{warning}{len(records)} runs of {names['backbone']} on suite {names['data']}, {said}"


def selection_text(r: Record) -> str:
    """The split that a record is scored on, what it was trained on, and which epoch counts."""
    selection = r.config["selection"]
    return f"scored on {selection['report_on']}, trained on {selection['fit_on']}, {selection['rule']}"


def marks(records: Iterable[Record]) -> str:
    """What the marks of the rows say, and that the images are not real, where it is so."""
    records = list(records)
    return (
        _inherited(records) + _searches(records) + _NOTE_OF_MARK * contaminated(records) + _NOTE_OF_FAKE * fake(records)
    )


def _inherited(records: Iterable[Record]) -> str:
    """What the supernets of inherited winners were trained on, and what the other rows were."""
    found = [r.config for r in records if inherits(r.config)]
    splits = {(config["search"].get("fit_on") or "train", config["selection"]["fit_on"]) for config in found}
    own, others = (sorted({_FIT[split] for split in each}) for each in zip(*splits, strict=True)) if found else ([], [])
    if not found:
        return ""
    rest = "as other rows are" if own == others else f"other rows train on {' or '.join(others)}"
    between = ", " if own == others else "; "
    return f" {INHERITED}: the weights are those of the supernet, trained on {' or '.join(own)}{between}{rest}."


def _searches(records: Iterable[Record]) -> str:
    """Which earlier versions of the search have found the paths of rows; nothing where it is the present one."""
    found = {r.config["search"].get("version", 1) for r in records if r.config.get("search")}
    if not found - {SEARCH_VERSION}:
        return ""
    said = " and ".join(f"search.version={version}" for version in sorted(found, key=str))
    return f" Searched paths are of {said}; the search of this release is version {SEARCH_VERSION} (docs/search.md)."


def fake(records: Iterable[Record]) -> bool:
    """True when one of the records was made on the pictures of `glorabench data fake`."""
    return any(r.provenance.get("data", {}).get("fake") for r in records)


def estimate_text(top1: statistics.Estimate) -> tuple[str, str]:
    """Value and interval in percent, as two texts."""
    low, high = max(0.0, top1.low), min(1.0, top1.high)  # no accuracy lies outside
    return f"{100 * top1.value:.2f}", "" if math.isnan(top1.low) else f"{100 * low:.1f} to {100 * high:.1f}"
