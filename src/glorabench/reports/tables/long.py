"""The long table: a row for each task and method, with sizes, costs and findings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from glorabench.analysis import statistics
from glorabench.analysis.cells import Cell, Group
from glorabench.analysis.significance import Term, Verdict, paired_outcomes, verdicts_by_task, verdicts_on_mean
from glorabench.records.metrics import equal_scale, names_of_best
from glorabench.records.record import Record
from glorabench.reports.captions import DETAILS, estimate_text, heading_of, marks

SIZES = ("params", "head", "stored kB")
_NOTES = (
    "Mean over n seeds with its 95 % interval; verdict: how a method stands to the best of its task, by a paired test "
    f"over seeds and examples. {DETAILS}"
)
EXACT = ("params", "head", "stored_bytes", "supernet")


def long_columns(group: Group) -> tuple[str, ...]:
    """The heads of the columns; where tasks are scored by different metrics, one column names them."""
    metrics = {cell.metric for cell in group.cells if cell.done}
    scores = (heading_of(group.metric),) if len(metrics) <= 1 else ("metric", "score")
    return ("task", "method", *scores, "95 % interval", "n", "verdict", *SIZES, "step ms", "latency", "merge")


def long_notes(group: Group) -> str:
    """What the columns say, and the mark where a row has it."""
    return _NOTES + marks(group)


def long_rows(group: Group) -> list[tuple[str, ...]]:
    """One row a cell, as text, a failed or missing value saying why; then the means over tasks."""
    verdicts = verdicts_by_task(group)
    width = len(long_columns(group))
    named = "metric" in long_columns(group)
    body = [_row(cell, verdicts.get((cell.task, cell.method)), named) for cell in group.cells]
    return [row + ("",) * (width - len(row)) for row in (*body, *_means(group))]


def _means(group: Group) -> Iterator[tuple[str, ...]]:
    """Mean over tasks of every method that has a result on all of them, over the common seeds."""
    tasks = list(group.by_task)
    if len(tasks) < 2 or not equal_scale(cell.metric for cell in group.cells if cell.done):
        return
    rivals: dict[str, dict[str, Cell]] = {}
    for cell in group.cells:
        rivals.setdefault(cell.method, {})[cell.task] = cell
    verdicts = verdicts_on_mean(rivals, {task: Term(1 / len(tasks)) for task in tasks})
    named = ("",) if "metric" in long_columns(group) else ()
    for method, cells in rivals.items():
        scores = [{draw: r.score for draw, r in cell.by_draw().items()} for cell in cells.values()]
        seeds = sorted(set.intersection(*map(set, scores)))
        if len(cells) < len(tasks) or not seeds or group.metric is None:
            continue
        table = [[by_draw[seed] for seed in seeds] for by_draw in scores]
        mean = statistics.stratified(table, [1 / len(tasks)] * len(tasks))
        kind = verdicts[method].kind if method in verdicts else ""
        yield (f"mean of {len(tasks)} tasks", method, *named, *estimate_text(mean, group.metric), str(mean.n), kind)


def _row(cell: Cell, verdict: Verdict | None, named: bool) -> tuple[str, ...]:
    failed = [r for r in cell.records if r.status != "done"]
    if not cell.done:
        reason = (failed[0].error or {}).get("kind", "unknown")
        return (cell.task, cell.method, *([""] if named else []), f"failed: {reason}", "", "0")
    count = str(cell.score.n) + (f" ({len(failed)} failed)" if failed else "")
    return (
        cell.task,
        cell.method,
        *([cell.metric.heading] if named else []),
        *estimate_text(cell.score, cell.metric),
        count,
        verdict.kind if verdict else "",
        *Sizes.of(cell.done).texts,
        _step(cell.done),
        _latency(cell.done),
        _merge([r.merge for r in cell.done if r.merge]),
    )


def _merge(certificates: Sequence[dict[str, Any]]) -> str:
    if not all(certificate["mergeable"] for certificate in certificates):
        return "no"
    flipped = sum(certificate.get("flipped") or 0 for certificate in certificates)
    largest = max((certificate.get("max_abs_diff") or 0.0 for certificate in certificates), default=0.0)
    return f"{largest:.0e}, {flipped} flipped" if flipped else f"{largest:.0e}"


def _latency(records: Iterable[Record]) -> str:
    ratios = [ratio for r in records if (ratio := latency_ratio(r)) is not None]
    return f"{median(ratios):.2f}" if ratios else "-"


def _step(records: Sequence[Record]) -> str:
    """Median milliseconds of a training step; empty where a record does not say it."""
    times = [r.cost["step_ms"] for r in records if r.cost.get("step_ms") is not None]
    return f"{median(times):.1f}" if times else ""


def latency_ratio(r: Record) -> float | None:
    """Latency of what would be deployed (merged, where it can be) relative to the plain backbone, batch 64.

    None where it was not measured (latency_rounds=0).
    """
    timing = (r.cost.get("latency_ms") or {}).get("batch_64")
    return timing.get("merged", timing["unmerged"])["median"] / timing["plain"]["median"] if timing else None


def findings(group: Group) -> list[str]:
    """For each task, how every other method compares with the best one, from paired outcomes; and for each search, what
    its winner got where it was chosen and elsewhere.

    What was chosen on the test split is never the best, and is not compared; nor is what stands alone on its task.
    """
    lines = []
    verdicts = verdicts_by_task(group)
    for task, every in group.by_task.items():
        cells = [cell for cell in every if cell.done]
        if len(cells) > 1:
            lines.append(f"{task}: {'; '.join(_comparisons(cells, verdicts))}")
        lines += [f"{task}: {_winner(cell)}" for cell in cells if any(r.search for r in cell.done)]
        lines += [f"{task}: {words}" for words in _further_metrics(cells)]
    return lines


def _comparisons(cells: Sequence[Cell], verdicts: dict[tuple[str, str], Verdict]) -> Iterator[str]:
    """What stands beside the best of a task."""
    clean = {cell.method: cell for cell in cells if not cell.contaminated}
    best = names_of_best({name: cell.score.value for name, cell in clean.items()}, cells[0].metric) if clean else []
    if len(best) > 1:
        yield f"best are {' and '.join(best)}, with equal means"
    else:
        yield f"best is {best[0]}" if best else "none is called best"
    for name, cell in clean.items():
        if name not in best:
            verdict = verdicts[cell.task, name]
            yield _against(clean[verdict.against], cell, verdict)
    yield from (f"{cell.method} saw the test split: not compared" for cell in cells if cell.contaminated)


def _further_metrics(cells: Sequence[Cell]) -> Iterator[str]:
    """Means over runs of what else was measured on the test split; metrics of further test sets are called SET/NAME."""
    further = {m.name: m for cell in cells for m in cell.done[0].measures[1:] if "/" not in m.name}
    for name, metric in further.items():
        runs = {cell.method: [r.metrics[name] for r in cell.done if name in r.metrics] for cell in cells}
        values = (f"{metric.with_unit(fmean(values))} of {method}" for method, values in runs.items() if values)
        yield f"{metric.label} {', '.join(values)}"


def _winner(cell: Cell) -> str:
    """The winner's curse of a search: means over seeds."""
    searches = [r.search for r in cell.done if r.search]
    held_out = [search["held_out"] for search in searches if search["held_out"] is not None]
    examples = _examples(cell)

    def text(value: float) -> str:
        return cell.metric.with_unit(value, cell.metric.digits - 1)

    words = [f"{text(fmean(search['score'] for search in searches))} on the {examples} that chose its path"]
    words += [f"{text(fmean(held_out))} on {examples} held out"] if held_out else []
    return f"{cell.method}: {', '.join([*words, f'{text(cell.score.value)} on test'])}"


