"""The table of a suite, wide or long, as parts to render or as CSV."""

from __future__ import annotations

import csv as library
import io
from collections.abc import Sequence

from glorabench.analysis.suite_layouts import layout_of
from glorabench.records.compatibility import comparable
from glorabench.records.record import Record
from glorabench.reports import rendering
from glorabench.reports.captions import FAKE, fake, selection_text, title_of
from glorabench.reports.rendering import Part
from glorabench.reports.tables import published as published_tables
from glorabench.reports.tables import wide
from glorabench.reports.tables.long import COLUMNS, findings, notes, rows

_AGAINST = "ours against published figures"


def markdown(records: Sequence[Record], long: bool = False, published: bool = False) -> str:
    """The table, its notes and findings as Markdown; one for each protocol, selection and backbone."""
    return parts_markdown(parts(records, long, published), records)


def parts_markdown(made: Sequence[Part], records: Sequence[Record]) -> str:
    """Tables as Markdown, with their titles where there are several."""
    said = len(comparable(records)) > 1 or fake(records)
    return "\n".join(rendering.markdown(part, titled=said or part.title == _AGAINST) for part in made)


def parts(records: Sequence[Record], long: bool = False, published: bool = False, brief: bool = False) -> list[Part]:
    """The tables of the records, one for each protocol, selection and backbone, behind each the published figures that
    it is held against, with `published` also task by task; not what the comparisons on each task say if `brief`."""
    layout, made = None if long else layout_of(records), []
    for group in comparable(records):
        title, said = title_of(group, layout is not None), [] if brief else findings(group)
        if layout is None:
            made.append(Part(title, COLUMNS, rows(group), said, notes(group)))
            continue
        lines = wide.lines(group, layout)
        told, cuts = [*wide.gaps(lines, layout), *said], wide.blocks(layout)
        made.append(Part(title, *wide.sheet(lines, layout), told, wide.notes(group, layout), *cuts))
        if found := list(published_tables.against(lines, layout, published)):
            body = [row for each in found for row in each.rows()]
            made.append(
                Part(
                    _AGAINST,
                    published_tables.DEVIATION_COLUMNS,
                    body,
                    [each.told for each in found],
                    published_tables.DEVIATION_NOTE,
                )
            )
    return made


def csv(records: Sequence[Record], long: bool = False, published: bool = False) -> str:
    """The table as comma-separated values; the rows of a wide one say their backbone, selection and protocol."""
    layout = None if long else layout_of(records)
    if layout is None:
        groups = comparable(records)
        backbone = ["backbone"] if len(groups) > 1 else []
        head = [*backbone, *COLUMNS]
        body = [[*(of[0].names[key] for key in backbone), *row] for of in groups for row in rows(of)]
    else:
        lines = [(group, wide.lines(group, layout)) for group in comparable(records)]
        head = ["backbone", "selection", "protocol", *wide.exact([], layout)[0]]
        body = []
        for group, made in lines:
            of = [group[0].names["backbone"], selection_text(group[0]), str(group[0].protocol)]
            body += [[*of, *row] for row in wide.exact(made, layout)[1]]
        added = published_tables.beside([made for _, made in lines], layout, published)
        head, body = [*head, *added[0]], [[*row, *more] for row, more in zip(body, added[1], strict=True)]
    if fake(records):
        head, body = [*head, "images"], [[*row, FAKE] for row in body]
    out = io.StringIO()
    library.writer(out, lineterminator="\n").writerows([head, *body])
    return out.getvalue()


def show(records: Sequence[Record], long: bool = False, published: bool = False) -> None:
    """Print a table, its findings and notes; one for each protocol, selection and backbone."""
    for part in parts(records, long, published):
        rendering.show(part)
