"""The table of a suite, wide or long, as parts to render or as CSV."""

from __future__ import annotations

import csv as library
import io
from collections.abc import Sequence

from glorabench.analysis.cells import Group, groups_of
from glorabench.analysis.suite_layouts import layout_of
from glorabench.records.record import Record
from glorabench.reports import rendering
from glorabench.reports.captions import FAKE, fake, selection_text, title_of
from glorabench.reports.rendering import Part
from glorabench.reports.tables import long as long_table
from glorabench.reports.tables import published as published_tables
from glorabench.reports.tables import wide

_AGAINST = "ours against published figures"


def markdown(records: Sequence[Record], long: bool = False, published: bool = False) -> str:
    """The table, its notes and findings as Markdown; one for each protocol, selection and backbone."""
    groups = groups_of(records)
    return parts_markdown(parts(groups, long, published), groups)


def parts_markdown(tables: Sequence[Part], groups: Sequence[Group]) -> str:
    """Tables as Markdown, with their titles where there are several."""
    titled = len(groups) > 1 or any(fake(group.records) for group in groups)
    return "\n".join(rendering.markdown(part, titled=titled or part.title == _AGAINST) for part in tables)


def parts(groups: Sequence[Group], long: bool = False, published: bool = False, brief: bool = False) -> list[Part]:
    """The tables of groups of records, behind each the published figures that it is held against, with `published` also
    task by task; not what the comparisons on each task say if `brief`."""
    layout = None if long else layout_of(r for group in groups for r in group.records)
    tables = []
    for group in groups:
        title, findings = title_of(group.records, layout is not None), [] if brief else long_table.findings(group)
        if layout is None:
            body = long_table.rows(group)
            tables.append(Part(title, long_table.columns(group), body, findings, long_table.notes(group)))
            continue
        lines = wide.lines(group, layout)
        remarks, cuts = [*wide.gaps(lines, layout), *findings], wide.blocks(layout)
        tables.append(Part(title, *wide.sheet(lines, layout), remarks, wide.notes(group, layout), *cuts))
        tables += _against_published(lines, layout, published)
    return tables


def _against_published(lines: Sequence[wide.Line], layout: wide.Layout, every_column: bool) -> list[Part]:
    pairs = list(published_tables.against(lines, layout, every_column))
    if not pairs:
        return []
    body = [row for pair in pairs for row in pair.rows()]
    causes = [pair.told for pair in pairs]
    head, note = published_tables.DEVIATION_COLUMNS, published_tables.DEVIATION_NOTE
    return [Part(_AGAINST, head, body, causes, note)]


def csv(groups: Sequence[Group], long: bool = False, published: bool = False) -> str:
    """The table as comma-separated values; the rows of a wide one say their backbone, selection and protocol."""
    layout = None if long else layout_of(r for group in groups for r in group.records)
    head, body = _long_csv(groups) if layout is None else _wide_csv(groups, layout, published)
    if any(fake(group.records) for group in groups):
        head, body = [*head, "images"], [[*row, FAKE] for row in body]
    out = io.StringIO()
    library.writer(out, lineterminator="\n").writerows([head, *body])
    return out.getvalue()


def _long_csv(groups: Sequence[Group]) -> tuple[list[str], list[list[str]]]:
    named = len(groups) > 1
    head = [*(["backbone"] if named else []), *long_table.columns(groups[0])]
    body = []
    for group in groups:
        backbone = [group.records[0].names["backbone"]] if named else []
        body += [[*backbone, *row] for row in long_table.rows(group)]
    return head, body


def _wide_csv(groups: Sequence[Group], layout: wide.Layout, published: bool) -> tuple[list[str], list[list[str]]]:
    lines_of = [wide.lines(group, layout) for group in groups]
    head = ["backbone", "selection", "protocol", *wide.exact([], layout)[0]]
    body = []
    for group, lines in zip(groups, lines_of, strict=True):
        first = group.records[0]
        about = [first.names["backbone"], selection_text(first), str(first.protocol)]
        body += [[*about, *row] for row in wide.exact(lines, layout)[1]]
    more_head, more = published_tables.beside(lines_of, layout, published)
    return [*head, *more_head], [[*row, *cells] for row, cells in zip(body, more, strict=True)]


def show(records: Sequence[Record], long: bool = False, published: bool = False) -> None:
    """Print a table, its findings and notes; one for each protocol, selection and backbone."""
    for part in parts(groups_of(records), long, published):
        rendering.show(part)
