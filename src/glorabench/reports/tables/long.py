"""The long table: a row for each task and method, with sizes, costs and findings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from glorabench.analysis import significance, statistics
from glorabench.analysis.cells import Cell, cells
from glorabench.records import record
from glorabench.records.compatibility import draw_of
from glorabench.records.record import Record
from glorabench.reports.captions import estimate_text, marks

SIZES = ("params", "head", "stored kB")

COLUMNS = ("task", "method", "top-1 %", "95 % interval", "n", "verdict", *SIZES, "step ms", "latency", "merge")

SIZES_NOTE = (
    "params: trained parameters without the head, mean over runs (supernet in brackets); head: those of the head; "
    "stored kB: what is kept for a task, in 1,000 bytes"
)

NOTES = (
    f"{SIZES_NOTE}; latency: measured, median of batch 64, after merging where there is something to merge, as a "
    "ratio to the plain backbone, which what merges is again; "
    "merge: largest change of a logit by merging, and predictions that flipped if any, or no where it is impossible; "
    "interval: Student's t over seeds, of a mean over tasks a bootstrap over seeds stratified by task; "
    f"verdict: {significance.VERDICTS}; differences: {statistics.PAIRED_TEST}."
)

EXACT = ("params", "head", "stored_bytes", "supernet")


def notes(records: Iterable[Record]) -> str:
    """What the columns say, and the mark where a row has it."""
    return NOTES + marks(records)


def rows(records: Iterable[Record]) -> list[tuple[str, ...]]:
    """One row a cell, as text, a failed or missing value saying why; then the means over tasks."""
    made = cells(records)
    verdicts = significance.by_task(made)
    return [*(_row(cell, verdicts.get((cell.task, cell.method))) for cell in made), *_averages(made)]


def _averages(made: Sequence[Cell]) -> Iterator[tuple[str, ...]]:
    """Mean over tasks of every method that has a result on all of them, over the common seeds."""
    tasks = {cell.task for cell in made}
    own: dict[str, dict[str, Cell]] = {}
    for c in made:
        own.setdefault(c.method, {})[c.task] = c
    verdicts = significance.on_mean(list(own.values()), {task: (1 / len(tasks), "top1") for task in tasks})
    for method, cell in own.items():
        found = [{draw_of(r): r.metrics["top1"] for r in c.done} for c in cell.values()]
        seeds = sorted(set.intersection(*map(set, found)))
        if len(tasks) > 1 and cell.keys() == tasks and seeds:
            top1 = statistics.stratified([[by[seed] for seed in seeds] for by in found], [1 / len(tasks)] * len(tasks))
            kind = verdicts[method].kind if method in verdicts else ""
            yield _blank((f"mean of {len(tasks)} tasks", method, *estimate_text(top1), str(top1.n), kind))


def _blank(head: tuple[str, ...]) -> tuple[str, ...]:
    return head + ("",) * (len(COLUMNS) - len(head))


def _row(cell: Cell, verdict: significance.Verdict | None) -> tuple[str, ...]:
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
        by_name, verdicts = {cell.method: cell for cell in clean}, significance.on_task(group)
        best = significance.best_of({cell.method: cell.top1.value for cell in clean})
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


def _against(best: Cell, other: Cell, verdict: significance.Verdict) -> str:
    if verdict.p is None:
        return f"{other.method} {verdict.how}"
    first, second = ({draw_of(r): record.packed_of(r) for r in cell.done} for cell in (best, other))
    draws = sorted(first.keys() & second.keys())
    d = significance.paired_outcomes(*(tuple(side[draw] for draw in draws) for side in (first, second))).estimate
    span = f"{100 * d.value:.2f} points (95 % interval {100 * d.low:.2f} to {100 * d.high:.2f}, {verdict.said})"
    return f"{other.method} is tied with it: {span}" if verdict.kind == "tied" else f"{other.method} is {span} behind"


@dataclass(frozen=True)
class Sizes:
    """Means over tasks, of means over runs: trained parameters without the head, of the head, bytes to keep for a task;
    then parameters of the supernet, where there is one."""

    params: float
    head: float
    stored_bytes: float
    supernet: int | None

    @classmethod
    def of(cls, done: Sequence[Record]) -> Sizes:
        """Of runs that have a result."""
        tasks: dict[str, list[Record]] = {}
        for r in done:
            tasks.setdefault(r.names["task"], []).append(r)

        def mean(name: str) -> float:
            return fmean(fmean(r.params[name] or 0 for r in own) for own in tasks.values())

        return cls(mean("method"), mean("head"), mean("stored_bytes"), done[0].params["supernet"])

    @property
    def texts(self) -> tuple[str, str, str]:
        """For people, as the columns SIZES."""
        supernet = f" [{self.supernet:,}]" if self.supernet else ""
        return f"{self.params:,.0f}{supernet}", f"{self.head:,.0f}", f"{self.stored_bytes / 1000:,.0f}"

    @property
    def exact(self) -> tuple[str, ...]:
        """For programs, as the columns EXACT."""
        numbers = (self.params, self.head, self.stored_bytes, self.supernet)
        return tuple("" if number is None else f"{number:.10g}" for number in numbers)
