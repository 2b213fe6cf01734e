"""Tables of published figures, and ours beside them with the facts in which the runs differ."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from glorabench.analysis import published_results, statistics
from glorabench.analysis.labels import PUBLISHED, TUNED
from glorabench.analysis.published_results import FACTS, Paper
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
_ACCURACY = Metric("accuracy", "accuracy")  # what all of these papers print
DEVIATION_COLUMNS = ("method", "of", "ours", "published", "deviation")
LEFT = ("method", "of")
DEVIATION_NOTE = (
    "deviation: ours minus published, in points. A cause is a fact in which our runs differ from the published ones: "
    f"it may explain a deviation and is not proven to. {DETAILS}"
)


def published_parts(suite: str) -> list[Part]:
    """The published table of a suite, one part for each backbone."""
    rows, layout = published_results.papers_of_methods(suite), LAYOUTS[suite]
    sources = {source: f"p{n}" for n, source in enumerate(dict.fromkeys(row.source for row in rows), start=1)}
    made = []
    for backbone in dict.fromkeys(row.backbone for row in rows):
        own = [row for row in rows if row.backbone == backbone]
        lines = [_line(row, sources[row.source], layout) for row in sorted(own, key=lambda p: p.is_wrong)]
        head, body = wide.sheet(lines, layout)
        told = [f"[{sources[s]}] {s}" for s in dict.fromkeys(row.source for row in own)] + _noted(own, layout)
        title = f"published figures of {backbone} on suite {suite}, none measured here"
        made.append(Part(title, head, body, told, "", *wide.blocks(layout)))
    said = _NOTES.format(layout.notes, len(published_results.papers(suite)))
    return [*made[:-1], replace(made[-1], notes=said)]


def _noted(rows: Sequence[Paper], layout: Layout) -> list[str]:
    """What the files note of the rows, each once, with the methods, and where there are several the shots, that it is
    said of."""
    found: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        if row.note:
            found.setdefault(row.note, {}).setdefault(row.method, []).append(" ".join(row.keys))
    many = len({row.keys for row in rows}) > 1
    of = [[f"{m} ({layout.by[0]} {', '.join(by)})" if many else m for m, by in each.items()] for each in found.values()]
    return [f"{', '.join(names)}: {note}" for names, note in zip(of, found, strict=True)]


def _line(row: Paper, source: str, layout: Layout) -> WideRow:
    values = {}
    for entry in layout.entries:
        printed = row.values.get(entry.name)
        if printed is None:
            values[entry.name] = Value(None, blank="-")
        else:
            alone = statistics.Estimate(0.01 * printed, float("nan"), float("nan"), 1)
            values[entry.name] = Value(alone, _ACCURACY, mark=f" [{source}]")
    size = f"{row.params} M [{source}]" if row.params else ""
    return WideRow(row.method, row.keys, values, row.facts.get("seeds", ""), (size, "", ""))


def published_csv(suite: str) -> str:
    """Every published value of a suite, and every mean of them, in a line of its own, with source and note."""
    layout, out = LAYOUTS[suite], io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_CSV_COLUMNS[:2], *layout.by, *_CSV_COLUMNS[2:]])
    for row in published_results.papers(suite):
        for name in (entry.name for entry in layout.entries if entry.name in row.values):
            value = f"{round(row.values[name], 2):g}"
            kind = "computed from published" if name in row.computed_means else "published"
            about = [kind, row.params, row.source, row.note]
            writer.writerow([row.backbone, row.method, *row.keys, name, value, *about])
    return out.getvalue()


def suites() -> Sequence[str]:
    """Those that have published figures."""
    return [suite for suite in LAYOUTS if published_results.papers(suite)]


@dataclass(frozen=True)
class Tag:
    """A fact of how numbers were made, of ours and of theirs."""

    fact: str
    ours: str
    theirs: str

    @property
    def state(self) -> str:
        """`same`, `differs` or `not stated`."""
        if NOT_STATED in (self.ours, self.theirs):
            return NOT_STATED
        if self.fact == "selection":  # what chose the values is said, the rule is compared
            return "same" if self.theirs == self.ours.partition(",")[0] else "differs"
        if self.fact == "checkpoint":  # the name of a file, or of a family of files
            return "same" if self.theirs.lower() in self.ours.lower() else "differs"
        return "same" if self.ours == self.theirs else "differs"


@dataclass(frozen=True)
class Against:
    """One row of ours beside a published one.

    Args:
        line: of ours.
        name: of it.
        paper: what it is held against.
        pairs: name of a column or mean, our value and its text, and theirs, in percent.
        tags: one for each of FACTS.
    """

    line: WideRow
    name: str
    paper: Paper
    pairs: tuple[tuple[str, float, str, float], ...]
    tags: tuple[Tag, ...]

    def rows(self) -> list[tuple[str, ...]]:
        """As text, see COLUMNS."""
        said = ((of, text, f"{theirs:.2f} (published)", ours - theirs) for of, ours, text, theirs in self.pairs)
        return [(self.name, of, text, theirs, f"{round(gap, 2) + 0:+.2f}") for of, text, theirs, gap in said]

    @property
    def told(self) -> str:
        """What it is held against, and the causes that the facts offer."""
        known = f"; facts not in the row itself: {self.paper.evidence}" if self.paper.evidence else ""
        return f"{self.name} against {self.paper.method} [{self.paper.source}]: {self.causes}{known}"

    @property
    def causes(self) -> str:
        """The facts that differ, those that agree and those that are not stated."""
        differs = [f"{t.fact} ({t.ours} here, {t.theirs} there)" for t in self.tags if t.state == "differs"]
        groups = {state: [t.fact for t in self.tags if t.state == state] for state in ("same", NOT_STATED)}
        parts = [f"causes: {', '.join(differs)}" if differs else "no cause among the facts that are known"]
        parts += [f"{state}: {', '.join(facts)}" for state, facts in groups.items() if facts]
        return "; ".join(parts)


def against(made: Sequence[WideRow], layout: Layout, each: bool = False) -> Iterator[Against]:
    """Every row that has a published counterpart, in its means, and with `each` in all its columns.

    Args:
        made: rows of a wide table; none of fake images, or scored on another split than test, has a counterpart.
        layout: of the table.
        each: columns, too.
    """
    overall = [entry for entry in layout.entries if isinstance(entry, Mean) and len(entry.groups) > 1]
    widest = max((len(entry.groups) for entry in overall), default=0)
    entries = layout.entries if each else [entry for entry in overall if len(entry.groups) == widest]
    for line in made:
        records = [r for cell in line.cells.values() for r in cell.done]
        if not all(r.config["selection"]["report_on"] == "test" for r in records):
            continue
        if not records or any(r.provenance.get("data", {}).get("fake") for r in records):
            continue
        names = records[0].names
        paper = published_results.published_counterpart(
            names["data"], names["method"], bool(names.get("search")), names["backbone"], line.by
        )
        if paper is None:
            continue
        pairs = []
        for entry in entries:
            estimate = line.values[entry.name].estimate
            if estimate is not None and entry.name in paper.values:
                text = line.values[entry.name].text(1, " ")
                pairs.append((entry.name, 100 * estimate.value, text, paper.values[entry.name]))
        if pairs:
            name = ", ".join([line.method, *(f"{k} {v}" for k, v in zip(layout.by, line.by, strict=True))])
            yield Against(line, name, paper, tuple(pairs), tags(records, paper))


def beside(
    groups: Sequence[Sequence[WideRow]], layout: Layout, each: bool = False
) -> tuple[list[str], list[list[str]]]:
    """Further columns of a table, and for each row of all groups what stands there; none without a counterpart."""
    found = {id(one.line): one for made in groups for one in against(made, layout, each)}
    names = list(dict.fromkeys(of for one in found.values() for of, *_ in one.pairs))
    if not found:
        return [], [[] for made in groups for _ in made]
    head = [f"{what} {name}" for name in names for what in ("published", "deviation")]
    rows: list[list[str]] = []
    for line in (line for made in groups for line in made):
        one = found.get(id(line))
        pairs = {of: (theirs, ours - theirs) for of, ours, _, theirs in one.pairs} if one else {}
        cells = [
            text for n in names for text in ([f"{round(v, 2) + 0:.2f}" for v in pairs[n]] if n in pairs else ["", ""])
        ]
        rows.append([*cells, *((one.paper.source, one.causes) if one else ("", ""))])
    return [*head, "published in", "causes"], rows


def tags(records: Sequence[Record], paper: Paper) -> tuple[Tag, ...]:
    """The facts of the records of a row and of what it is held against."""
    ours = {fact: [_fact(r, fact) for r in records] for fact in FACTS if fact != "seeds"}
    tasks: dict[str, set[tuple[int, int]]] = {}
    for r in records:
        tasks.setdefault(r.names["task"], set()).add(draw_of(r))
    ours["seeds"] = [str(len(draws)) for draws in tasks.values()]
    return tuple(Tag(fact, " and ".join(sorted(set(ours[fact]))), paper.facts.get(fact, NOT_STATED)) for fact in FACTS)


def _fact(r: Record, fact: str) -> str:
    data, weights = r.provenance.get("data", {}), r.provenance.get("weights", {})
    if fact == "extraction":
        found = data.get("extraction")
    elif fact == "normalisation":
        found = (data.get("preprocess") or "").rpartition("_")[2]
    elif fact == "checkpoint":
        found = " of ".join(filter(None, (weights.get("source"), r.names["backbone"])))
    else:
        tuned = f", {PUBLISHED}" if r.config["selection"].get(TUNED.partition(".")[2]) else ""
        found = f"{r.config['selection']['rule']}{tuned}"
    return found or NOT_STATED