def _examples(cell: Cell) -> str:
    """What the examples of a task are called: images, where the record says so."""
    return cell.records[0].provenance.get("data", {}).get("examples", "images")


def _against(best: Cell, other: Cell, verdict: Verdict) -> str:
    if verdict.p is None:
        return f"{other.method} {verdict.how}"
    metric = best.metric
    sides = best.by_draw(), other.by_draw()
    draws = sorted(sides[0].keys() & sides[1].keys())
    first, second = (tuple(side[draw].outcomes_of(metric.name) for draw in draws) for side in sides)
    difference = paired_outcomes(first, second).estimate
    ends = [metric.text(metric.sign * end) for end in (difference.low, difference.high)][:: metric.sign]
    gap = f"{metric.text(metric.sign * difference.value)} {metric.points}"
    span = f"{gap} (95 % interval {ends[0]} to {ends[1]}, {verdict.p_text})"
    return f"{other.method} is tied with it: {span}" if verdict.kind == "tied" else f"{other.method} is {span} behind"


@dataclass(frozen=True)
class Sizes:
    """Means over tasks, of means over runs.

    Args:
        params, head: trained parameters without the head, and of the head.
        stored_bytes: what is kept for a task.
        supernet: parameters of all paths, where there is a supernet.
    """

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
            return fmean(fmean(r.params[name] or 0 for r in records) for records in tasks.values())

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
