"""Tables of published figures, and of our results beside them, with the facts in which the runs differ."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from glorabench.analysis import published_results, statistics
from glorabench.analysis.labels import PUBLISHED, TUNED
from glorabench.analysis.published_results import FACTS, FACTS_OF_TEXTS, Paper
from glorabench.analysis.suite_layouts import LAYOUTS
from glorabench.data.suites.layout import Layout, Mean
from glorabench.records.compatibility import draw_of
from glorabench.records.metrics import Metric
from glorabench.records.record import Record
from glorabench.reports.captions import DETAILS
from glorabench.reports.rendering import Part
from glorabench.reports.tables import wide
from glorabench.reports.tables.wide import Value, WideRow

_CSV_COLUMNS = ("backbone", "method", "of", "value", "kind", "params_m", "source", "note")
_NOTES = (
    "Published figures, none of them measured here. [pK]: where it was printed; -: not printed there; {}; n: seeds, "
    f"where they are known; --format csv has all {{}} rows. {DETAILS}"
)

NOT_STATED = "not stated"
_ACCURACY = Metric("accuracy", "accuracy")  # all of these papers print it
DEVIATION_COLUMNS = ("method", "of", "ours", "published", "deviation")
PUBLISHED_WORD_COLUMNS = ("method", "of")
DEVIATION_NOTE = (
    "deviation: ours minus published, in points. A cause is a fact in which our runs differ from the published ones: "
    f"it may explain a deviation and is not proven to. {DETAILS}"
)


def published_parts(suite: str) -> list[Part]:
    """The published table of a suite, one part for each backbone."""
    rows, layout = published_results.papers_of_methods(suite), LAYOUTS[suite]
    sources = {source: f"p{n}" for n, source in enumerate(dict.fromkeys(row.source for row in rows), start=1)}
    parts = []
    for backbone in dict.fromkeys(row.backbone for row in rows):
        papers = [row for row in rows if row.backbone == backbone]
        lines = [_line(paper, sources[paper.source], layout) for paper in sorted(papers, key=lambda p: p.is_wrong)]
        head, body = wide.wide_text(lines, layout)
        findings = [f"[{sources[source]}] {source}" for source in dict.fromkeys(paper.source for paper in papers)]
        findings += _notes_of_papers(papers, layout)
        title = f"published figures of {backbone} on suite {suite}, none measured here"
        parts.append(Part(title, head, body, findings, "", *wide.wide_blocks(layout)))
    notes = _NOTES.format(layout.notes, len(published_results.papers(suite)))
    return [*parts[:-1], replace(parts[-1], notes=notes)]


def _notes_of_papers(rows: Sequence[Paper], layout: Layout) -> list[str]:
    """The notes of the rows, each of them once, after the names of its methods.

    Where there are several numbers of shots, a method is followed by those that the note is about.
    """
    keys_of: dict[str, dict[str, list[str]]] = {}  # note -> method -> keys
    for row in rows:
        if row.note:
            keys_of.setdefault(row.note, {}).setdefault(row.method, []).append(" ".join(row.keys))
    has_several_keys = len({row.keys for row in rows}) > 1
    lines = []
    for note, methods in keys_of.items():
        names = list(methods)
        if has_several_keys:
            names = [f"{method} ({layout.row_keys[0]} {', '.join(keys)})" for method, keys in methods.items()]
        lines.append(f"{', '.join(names)}: {note}")
    return lines


def _line(row: Paper, source: str, layout: Layout) -> WideRow:
    values = {}
    for entry in layout.entries:
        value = row.values.get(entry.name)
        if value is None:
            values[entry.name] = Value(None, blank="-")
        else:
            alone = statistics.Estimate(0.01 * value, float("nan"), float("nan"), 1)
            values[entry.name] = Value(alone, _ACCURACY, mark=f" [{source}]")
    size = f"{row.params} M [{source}]" if row.params else ""
    return WideRow(row.method, row.keys, values, row.facts.get("seeds", ""), (size, "", ""))


def published_csv(suite: str) -> str:
    """All published values and means of a suite as CSV, a line for each, with source and note."""
    layout, out = LAYOUTS[suite], io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_CSV_COLUMNS[:2], *layout.row_keys, *_CSV_COLUMNS[2:]])
    for row in published_results.papers(suite):
        for name in (entry.name for entry in layout.entries if entry.name in row.values):
            value = f"{round(row.values[name], 2):g}"
            kind = "computed from published" if name in row.computed_means else "published"
            about = [kind, row.params, row.source, row.note]
            writer.writerow([row.backbone, row.method, *row.keys, name, value, *about])
    return out.getvalue()


def suites_with_papers() -> Sequence[str]:
    """The suites that have published figures."""
    return [suite for suite in LAYOUTS if published_results.papers(suite)]


@dataclass(frozen=True)
class FactPair:
    """A fact about how results were made, for our runs and for the published ones."""

    fact: str
    ours: str
    theirs: str

    @property
    def state(self) -> str:
        """`same`, `differs` or `not stated`."""
        if NOT_STATED in (self.ours, self.theirs):
            return NOT_STATED
        if self.fact == "selection":  # only the rule is compared, not the origin of the values
            return "same" if self.theirs == self.ours.partition(",")[0] else "differs"
        if self.fact == "checkpoint":  # it names a file, or a family of files
            return "same" if self.theirs.lower() in self.ours.lower() else "differs"
        return "same" if self.ours == self.theirs else "differs"


@dataclass(frozen=True)
class Deviation:
    """Our value in a column or mean beside the published one, in percent.

    Args:
        name: the name of the column or mean.
        ours, text: our value, and its text with the interval.
        published: the published value.
    """

    name: str
    ours: float
    text: str
    published: float

    @property
    def value(self) -> float:
        """Ours minus published."""
        return round(self.ours - self.published, 2) + 0  # no minus before a zero


@dataclass(frozen=True)
class PublishedComparison:
    """One row of ours beside a published row.

    Args:
        line: our row.
        name: the name of our row.
        paper: the published row.
        deviations: one for each column or mean that is compared.
        fact_pairs: one for each of FACTS.
    """

    line: WideRow
    name: str
    paper: Paper
    deviations: tuple[Deviation, ...]
    fact_pairs: tuple[FactPair, ...]

    def rows(self) -> list[tuple[str, ...]]:
        """The comparison as text, with the columns DEVIATION_COLUMNS."""
        rows = []
        for deviation in self.deviations:
            published = f"{deviation.published:.2f} (published)"
            rows.append((self.name, deviation.name, deviation.text, published, f"{deviation.value:+.2f}"))
        return rows

    @property
    def conclusion(self) -> str:
        """A sentence with the published row and the causes that the facts offer."""
        evidence = f"; facts not in the row itself: {self.paper.evidence}" if self.paper.evidence else ""
        return f"{self.name} against {self.paper.method} [{self.paper.source}]: {self.causes}{evidence}"

    @property
    def causes(self) -> str:
        """The facts that differ, those that agree and those that are not stated."""
        by_state: dict[str, list[FactPair]] = {}
        for pair in self.fact_pairs:
            by_state.setdefault(pair.state, []).append(pair)
        differences = [f"{pair.fact} ({pair.ours} here, {pair.theirs} there)" for pair in by_state.get("differs", [])]
        parts = [f"causes: {', '.join(differences)}" if differences else "no cause among the facts that are known"]
        for state in ("same", NOT_STATED):
            if state in by_state:
                parts.append(f"{state}: {', '.join(pair.fact for pair in by_state[state])}")
        return "; ".join(parts)


def published_comparisons(
    rows: Sequence[WideRow], layout: Layout, every_column: bool = False
) -> Iterator[PublishedComparison]:
    """Compare every row that has a published counterpart with it.

    Args:
        rows: rows of a wide table. Rows of fake data, or scored on another split than test, have no counterpart.
        layout: the layout of the table.
        every_column: compare columns too, not only the widest means.
    """
    means = [entry for entry in layout.entries if isinstance(entry, Mean) and len(entry.groups) > 1]
    widest = max((len(entry.groups) for entry in means), default=0)
    widest_means = [entry for entry in means if len(entry.groups) == widest]
    entries = layout.entries if every_column or not widest_means else widest_means
    for line in rows:
        records = [r for cell in line.cells.values() for r in cell.finished_runs]
        paper = _counterpart(records, line.keys)
        if paper is None:
            continue
        deviations = []
        for entry in entries:
            estimate = line.values[entry.name].estimate
            if estimate is not None and entry.name in paper.values:
                text = line.values[entry.name].text(1, " ")
                deviations.append(Deviation(entry.name, 100 * estimate.value, text, paper.values[entry.name]))
        if deviations:
            keys = [f"{key} {value}" for key, value in zip(layout.row_keys, line.keys, strict=True)]
            name = ", ".join([line.method, *keys])
            yield PublishedComparison(line, name, paper, tuple(deviations), fact_pairs(records, paper))


def _counterpart(records: Sequence[Record], keys: tuple[str, ...]) -> Paper | None:
    """The published row to compare with the records of a row, or None."""
    if not records or any(r.config["selection"]["report_on"] != "test" for r in records):
        return None
    if any(r.config["selection"].get("trained_on") for r in records):  # trained on other data
        return None
    if any(r.provenance.get("data", {}).get("fake") for r in records):
        return None
    names = records[0].names
    is_searched = bool(names.get("search"))
    return published_results.published_counterpart(names["data"], names["method"], is_searched, names["backbone"], keys)


def published_columns(
    groups: Sequence[Sequence[WideRow]], layout: Layout, every_column: bool = False
) -> tuple[list[str], list[list[str]]]:
    """Further columns of a table with published values and deviations, and their cells for each row of all groups."""
    comparisons: dict[int, PublishedComparison] = {}  # by the id of a row
    names: dict[str, None] = {}
    for rows in groups:
        for comparison in published_comparisons(rows, layout, every_column):
            comparisons[id(comparison.line)] = comparison
            names |= dict.fromkeys(deviation.name for deviation in comparison.deviations)
    lines = [line for rows in groups for line in rows]
    if not comparisons:
        return [], [[] for _ in lines]
    head = [f"{prefix} {name}" for name in names for prefix in ("published", "deviation")]
    body = [_published_cells(comparisons.get(id(line)), list(names)) for line in lines]
    return [*head, "published in", "causes"], body


def _published_cells(comparison: PublishedComparison | None, names: Sequence[str]) -> list[str]:
    """The cells of one row; empty where it has no counterpart."""
    if comparison is None:
        return [""] * (2 * len(names) + 2)
    deviations = {deviation.name: deviation for deviation in comparison.deviations}
    cells = []
    for name in names:
        deviation = deviations.get(name)
        cells += [f"{round(deviation.published, 2):.2f}", f"{deviation.value:.2f}"] if deviation else ["", ""]
    return [*cells, comparison.paper.source, comparison.causes]


def fact_pairs(records: Sequence[Record], paper: Paper) -> tuple[FactPair, ...]:
    """The facts of the records of a row, each beside that of the published row."""
    names = FACTS_OF_TEXTS if records[0].config["data"].get("template") else FACTS
    ours = {fact: [_fact(r, fact) for r in records] for fact in names if fact != "seeds"}
    tasks: dict[str, set[tuple[int, int]]] = {}
    for r in records:
        tasks.setdefault(r.names["task"], set()).add(draw_of(r))
    ours["seeds"] = [str(len(draws)) for draws in tasks.values()]
    pairs = []
    for fact in names:
        pairs.append(FactPair(fact, " and ".join(sorted(set(ours[fact]))), paper.facts.get(fact, NOT_STATED)))
    return tuple(pairs)


def _fact(r: Record, fact: str) -> str:
    data, weights = r.provenance.get("data", {}), r.provenance.get("weights", {})
    if fact in ("template", "loss_on", "protocol", "shots", "harness", "rank", "examples"):
        return _fact_of_texts(r, fact)
    if fact == "extraction":
        value = data.get("extraction")
    elif fact == "normalisation":
        value = (data.get("preprocess") or "").rpartition("_")[2]
    elif fact == "checkpoint":
        value = " of ".join(filter(None, (weights.get("source"), r.names["backbone"])))
    else:
        tuned = f", {PUBLISHED}" if r.config["selection"].get(TUNED.partition(".")[2]) else ""
        value = f"{r.config['selection']['rule']}{tuned}"
    return value or NOT_STATED


def _fact_of_texts(r: Record, fact: str) -> str:
    """A fact about how a language model was trained or asked."""
    if fact == "examples":
        count = ((r.cost.get("stages") or {}).get("train") or {}).get("examples")
        return f"{count:,}" if count else NOT_STATED
    if fact == "shots":
        return str(r.config["data"].get("shots", 0))
    if fact == "harness":
        return str(r.provenance.get("data", {}).get("harness") or "glorabench")
    value = r.config["method" if fact == "rank" else "data"].get(fact)
    return NOT_STATED if value is None else str(value)
