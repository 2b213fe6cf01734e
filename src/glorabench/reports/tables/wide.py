"""The wide table: a row for each method, a column for each test set of a suite, and means over them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from glorabench.analysis import statistics
from glorabench.analysis.cells import Cell, Draw, Group
from glorabench.analysis.labels import setting_differences
from glorabench.analysis.significance import SIGNS, Term, Verdict, verdicts_on_mean, verdicts_on_task
from glorabench.data.suites.layout import Column, Layout, Mean
from glorabench.records.compatibility import draw_of, settings
from glorabench.records.metrics import Metric, equal_scale, metric_named
from glorabench.reports.captions import DETAILS, notes_of_marks, unit_text
from glorabench.reports.tables import long

_NOTES = (
    "{}, mean over n seeds ± half of the 95 % interval; *: best, =: not separated from it, ?: untested, by a paired "
    f"test; {{}}. {DETAILS}"
)
NO_RUN = "no run"

HeadAndBody = tuple[list[str], list[list[str]]]


@dataclass(frozen=True)
class Value:
    """The content of a cell of a wide table.

    Args:
        estimate: an estimate of a metric, or None.
        metric: the metric.
        blank: the text of a cell without an estimate.
        reason: why values are missing, such as `failed: NonFiniteLoss`.
        mark: a mark behind the value, such as its source.
    """

    estimate: statistics.Estimate | None
    metric: Metric | None = None
    blank: str = ""
    reason: str = ""
    mark: str = ""

    def text(self, more_digits: int, separator: str | None, sign: str = "") -> str:
        """The value in the unit of the metric, with half of its interval unless `separator` is None.

        Args:
            more_digits: 1 for all digits of the metric, 0 for one digit less, which fits into a column.
            separator: the text between the value and half of the interval; None leaves the interval out.
            sign: a sign right behind the value.
        """
        if self.estimate is None or self.metric is None:
            return self.blank
        digits = self.metric.digits - 1 + more_digits
        text = f"{self.metric.text(self.estimate.value, digits)}{sign}{self.mark}"
        half = (self.estimate.high - self.estimate.low) / 2
        return text if separator is None or math.isnan(half) else f"{text}{separator}±{self.metric.text(half, digits)}"


@dataclass(frozen=True)
class WideRow:
    """The row of a method.

    Args:
        keys: the values of the keys of the layout; a method has one row for each.
        values: the cells of columns and means.
        n: the number of seeds.
        sizes: the columns SIZES of the long table.
        mixture: settings in which its tasks differ, except the keys of a recipe.
        cells: the cells of the columns that have records.
        verdicts: the verdicts on the columns and means that are compared.
    """

    method: str
    keys: tuple[str, ...]
    values: Mapping[str, Value]
    n: str
    sizes: tuple[str, ...]
    mixture: tuple[str, ...] = ()
    cells: Mapping[str, Cell] = field(default_factory=dict)
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)


def wide_rows(group: Group, layout: Layout) -> list[WideRow]:
    """The rows of a table, with methods in the order in which they came.

    Raises:
        BadInput: the records do not compare (see `cells.cells`).
    """
    methods: dict[str, dict[tuple[int, ...], dict[str, Cell]]] = {}
    for cell in group.cells:
        data = cell.records[0].config["data"]
        key = tuple(data[name] for name in layout.row_keys)
        methods.setdefault(cell.row, {}).setdefault(key, {})[data["task"]] = cell
    lines = []
    for method, by_key in methods.items():
        lines += [_line(method, key, by_key[key], layout) for key in sorted(by_key)]
    verdicts: dict[tuple[str, ...], dict[str, dict[str, Verdict]]] = {}  # keys -> column -> method
    for keys in {line.keys for line in lines}:
        verdicts[keys] = _verdicts([line for line in lines if line.keys == keys], layout)
    result = []
    for line in lines:
        of_line = {}
        for name, by_method in verdicts[line.keys].items():
            if line.method in by_method:
                of_line[name] = by_method[line.method]
        result.append(replace(line, verdicts=of_line))
    return result


def sorted_by_mean(rows: Sequence[WideRow], layout: Layout) -> list[WideRow]:
    """Rows with the best mean first, by the last mean of the layout; rows without it keep their order, at the end."""
    means = [entry.name for entry in layout.entries if isinstance(entry, Mean)]
    if not means or layout.row_keys:
        return list(rows)

    def place(row: WideRow) -> tuple[bool, float]:
        value = row.values[means[-1]]
        if value.estimate is None or value.metric is None:
            return True, 0.0
        return False, -value.metric.sign * round(value.estimate.value, 12)

    return sorted(rows, key=place)


def _verdicts(rivals: Sequence[WideRow], layout: Layout) -> dict[str, dict[str, Verdict]]:
    """The verdicts of each column and mean, by method."""
    metrics = {column.name: column.metric for column in layout.columns}
    verdicts: dict[str, dict[str, Verdict]] = {}
    for entry in layout.entries:
        if isinstance(entry, Column):
            cells = {line.method: line.cells[entry.name] for line in rivals if entry.name in line.cells}
            verdicts[entry.name] = verdicts_on_task(cells, entry.metric)
        else:
            terms = {name: Term(weight, metrics[name]) for name, weight in entry.weights.items()}
            verdicts[entry.name] = verdicts_on_mean({line.method: line.cells for line in rivals}, terms)
    return verdicts


def _line(method: str, key: tuple[int, ...], by_task: Mapping[str, Cell], layout: Layout) -> WideRow:
    values: dict[str, Value] = {}
    seeds: dict[str, dict[Draw, float]] = {}
    draws = {draw_of(r) for cell in by_task.values() for r in cell.records}
    for column in layout.columns:
        cell = by_task.get(column.task)
        values[column.name] = value = _value(cell, column)
        if cell is None or value.metric is None:
            continue
        seeds[column.name] = {draw: r.metrics[value.metric.name] for draw, r in cell.by_draw(value.metric.name).items()}
        if absent := len(draws - {draw_of(r) for r in cell.records}):
            words = f"no run of {absent} of {len(draws)} seeds"
            values[column.name] = replace(value, reason="; ".join(filter(None, (value.reason, words))))
    for entry in layout.entries:
        if isinstance(entry, Mean):
            values[entry.name] = _mean(entry, seeds, [values[name].metric for name in entry.groups])
    counts = sorted({len(by_draw) for by_draw in seeds.values()}) or [0]
    finished_runs = [r for cell in by_task.values() for r in cell.finished_runs]
    texts = long.Sizes.from_runs(finished_runs).texts if finished_runs else ("",) * len(long.SIZES)
    n = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    cells = {column.name: by_task[column.task] for column in layout.columns if column.task in by_task}
    mixture = setting_differences(
        {cell.task: settings(cell.finished_runs[0].config) for cell in cells.values() if cell.finished_runs}
    )
    return WideRow(method, tuple(map(str, key)), values, n, texts, tuple(mixture), cells)


def _value(cell: Cell | None, column: Column) -> Value:
    if cell is None:
        return Value(None, blank="-", reason=NO_RUN)
    kinds = sorted({(r.error or {}).get("kind", "unknown") for r in cell.records if r.status != "done"})
    if not cell.finished_runs:
        return Value(None, blank="failed", reason=f"failed: {', '.join(kinds)}")
    name = column.metric or cell.metric.name
    records = [r for r in cell.finished_runs if name in r.metrics]
    if not records:
        return Value(None, blank="-", reason="not scored")
    without = len(cell.records) - len(records)
    cause = f"failed: {', '.join(kinds)}" if kinds else "not scored"
    reason = f"{without} of {len(cell.records)} seeds {cause}" if without else ""
    metric = metric_named(records[0].measures, name)
    return Value(statistics.mean([r.metrics[name] for r in records]), metric, reason=reason)


def _mean(entry: Mean, seeds: Mapping[str, Mapping[Draw, float]], metrics: Sequence[Metric | None]) -> Value:
    """The mean over the seeds that all its columns have. Where columns have no value, a count of those that do."""
    columns = [seeds[name] for name in entry.groups if name in seeds]
    if len(columns) < len(entry.groups):
        return Value(None, blank=f"{len(columns)} of {len(entry.groups)}")
    if not equal_scale(metric for metric in metrics if metric is not None):
        return Value(None, blank="-", reason="its columns are scored by metrics of different units or directions")
    common = sorted(set.intersection(*map(set, columns)))
    if not common:
        return Value(None, blank="-", reason="no seed that all its columns have")
    scores = [[seeds[name][seed] for seed in common] for name in entry.weights]
    reason = ""
    if any(len(column) > len(common) for column in columns):
        reason = f"over the {len(common)} seed{'s' if len(common) > 1 else ''} that all columns have"
    return Value(statistics.stratified_mean(scores, list(entry.weights.values())), metrics[0], reason=reason)


def wide_notes(group: Group, layout: Layout) -> str:
    """Notes on the columns and on marks of rows."""
    units = dict.fromkeys(unit_text(cell.metric) for cell in group.cells if cell.finished_runs)
    return _NOTES.format(" or ".join(units) or unit_text(None), layout.notes) + notes_of_marks(group)


def row_gaps(rows: Sequence[WideRow], layout: Layout) -> list[str]:
    """Lines that say what is missing and why, and where the tasks of a row differ in their settings.

    There is one line for each reason and set of columns, or for each setting.
    """
    names_of: dict[str, list[str]] = {}
    for line in rows:
        by_reason: dict[str, list[str]] = {}
        for entry in layout.entries:
            if reason := line.values[entry.name].reason:
                by_reason.setdefault(reason, []).append(entry.name)
            verdict = line.verdicts.get(entry.name)  # a verdict on a column is among the findings
            if isinstance(entry, Mean) and verdict and verdict.reason:
                by_reason.setdefault(f"against the best mean it {verdict.reason}", []).append(entry.name)
        name = ", ".join(
            [line.method, *(f"{key} {value}" for key, value in zip(layout.row_keys, line.keys, strict=True))]
        )
        for reason, columns in by_reason.items():
            is_long_list = reason == NO_RUN and 2 * len(columns) > len(layout.columns)
            columns_text = f"{len(columns)} of {len(layout.columns)}" if is_long_list else ", ".join(columns)
            names_of.setdefault(f"{reason} ({columns_text})", []).append(name)
        for setting in line.mixture:
            names_of.setdefault(setting, []).append(name)
    return [f"{'; '.join(names)}: {words}" for words, names in names_of.items()]


def wide_text(rows: Iterable[WideRow], layout: Layout) -> HeadAndBody:
    """Head and rows for people: short names, one digit (two in means), marks, half of each interval, and sizes."""
    rows = list(rows)
    size_indices = [i for i, _ in enumerate(long.SIZES) if not rows or any(line.sizes[i] for line in rows)]
    head = [
        "method",
        *layout.row_keys,
        *(entry.short for entry in layout.entries),
        "n",
        *(long.SIZES[i] for i in size_indices),
    ]
    body = []
    for line in rows:
        values = []
        for entry in layout.entries:
            sign = line.verdicts[entry.name].sign if entry.name in line.verdicts else ""
            values.append(line.values[entry.name].text(int(isinstance(entry, Mean)), " ", sign))
        body.append([line.method, *line.keys, *values, line.n, *(line.sizes[i] for i in size_indices)])
    return head, body


def wide_exact(rows: Iterable[WideRow], layout: Layout) -> HeadAndBody:
    """Head and rows for programs.

    They have full names, two digits, sizes as plain numbers, the names of the columns in which a row is best, tied or
    untested, and the ends of each interval.
    """
    names = [entry.name for entry in layout.entries]
    ends = [f"{name}_{end}" for name in names for end in ("low", "high")]
    kinds = [kind for kind in SIGNS if kind != "behind"]
    body = []
    for line in rows:
        of_kind = [" ".join(n for n, verdict in line.verdicts.items() if verdict.kind == kind) for kind in kinds]
        finished_runs = [r for cell in line.cells.values() for r in cell.finished_runs]
        sizes = long.Sizes.from_runs(finished_runs).exact if finished_runs else ("",) * len(long.EXACT_SIZES)
        values = [line.values[name].text(1, None) for name in names]
        spans = [text for name in names for text in _ends(line.values[name])]
        body.append([line.method, *line.keys, *values, line.n, *sizes, *of_kind, *spans])
    return ["method", *layout.row_keys, *names, "n", *long.EXACT_SIZES, *kinds, *ends], body


def _ends(value: Value) -> tuple[str, str]:
    if value.estimate is None or value.metric is None or math.isnan(value.estimate.low):
        return "", ""
    return value.metric.text(value.estimate.low), value.metric.text(value.estimate.high)


def wide_blocks(layout: Layout) -> tuple[int, list[int]]:
    """How a table is cut: the number of columns that every page repeats, and the sizes of blocks of columns."""
    return 1 + len(layout.row_keys), [len(block) for block in layout.blocks]
