"""Wide tables: a row for each method, a column for each test set of a suite, and means over them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from textwrap import fill

from glorabench import stats
from glorabench.cells import Cell, cells, draw_of, settings
from glorabench.labels import differing
from glorabench.layouts import Column, Layout, Mean
from glorabench.record import Record
from glorabench.table import marks, params

_NOTES = (
    "top-1 in percent, mean over n seeds; ±: half of the 95 % interval, Student's t over seeds; {}; params: trained "
    "parameters without the head, mean over runs (supernet in brackets). With --long: the interval, time, latency and "
    "merging of each task."
)
NO_RUN = "no run"
LABEL = 28  # characters of a method's name on a terminal, before it is broken


@dataclass(frozen=True)
class Value:
    """What stands in a place of a wide table.

    Args:
        estimate: of an accuracy in [0, 1]; None where there is none.
        said: what stands there then.
        reason: why something is missing there, and how it is counted, such as `failed: NonFiniteLoss`.
    """

    estimate: stats.Estimate | None
    said: str = ""
    reason: str = ""

    def text(self, digits: int, between: str | None) -> str:
        """In percent, with half of its interval behind `between`, unless that is None."""
        if self.estimate is None:
            return self.said
        half = 50 * (self.estimate.high - self.estimate.low)
        shown = f"{100 * self.estimate.value:.{digits}f}"
        return shown if between is None or math.isnan(half) else f"{shown}{between}±{half:.{digits}f}"


@dataclass(frozen=True)
class Line:
    """A row of a method.

    Args:
        by: the values of the keys that the method has rows of its own for.
        values: of columns and means.
        mixed: settings in which its tasks differ, beside those that a recipe has for each task.
    """

    method: str
    by: tuple[str, ...]
    values: Mapping[str, Value]
    n: str
    params: str
    mixed: tuple[str, ...] = ()


def lines(records: Iterable[Record], layout: Layout) -> list[Line]:
    """The rows of a table, the methods in the order in which they came.

    Raises:
        BadInput: the records do not compare (see `cells.cells`).
    """
    found: dict[str, dict[tuple[int, ...], dict[str, Cell]]] = {}
    for cell in cells(records, by_task=True):
        data = cell.records[0].config["data"]
        key = tuple(data[name] for name in layout.by)
        found.setdefault(cell.method, {}).setdefault(key, {})[data["task"]] = cell
    return [_line(method, key, found[method][key], layout) for method in found for key in sorted(found[method])]


def _line(method: str, key: tuple[int, ...], by_task: Mapping[str, Cell], layout: Layout) -> Line:
    values: dict[str, Value] = {}
    seeds: dict[str, dict[tuple[int, int], float]] = {}
    for column in layout.columns:
        cell = by_task.get(column.task)
        values[column.name] = _value(cell, column.metric)
        if cell and values[column.name].estimate:
            seeds[column.name] = {draw_of(r): r.metrics[column.metric] for r in cell.done if column.metric in r.metrics}
    values |= {entry.name: _mean(entry, seeds) for entry in layout.entries if isinstance(entry, Mean)}
    counts = sorted({len(found) for found in seeds.values()}) or [0]
    done = [r for cell in by_task.values() for r in cell.done]
    n = str(counts[0]) + (f" to {counts[-1]}" if len(counts) > 1 else "")
    there = {column.task: by_task[column.task] for column in layout.columns if column.task in by_task}
    mixed = differing({task: settings(cell.done[0].config) for task, cell in there.items() if cell.done})
    return Line(method, tuple(map(str, key)), values, n, params(done) if done else "", tuple(mixed))


def _value(cell: Cell | None, metric: str) -> Value:
    if cell is None:
        return Value(None, "-", NO_RUN)
    scores = [r.metrics[metric] for r in cell.done if metric in r.metrics]
    kinds = sorted({(r.error or {}).get("kind", "unknown") for r in cell.records if r.status != "done"})
    if not cell.done:
        return Value(None, "failed", f"failed: {', '.join(kinds)}")
    if not scores:
        return Value(None, "-", "not scored")
    lost = len(cell.records) - len(scores)
    why = f"failed: {', '.join(kinds)}" if kinds else "not scored"
    return Value(stats.mean(scores), reason=f"{lost} of {len(cell.records)} seeds {why}" if lost else "")


def _mean(entry: Mean, seeds: Mapping[str, Mapping[tuple[int, int], float]]) -> Value:
    """Over the seeds that all its columns have; how many columns there are, where some have no value."""
    there = [seeds[name] for name in entry.groups if name in seeds]
    if len(there) < len(entry.groups):
        return Value(None, f"{len(there)} of {len(entry.groups)}")
    common = sorted(set.intersection(*map(set, there)))
    if not common:
        return Value(None, "-", "no seed that all its columns have")
    averages = [entry.of({name: seeds[name][seed] for name in entry.groups}, entry.groups) for seed in common]
    fewer = any(len(found) > len(common) for found in there)
    reason = f"over the {len(common)} seed{'s' * (len(common) > 1)} that all columns have" if fewer else ""
    return Value(stats.mean(averages), reason=reason)


def notes(records: Iterable[Record], layout: Layout) -> str:
    """What the columns say, and the marks where a row has them."""
    return _NOTES.format(layout.notes) + marks(records)


def gaps(made: Sequence[Line], layout: Layout) -> list[str]:
    """What is missing, failed or counted otherwise, and where: one line for each reason and set of columns. Then where
    the tasks of a row differ in their settings."""
    told: dict[str, list[str]] = {}
    for line in made:
        by_reason: dict[str, list[str]] = {}
        for entry in layout.entries:
            if reason := line.values[entry.name].reason:
                by_reason.setdefault(reason, []).append(entry.name)
        name = ", ".join([line.method, *(f"{key} {value}" for key, value in zip(layout.by, line.by, strict=True))])
        for reason, columns in by_reason.items():
            many = reason == NO_RUN and 2 * len(columns) > len(layout.columns)
            where = f"{len(columns)} of {len(layout.columns)}" if many else ", ".join(columns)
            told.setdefault(f"{reason} ({where})", []).append(name)
        for said in line.mixed:
            told.setdefault(said, []).append(name)
    return [f"{'; '.join(names)}: {said}" for said, names in told.items()]


def sheet(made: Iterable[Line], layout: Layout, between: str | None) -> tuple[list[str], list[list[str]]]:
    """Heading and rows of the whole table: short names and one digit with intervals behind `between`, or, where that
    is None, full names and two digits without."""
    entries = layout.entries
    full = between is None
    head = ["method", *layout.by, *(entry.name if full else entry.short for entry in entries), "n", "params"]

    def cell(line: Line, entry: Column | Mean) -> str:
        return line.values[entry.name].text(2 if full or isinstance(entry, Mean) else 1, between)

    return head, [[x.method, *x.by, *(cell(x, entry) for entry in entries), x.n, x.params] for x in made]


def pages(made: Sequence[Line], layout: Layout, width: int) -> Iterator[tuple[list[str], list[list[str]]]]:
    """The table as one that is at most `width` characters wide, or as several, cut between the layout's blocks."""
    head, body = sheet(made, layout, "\n")
    fixed, label = 1 + len(layout.by), max(len("method"), min(LABEL, width // 3))
    head = [head[0], *(name.replace(" ", "\n") for name in head[1:])]
    body = [[fill(name, label), *(x.replace(" of ", "\nof ").replace(" [", "\n[") for x in row)] for name, *row in body]
    starts = [fixed]
    for block in layout.blocks:
        starts.append(starts[-1] + len(block))
    for row in (head, *body):
        for start in starts[1:-1]:  # a gap between two blocks
            row[start] = " " + row[start].replace("\n", "\n ")
    columns = zip(head, *body, strict=True)
    widths = [max(len(part) for text in column for part in text.split("\n")) for column in columns]
    starts[-1] = len(head)  # n and params
    room = width - sum(widths[:fixed]) - fixed + 1

    def needed(columns: Iterable[int]) -> int:
        return sum(1 + widths[i] for i in columns)

    blocks = [[*range(*ends)] for ends in pairwise(starts)]
    pieces = [part for block in blocks for part in ([block] if needed(block) <= room else [[i] for i in block])]
    page: list[int] = []
    for piece in [*pieces, []]:
        if page and (not piece or needed([*page, *piece]) > room):
            kept = [*range(fixed), *page]
            yield [head[i] for i in kept], [[row[i] for i in kept] for row in body]
            page = []
        page += piece
