"""Quoted: the published table of a suite, every number of it marked with its source."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace

from glorabench import papers, sheets, stats
from glorabench.forms import Part
from glorabench.layouts import LAYOUTS, Layout
from glorabench.papers import Paper
from glorabench.wide import Line, Value

_COLUMNS = ("backbone", "method", "of", "value", "kind", "params_m", "source", "note")
_NOTES = (
    "published figures, none of them measured here: [pK] behind each says where it was printed; -: not printed there, "
    "or on which classes it was scored is not stated; {}; n: seeds, where they are known "
    "(results/published/methods.csv); params: as printed. One row for each method: of those whose note finds no fault "
    "the one whose source measured it, else the first that quotes it; --format csv has all {} rows, with notes. Means "
    "are computed here from the row's tasks, or as printed where it has not all of them."
)


def parts(suite: str) -> list[Part]:
    """The published table of a suite, one part for each backbone."""
    rows, layout = papers.chosen(suite), LAYOUTS[suite]
    sources = {source: f"p{n}" for n, source in enumerate(dict.fromkeys(row.source for row in rows), start=1)}
    made = []
    for backbone in dict.fromkeys(row.backbone for row in rows):
        own = [row for row in rows if row.backbone == backbone]
        lines = [_line(row, sources[row.source], layout) for row in sorted(own, key=lambda p: p.wrong)]
        head, body = sheets.sheet(lines, layout)
        told = [f"[{sources[s]}] {s}" for s in dict.fromkeys(row.source for row in own)] + _noted(own, layout)
        title = f"published figures of {backbone} on suite {suite}, none measured here"
        made.append(Part(title, head, body, told, "", *sheets.blocks(layout)))
    said = _NOTES.format(layout.notes, len(papers.papers(suite)))
    return [*made[:-1], replace(made[-1], notes=said)]


def _noted(rows: Sequence[Paper], layout: Layout) -> list[str]:
    """What the files note of the rows, each once, with the methods, and where there are several the shots, that it is
    said of."""
    found: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        if row.note:
            found.setdefault(row.note, {}).setdefault(row.method, []).append(" ".join(row.by))
    many = len({row.by for row in rows}) > 1
    of = [[f"{m} ({layout.by[0]} {', '.join(by)})" if many else m for m, by in each.items()] for each in found.values()]
    return [f"{', '.join(names)}: {note}" for names, note in zip(of, found, strict=True)]


def _line(row: Paper, source: str, layout: Layout) -> Line:
    values = {}
    for entry in layout.entries:
        printed = row.values.get(entry.name)
        shown = stats.Estimate(0.01 * (printed or 0.0), float("nan"), float("nan"), 1)
        values[entry.name] = Value(None, "-") if printed is None else Value(shown, mark=f" [{source}]")
    size = f"{row.params} M [{source}]" if row.params else ""
    return Line(row.method, row.by, values, row.facts.get("seeds", ""), (size, "", ""))


def as_csv(suite: str) -> str:
    """Every published value of a suite, and every mean of them, in a line of its own, with source and note."""
    layout, out = LAYOUTS[suite], io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_COLUMNS[:2], *layout.by, *_COLUMNS[2:]])
    for row in papers.papers(suite):
        for name in (entry.name for entry in layout.entries if entry.name in row.values):
            value = f"{round(row.values[name], 2):g}"
            kind = "computed from published" if name in row.computed else "published"
            about = [kind, row.params, row.source, row.note]
            writer.writerow([row.backbone, row.method, *row.by, name, value, *about])
    return out.getvalue()


def suites() -> Sequence[str]:
    """Those that have published figures."""
    return [suite for suite in LAYOUTS if papers.papers(suite)]
