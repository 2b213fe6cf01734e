"""Tables: pure functions of records. A cell is a mean over seeds with its interval and n; ties are said."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean, median
from typing import Any

from glorabench import crossed, outcomes, sizes, stats, ties
from glorabench.cells import MARK, Cell, cells, contaminated, draw_of
from glorabench.labels import INHERITED, inherits
from glorabench.record import Record
from glorabench.search import VERSION
from glorabench.sizes import SIZES, Sizes

COLUMNS = ("task", "method", "top-1 %", "95 % interval", "n", "verdict", *SIZES, "step ms", "latency", "merge")
FAKE = "FAKE IMAGES"  # said of every table of such records
NOTES = (
    f"{sizes.NOTE}; latency: measured, median of batch 64, after merging where there is something to merge, as a "
    "ratio to the plain backbone, which what merges is again; "
    "merge: largest change of a logit by merging, and predictions that flipped if any, or no where it is impossible; "
    "interval: Student's t over seeds, of a mean over tasks a bootstrap over seeds stratified by task; "
    f"verdict: {ties.WORDS}; differences: {crossed.WORDS}."
)
_FIT = {"train": "train alone", "trainval": "train and val"}
_NOTE_OF_MARK = (
    f" {MARK}: something was chosen by its accuracy on the test split itself, so this top-1 is too high by an unknown "
    "amount; no such row is called best or compared."
)
_NOTE_OF_FAKE = f" {FAKE}: they were drawn by `glorabench data fake`, so no number here says anything about a method."


def notes(records: Iterable[Record]) -> str:
    """What the columns say, and the mark where a row has it."""
    return NOTES + marks(records)


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
    if not found - {VERSION}:
        return ""
    said = " and ".join(f"search.version={version}" for version in sorted(found, key=str))
    return f" Searched paths are of {said}; the search of this release is version {VERSION} (docs/search.md)."


def fake(records: Iterable[Record]) -> bool:
    """True when one of the records was made on the pictures of `glorabench data fake`."""
    return any(r.provenance.get("data", {}).get("fake") for r in records)


def rows(records: Iterable[Record]) -> list[tuple[str, ...]]:
    """One row a cell, as text, a failed or missing value saying why; then the means over tasks."""
    made = cells(records)
    verdicts = ties.by_task(made)
    return [*(_row(cell, verdicts.get((cell.task, cell.method))) for cell in made), *_averages(made)]


def _averages(made: Sequence[Cell]) -> Iterator[tuple[str, ...]]:
    """Mean over tasks of every method that has a result on all of them, over the common seeds."""
    tasks = {cell.task for cell in made}
    own: dict[str, dict[str, Cell]] = {}
    for c in made:
        own.setdefault(c.method, {})[c.task] = c
    verdicts = ties.on_mean(list(own.values()), {task: (1 / len(tasks), "top1") for task in tasks})
    for method, cell in own.items():
        found = [{draw_of(r): r.metrics["top1"] for r in c.done} for c in cell.values()]
        seeds = sorted(set.intersection(*map(set, found)))
        if len(tasks) > 1 and cell.keys() == tasks and seeds:
            top1 = stats.stratified([[by[seed] for seed in seeds] for by in found], [1 / len(tasks)] * len(tasks))
            kind = verdicts[method].kind if method in verdicts else ""
            yield _blank((f"mean of {len(tasks)} tasks", method, *estimate_text(top1), str(top1.n), kind))


def _blank(head: tuple[str, ...]) -> tuple[str, ...]:
    return head + ("",) * (len(COLUMNS) - len(head))


def estimate_text(top1: stats.Estimate) -> tuple[str, str]:
    """Value and interval in percent, as two texts."""
    low, high = max(0.0, top1.low), min(1.0, top1.high)  # no accuracy lies outside
    return f"{100 * top1.value:.2f}", "" if math.isnan(top1.low) else f"{100 * low:.1f} to {100 * high:.1f}"


def _row(cell: Cell, verdict: ties.Verdict | None) -> tuple[str, ...]:
    failed = [r for r in cell.records if r.status != "done"]
    if not cell.done:
        reason = (failed[0].error or {}).get("kind", "unknown")
        return _blank((cell.task, cell.method, f"failed: {reason}", "", "0"))
    return (
        cell.task,
        cell.method,
        *estimate_text(cell.top1),
        str(cell.top1.n) + (f" ({len(failed)} failed)" if failed else ""),
        verdict.kind if verdict else "",
        *Sizes.of(cell.done).texts,
        _step(cell.done),
        _latency(cell.done),
        _merge([r.merge for r in cell.done if r.merge]),
    )


def _merge(certificates: Sequence[dict[str, Any]]) -> str:
    if not all(c["mergeable"] for c in certificates):
        return "no"
    flipped = sum(c.get("flipped") or 0 for c in certificates)
    largest = max((c.get("max_abs_diff") or 0.0 for c in certificates), default=0.0)
    return f"{largest:.0e}" + (f", {flipped} flipped" if flipped else "")


def _latency(records: Iterable[Record]) -> str:
    found = [ratio for r in records if (ratio := latency_ratio(r)) is not None]
    return f"{median(found):.2f}" if found else "-"


def _step(records: Sequence[Record]) -> str:
    """Median milliseconds of a training step; empty where a record does not say it."""
    times = [r.cost["step_ms"] for r in records if r.cost.get("step_ms") is not None]
    return f"{median(times):.1f}" if times else ""


def latency_ratio(r: Record) -> float | None:
    """Latency of what would be deployed (merged, where it can be) relative to the plain backbone, batch 64; None where
    it was not measured (latency_rounds=0)."""
    timing = (r.cost.get("latency_ms") or {}).get("batch_64")
    return timing.get("merged", timing["unmerged"])["median"] / timing["plain"]["median"] if timing else None


def findings(records: Iterable[Record]) -> list[str]:
    """For each task, how every other method compares with the best one, from paired outcomes; and for each search, what
    its winner got where it was chosen and elsewhere.

    What was chosen on the test split is never the best, and is not compared; nor is what stands alone on its task.
    """
    grouped: dict[str, list[Cell]] = {}
    for cell in cells(records):
        if cell.done:
            grouped.setdefault(cell.task, []).append(cell)
    said = []
    for task, group in grouped.items():
        clean = [cell for cell in group if not cell.contaminated]
        by_name, verdicts = {cell.method: cell for cell in clean}, ties.on_task(group)
        best = ties.best_of({cell.method: cell.top1.value for cell in clean})
        told = [_called_best(best)]
        others = [(cell, verdicts[cell.method]) for cell in clean if cell.method not in best]
        told += [_against(by_name[verdict.against], cell, verdict) for cell, verdict in others]
        told += [f"{cell.method} saw the test split: not compared" for cell in group if cell.contaminated]
        said += [f"{task}: {'; '.join(told)}"] * (len(group) > 1)
        said += [f"{task}: {_winner(cell)}" for cell in group if any(r.search for r in cell.done)]
    return said


def _called_best(names: Sequence[str]) -> str:
    if len(names) > 1:
        return f"best are {' and '.join(names)}, with equal means"
    return f"best is {names[0]}" if names else "none is called best"


def _winner(cell: Cell) -> str:
    """The winner's curse of a search: means over seeds."""
    found = [r.search for r in cell.done if r.search]
    apart = [f["held_out"] for f in found if f["held_out"] is not None]
    held = f", {100 * fmean(apart):.1f} % on images held out" if apart else ""
    chosen = f"{100 * fmean(f['score'] for f in found):.1f} % on the images that chose its path"
    return f"{cell.method}: {chosen}{held}, {100 * cell.top1.value:.1f} % on test"


def _against(best: Cell, other: Cell, verdict: ties.Verdict) -> str:
    if verdict.p is None:
        return f"{other.method} {verdict.how}"
    first, second = ({draw_of(r): outcomes.packed_of(r) for r in cell.done} for cell in (best, other))
    draws = sorted(first.keys() & second.keys())
    d = outcomes.paired(*(tuple(side[draw] for draw in draws) for side in (first, second))).estimate
    span = f"{100 * d.value:.2f} points (95 % interval {100 * d.low:.2f} to {100 * d.high:.2f}, {verdict.said})"
    return f"{other.method} is tied with it: {span}" if verdict.kind == "tied" else f"{other.method} is {span} behind"
