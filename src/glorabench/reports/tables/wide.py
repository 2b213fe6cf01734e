"""The wide table: a row for each method, a column for each test set of a suite, and means over them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from glorabench.analysis import significance, statistics
from glorabench.analysis.cells import Cell, cells, differing
from glorabench.analysis.significance import SIGNS
from glorabench.analysis.suite_layouts import Column, Layout, Mean
from glorabench.records.compatibility import draw_of, settings
from glorabench.records.record import Record
from glorabench.reports.captions import marks
from glorabench.reports.tables import long

_NOTES = (
    "top-1 in percent, mean over n seeds; ±: half of the 95 % interval, Student's t over seeds, of means a bootstrap "
    "over seeds stratified by task; {}; *: best, =: tied, ?: untested, no sign: behind or not compared; {}; "
    f"{long.SIZES_NOTE}. With --long: the interval, time, latency and merging of each task."
)
NO_RUN = "no run"

Sheet = tuple[list[str], list[list[str]]]


@dataclass(frozen=True)
class Value:
    """What stands in a place of a wide table.

    Args:
        estimate: of an accuracy in [0, 1]; None where there is none.
        said: what stands there then.
        reason: why something is missing there, and how it is counted, such as `failed: NonFiniteLoss`.
        mark: behind a value, such as where it was copied from.
    """

    estimate: statistics.Estimate | None
    said: str = ""
    reason: str = ""
    mark: str = ""

    def text(self, digits: int, between: str | None, sign: str = "") -> str:
        """In percent, with half of its interval behind `sign` and `between`, unless that is None."""
        if self.estimate is None:
            return self.said
        half = 50 * (self.estimate.high - self.estimate.low)
        shown = f"{100 * self.estimate.value:.{digits}f}{sign}{self.mark}"
        return shown if between is None or math.isnan(half) else f"{shown}{between}±{half:.{digits}f}"


@dataclass(frozen=True)
class Line:
    """A row of a method.

    Args:
        by: the values of the keys that the method has rows of its own for.
        values: of columns and means.
        sizes: as the columns of sizes.SIZES.
        mixed: settings in which its tasks differ, beside those that a recipe has for each task.
        cells: of the columns that have one.
        verdicts: of the columns and means that are compared.
    """

    method: str
    by: tuple[str, ...]
    values: Mapping[str, Value]
    n: str
    sizes: tuple[str, ...]
    mixed: tuple[str, ...] = ()
    cells: Mapping[str, Cell] = field(default_factory=dict)
    verdicts: Mapping[str, significance.Verdict] = field(default_factory=dict)


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
    made = [_line(method, key, found[method][key], layout) for method in found for key in sorted(found[method])]
    rivals = {by: [line for line in made if line.by == by] for by in dict.fromkeys(line.by for line in made)}
    judged = {by: _judged(group, layout) for by, group in rivals.items()}
    return [replace(x, verdicts={n: v[x.method] for n, v in judged[x.by].items() if x.method in v}) for x in made]


def _judged(rivals: Sequence[Line], layout: Layout) -> dict[str, dict[str, significance.Verdict]]:
    """The verdicts of each column and mean, by method."""
    metrics = {column.name: column.metric for column in layout.columns}
    made: dict[str, dict[str, significance.Verdict]] = {}
    for entry in layout.entries:
        if isinstance(entry, Column):
            made[entry.name] = significance.on_task(
                [x.cells[entry.name] for x in rivals if entry.name in x.cells], entry.metric
            )
        else:
            weights = {name: (weight, metrics[name]) for name, weight in entry.weights.items()}
            made[entry.name] = significance.on_mean([x.cells for x in rivals], weights)
    return made


def _line(method: str, key: tuple[int, ...], by_task: Mapping[str, Cell], layout: Layout) -> Line:
    values: dict[str, Value] = {}
    seeds: dict[str, dict[tuple[int, int], float]] = {}
    for column in layout.columns:
        cell = by_task.get(column.task)
        values[column.name] = _value(cell, column.metric)
        if cell and values[column.name].estimate:
            seeds[column.name] = {draw_of(r): r.metrics[column.metric] for r in cell.done if column.metric in r.metrics}
    draws = {draw_of(r) for cell in by_task.values() for r in cell.records}
    for column in (column for column in layout.columns if column.name in seeds):
        if lacking := len(draws - {draw_of(r) for r in by_task[column.task].records}):
            value, said = values[column.name], f"no run of {lacking} of {len(draws)} seeds"
            values[column.name] = replace(value, reason="; ".join(filter(None, (value.reason, said))))
    values |= {entry.name: _mean(entry, seeds) for entry in layout.entries if isinstance(entry, Mean)}
    counts = sorted({len(found) for found in seeds.values()}) or [0]
    done = [r for cell in by_task.values() for r in cell.done]
    texts = long.Sizes.of(done).texts if done else ("",) * len(long.SIZES)
    n = str(counts[0]) + (f" to {counts[-1]}" if len(counts) > 1 else "")
    there = {column.name: by_task[column.task] for column in layout.columns if column.task in by_task}
    mixed = differing({cell.task: settings(cell.done[0].config) for cell in there.values() if cell.done})
    return Line(method, tuple(map(str, key)), values, n, texts, tuple(mixed), there)


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
    return Value(statistics.mean(scores), reason=f"{lost} of {len(cell.records)} seeds {why}" if lost else "")


def _mean(entry: Mean, seeds: Mapping[str, Mapping[tuple[int, int], float]]) -> Value:
    """Over the seeds that all its columns have; how many columns there are, where some have no value."""
    there = [seeds[name] for name in entry.groups if name in seeds]
    if len(there) < len(entry.groups):
        return Value(None, f"{len(there)} of {len(entry.groups)}")
    common = sorted(set.intersection(*map(set, there)))
    if not common:
        return Value(None, "-", "no seed that all its columns have")
    scores = [[seeds[name][seed] for seed in common] for name in entry.weights]
    fewer = any(len(found) > len(common) for found in there)
    reason = f"over the {len(common)} seed{'s' * (len(common) > 1)} that all columns have" if fewer else ""
    return Value(statistics.stratified(scores, list(entry.weights.values())), reason=reason)


def notes(records: Iterable[Record], layout: Layout) -> str:
    """What the columns say, and the marks where a row has them."""
    return _NOTES.format(layout.notes, significance.VERDICTS) + marks(records)


def gaps(made: Sequence[Line], layout: Layout) -> list[str]:
    """What is missing, failed or counted otherwise, and where: one line for each reason and set of columns. Then where
    the tasks of a row differ in their settings."""
    told: dict[str, list[str]] = {}
    for line in made:
        by_reason: dict[str, list[str]] = {}
        for entry in layout.entries:
            if reason := line.values[entry.name].reason:
                by_reason.setdefault(reason, []).append(entry.name)
            verdict = line.verdicts.get(entry.name)  # of a column it stands among the findings
            if isinstance(entry, Mean) and verdict and verdict.how:
                by_reason.setdefault(f"against the best mean it {verdict.how}", []).append(entry.name)
        name = ", ".join([line.method, *(f"{key} {value}" for key, value in zip(layout.by, line.by, strict=True))])
        for reason, columns in by_reason.items():
            many = reason == NO_RUN and 2 * len(columns) > len(layout.columns)
            where = f"{len(columns)} of {len(layout.columns)}" if many else ", ".join(columns)
            told.setdefault(f"{reason} ({where})", []).append(name)
        for said in line.mixed:
            told.setdefault(said, []).append(name)
    return [f"{'; '.join(names)}: {said}" for said, names in told.items()]


def sheet(made: Iterable[Line], layout: Layout) -> Sheet:
    """Short names; one digit, in means two, with what marks it and half of its interval; the sizes that any row has."""
    made = list(made)
    known = [i for i, _ in enumerate(long.SIZES) if not made or any(line.sizes[i] for line in made)]
    names = [long.SIZES[i] for i in known]
    head = ["method", *layout.by, *(entry.short for entry in layout.entries), "n", *names]
    digits = {entry.name: 2 if isinstance(entry, Mean) else 1 for entry in layout.entries}

    def row(line: Line) -> list[str]:
        signs = {name: verdict.sign for name, verdict in line.verdicts.items()}
        shown = [line.values[name].text(digits[name], " ", signs.get(name, "")) for name in digits]
        return [line.method, *line.by, *shown, line.n, *(line.sizes[i] for i in known)]

    return head, [row(line) for line in made]


def exact(made: Iterable[Line], layout: Layout) -> Sheet:
    """Full names; two digits; sizes as plain numbers; the names of the columns in which a row is best, tied or
    untested; the ends of each interval."""
    names = [entry.name for entry in layout.entries]
    ends = [f"{name}_{end}" for name in names for end in ("low", "high")]
    kinds = [kind for kind in SIGNS if kind != "behind"]

    def row(line: Line) -> list[str]:
        stands = [" ".join(n for n, verdict in line.verdicts.items() if verdict.kind == kind) for kind in kinds]
        done = [r for cell in line.cells.values() for r in cell.done]
        size = long.Sizes.of(done).exact if done else ("",) * len(long.EXACT)
        shown = [line.values[name].text(2, None) for name in names]
        return [
            line.method,
            *line.by,
            *shown,
            line.n,
            *size,
            *stands,
            *(x for n in names for x in _ends(line.values[n])),
        ]

    return ["method", *layout.by, *names, "n", *long.EXACT, *kinds, *ends], [row(line) for line in made]


def _ends(value: Value) -> tuple[str, str]:
    low, high = (value.estimate.low, value.estimate.high) if value.estimate else (math.nan, math.nan)
    return ("", "") if math.isnan(low) else (f"{100 * low:.2f}", f"{100 * high:.2f}")


def blocks(layout: Layout) -> tuple[int, list[int]]:
    """How a table is cut: the number of first columns that every page has, and of those that stay together."""
    return 1 + len(layout.by), [len(block) for block in layout.blocks]
