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
from glorabench.reports.captions import DETAILS, estimate_text, heading_of, notes_of_marks
from glorabench.reports.tables.verdict_words import VERDICT_WORDS

SIZES = ("params", "head", "stored kB")
_NOTES = (
    "Mean over n seeds with its 95 % interval; verdict: how a method stands to the best of its task, by a paired test "
    f"over seeds and examples. Not separated does not mean equal. {DETAILS}"
)
EXACT_SIZES = ("params", "head", "stored_bytes", "supernet")


def long_columns(group: Group) -> tuple[str, ...]:
    """The heads of the columns; where tasks have different metrics, one column names the metric."""
    metrics = {cell.metric for cell in group.cells if cell.finished_runs}
    scores = (heading_of(group.metric),) if len(metrics) <= 1 else ("metric", "score")
    return ("task", "method", *scores, "95 % interval", "n", "verdict", *SIZES, "step ms", "latency", "merge")


def long_notes(group: Group) -> str:
    """Notes on columns, and on marks of rows."""
    return _NOTES + notes_of_marks(group)


def long_rows(group: Group) -> list[tuple[str, ...]]:
    """A row for each cell, as text, with the reason where a value is missing; then the means over tasks."""
    verdicts = verdicts_by_task(group)
    width = len(long_columns(group))
    with_metric = "metric" in long_columns(group)
    body = [_row(cell, verdicts.get((cell.task, cell.method)), with_metric) for cell in group.cells]
    return [row + ("",) * (width - len(row)) for row in (*body, *_means(group))]


def _means(group: Group) -> Iterator[tuple[str, ...]]:
    """Rows with the mean over tasks and common seeds, for every method that has a result on all tasks."""
    tasks = list(group.by_task)
    if len(tasks) < 2 or not equal_scale(cell.metric for cell in group.cells if cell.finished_runs):
        return
    rivals: dict[str, dict[str, Cell]] = {}
    for cell in group.cells:
        rivals.setdefault(cell.method, {})[cell.task] = cell
    verdicts = verdicts_on_mean(rivals, {task: Term(1 / len(tasks)) for task in tasks})
    metric_cell = ("",) if "metric" in long_columns(group) else ()
    for method, cells in rivals.items():
        scores = [{draw: r.score for draw, r in cell.by_draw().items()} for cell in cells.values()]
        seeds = sorted(set.intersection(*map(set, scores)))
        if len(cells) < len(tasks) or not seeds or group.metric is None:
            continue
        table = [[by_draw[seed] for seed in seeds] for by_draw in scores]
        mean = statistics.stratified_mean(table, [1 / len(tasks)] * len(tasks))
        kind = VERDICT_WORDS[verdicts[method].kind] if method in verdicts else ""
        texts = (*metric_cell, *estimate_text(mean, group.metric), str(mean.n), kind)
        yield (f"mean of {len(tasks)} tasks", method, *texts)


def _row(cell: Cell, verdict: Verdict | None, with_metric: bool) -> tuple[str, ...]:
    failed_runs = [r for r in cell.records if r.status != "done"]
    if not cell.finished_runs:
        reason = (failed_runs[0].error or {}).get("kind", "unknown")
        return (cell.task, cell.method, *([""] if with_metric else []), f"failed: {reason}", "", "0")
    count = str(cell.score.n) + (f" ({len(failed_runs)} failed)" if failed_runs else "")
    return (
        cell.task,
        cell.method,
        *([cell.metric.heading] if with_metric else []),
        *estimate_text(cell.score, cell.metric),
        count,
        VERDICT_WORDS[verdict.kind] if verdict else "",
        *Sizes.from_runs(cell.finished_runs).texts,
        _step_text(cell.finished_runs),
        _latency_text(cell.finished_runs),
        _merge_text([r.merge for r in cell.finished_runs if r.merge]),
    )


def _merge_text(certificates: Sequence[dict[str, Any]]) -> str:
    if not all(certificate["mergeable"] for certificate in certificates):
        return "no"
    flips = sum(certificate.get("flipped") or 0 for certificate in certificates)
    largest = max((certificate.get("max_abs_diff") or 0.0 for certificate in certificates), default=0.0)
    return f"{largest:.0e}, {flips} flipped" if flips else f"{largest:.0e}"


def _latency_text(records: Iterable[Record]) -> str:
    ratios = [ratio for r in records if (ratio := latency_ratio(r)) is not None]
    return f"{median(ratios):.2f}" if ratios else "-"


def _step_text(records: Sequence[Record]) -> str:
    """Median milliseconds of a training step; empty where records have none."""
    times = [r.cost["step_ms"] for r in records if r.cost.get("step_ms") is not None]
    return f"{median(times):.1f}" if times else ""


def latency_ratio(r: Record) -> float | None:
    """Latency of the merged network, or else of the unmerged, relative to the plain backbone at batch 64.

    None where it was not measured (latency_rounds=0).
    """
    timing = (r.cost.get("latency_ms") or {}).get("batch_64")
    return timing.get("merged", timing["unmerged"])["median"] / timing["plain"]["median"] if timing else None


def findings(group: Group) -> list[str]:
    """Lines of findings.

    For each task they compare every other method with the best one, from paired outcomes. For each search they give the
    score of the winner on the examples that chose it and elsewhere. A method that chose on the test split is never the
    best, and is not compared. A method that is alone on its task is not compared either.
    """
    lines = []
    verdicts = verdicts_by_task(group)
    for task, task_cells in group.by_task.items():
        cells = [cell for cell in task_cells if cell.finished_runs]
        if len(cells) > 1:
            lines.append(f"{task}: {'; '.join(_comparisons(cells, verdicts))}")
        lines += [f"{task}: {_winner(cell)}" for cell in cells if any(r.search for r in cell.finished_runs)]
        lines += [f"{task}: {words}" for words in _further_metrics(cells)]
    return lines


def _comparisons(cells: Sequence[Cell], verdicts: dict[tuple[str, str], Verdict]) -> Iterator[str]:
    """Phrases that name the best of a task and compare every other method with it."""
    clean = {cell.method: cell for cell in cells if not cell.contaminated}
    best = names_of_best({name: cell.score.value for name, cell in clean.items()}, cells[0].metric) if clean else []
    if len(best) > 1:
        yield f"best are {' and '.join(best)}, with equal means"
    else:
        yield f"best is {best[0]}" if best else "none is called best"
    for name, cell in clean.items():
        if name not in best:
            verdict = verdicts[cell.task, name]
            yield _gap_to_best(clean[verdict.best], cell, verdict)
    yield from (f"{cell.method} saw the test split: not compared" for cell in cells if cell.contaminated)


def _further_metrics(cells: Sequence[Cell]) -> Iterator[str]:
    """Means over runs of what else was measured on the test split; metrics of further test sets are called SET/NAME."""
    further = {m.name: m for cell in cells for m in cell.finished_runs[0].measures[1:] if "/" not in m.name}
    for name, metric in further.items():
        runs = {cell.method: [r.metrics[name] for r in cell.finished_runs if name in r.metrics] for cell in cells}
        values = (f"{metric.with_unit(fmean(values))} of {method}" for method, values in runs.items() if values)
        yield f"{metric.label} {', '.join(values)}"


def _winner(cell: Cell) -> str:
    """The scores of search winners where they were chosen, on held-out examples and on test: means over seeds."""
    searches = [r.search for r in cell.finished_runs if r.search]
    held_out = [search["held_out"] for search in searches if search["held_out"] is not None]
    examples = _examples(cell)

    def text(value: float) -> str:
        return cell.metric.with_unit(value, cell.metric.digits - 1)

    words = [f"{text(fmean(search['score'] for search in searches))} on the {examples} that chose its path"]
    words += [f"{text(fmean(held_out))} on {examples} held out"] if held_out else []
    return f"{cell.method}: {', '.join([*words, f'{text(cell.score.value)} on test'])}"


def _examples(cell: Cell) -> str:
    """The word for the examples of a task; images, unless the record has another one."""
    return cell.records[0].provenance.get("data", {}).get("examples", "images")


def _gap_to_best(best: Cell, other: Cell, verdict: Verdict) -> str:
    if verdict.p is None:
        return f"{other.method} {verdict.reason}"
    metric = best.metric
    sides = best.by_draw(), other.by_draw()
    draws = sorted(sides[0].keys() & sides[1].keys())
    first, second = (tuple(side[draw].outcomes_of(metric.name) for draw in draws) for side in sides)
    paired = paired_outcomes(first, second)
    difference = paired.interval_of(verdict.p / paired.exact_p if paired.exact_p > 0 else 1.0)
    ends = [metric.text(metric.sign * end) for end in (difference.low, difference.high)][:: metric.sign]
    gap = f"{metric.text(metric.sign * difference.value)} {metric.points}"
    span = f"{gap} (95 % interval {ends[0]} to {ends[1]}, {verdict.p_text})"
    return (
        f"{other.method} is not separated from it: {span}"
        if verdict.kind == "tied"
        else f"{other.method} is {span} behind"
    )


@dataclass(frozen=True)
class Sizes:
    """Means over tasks, of means over runs.

    Args:
        params, head: trained parameters without the head, and those of the head.
        stored_bytes: bytes that are stored for a task.
        supernet: parameters of all paths, where there is a supernet.
    """

    params: float
    head: float
    stored_bytes: float
    supernet: int | None

    @classmethod
    def from_runs(cls, runs: Sequence[Record]) -> Sizes:
        """Compute the sizes from runs that have a result."""
        tasks: dict[str, list[Record]] = {}
        for r in runs:
            tasks.setdefault(r.names["task"], []).append(r)

        def mean(name: str) -> float:
            return fmean(fmean(r.params[name] or 0 for r in records) for records in tasks.values())

        return cls(mean("method"), mean("head"), mean("stored_bytes"), runs[0].params["supernet"])

    @property
    def texts(self) -> tuple[str, str, str]:
        """The columns SIZES, with rounded numbers."""
        supernet = f" [{self.supernet:,}]" if self.supernet else ""
        return f"{self.params:,.0f}{supernet}", f"{self.head:,.0f}", f"{self.stored_bytes / 1000:,.0f}"

    @property
    def exact(self) -> tuple[str, ...]:
        """The columns EXACT."""
        numbers = (self.params, self.head, self.stored_bytes, self.supernet)
        return tuple("" if number is None else f"{number:.10g}" for number in numbers)
