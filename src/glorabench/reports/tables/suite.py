"""The table of a suite, wide or long, as parts to render or as CSV."""

from __future__ import annotations

import csv as library
import io
from collections.abc import Sequence
from dataclasses import replace

from glorabench.analysis.cells import Group, groups_of, named_groups_of
from glorabench.analysis.costs import points
from glorabench.analysis.suite_layouts import layout_of
from glorabench.analysis.tie_groups import ranking
from glorabench.records.record import Record
from glorabench.reports import rendering
from glorabench.reports.answer import answer_of
from glorabench.reports.captions import FAKE, any_fake, selection_text, title_of
from glorabench.reports.rendering import Part
from glorabench.reports.tables import long as long_table
from glorabench.reports.tables import published as published_tables
from glorabench.reports.tables import wide
from glorabench.reports.terminal import show_part

_AGAINST = "ours against published figures"


def suite_markdown(records: Sequence[Record], long: bool = False, published: bool = False) -> str:
    """The table, its notes and findings as Markdown; one table for each protocol, selection and backbone."""
    groups = groups_of(records)
    return parts_markdown(suite_parts(groups, long, published), groups)


def parts_markdown(tables: Sequence[Part], groups: Sequence[Group]) -> str:
    """Render tables as Markdown, with titles where there are several."""
    has_titles = len(groups) > 1 or any(any_fake(group.records) for group in groups)
    return "\n".join(rendering.part_markdown(part, with_title=has_titles or part.title == _AGAINST) for part in tables)


def suite_parts(
    groups: Sequence[Group], long: bool = False, published: bool = False, brief: bool = False
) -> list[Part]:
    """The tables of groups of records, each followed by a comparison with published figures where there are any.

    Args:
        groups: the groups of records.
        long: a row for each task and method, instead of the layout of the suite.
        published: compare with published figures task by task, too.
        brief: leave out the findings on each task.
    """
    layout = None if long else layout_of(r for group in groups for r in group.records)
    tables = []
    for group in groups:
        title, findings = title_of(group.records, layout is not None), [] if brief else long_table.findings(group)
        if layout is None:
            body = long_table.long_rows(group)
            tables.append(Part(title, long_table.long_columns(group), body, findings, long_table.long_notes(group)))
            continue
        lines = wide.sorted_by_mean(wide.wide_rows(group, layout), layout)
        gaps, cuts = wide.row_gaps(lines, layout), wide.wide_blocks(layout)
        head_and_body = wide.wide_text(lines, layout)
        notes = wide.wide_notes(group, layout)
        tables.append(Part(title, *head_and_body, [*gaps, *findings], notes, *cuts, gaps=gaps))
        tables += _against_published(lines, layout, published)
    return tables


def _against_published(lines: Sequence[wide.WideRow], layout: wide.Layout, every_column: bool) -> list[Part]:
    comparisons = list(published_tables.published_comparisons(lines, layout, every_column))
    if not comparisons:
        return []
    body = [row for comparison in comparisons for row in comparison.rows()]
    conclusions = [comparison.conclusion for comparison in comparisons]
    head, note = published_tables.DEVIATION_COLUMNS, published_tables.DEVIATION_NOTE
    return [Part(_AGAINST, head, body, conclusions, note)]


def suite_csv(groups: Sequence[Group], long: bool = False, published: bool = False) -> str:
    """The table as CSV; the rows of a wide table begin with backbone, selection and protocol."""
    layout = None if long else layout_of(r for group in groups for r in group.records)
    head, body = _long_csv(groups) if layout is None else _wide_csv(groups, layout, published)
    if any(any_fake(group.records) for group in groups):
        head, body = [*head, "images"], [[*row, FAKE] for row in body]
    out = io.StringIO()
    library.writer(out, lineterminator="\n").writerows([head, *body])
    return out.getvalue()


def _long_csv(groups: Sequence[Group]) -> tuple[list[str], list[list[str]]]:
    with_backbone = len(groups) > 1
    head = [*(["backbone"] if with_backbone else []), *long_table.long_columns(groups[0])]
    body = []
    for group in groups:
        backbone = [group.records[0].names["backbone"]] if with_backbone else []
        body += [[*backbone, *row] for row in long_table.long_rows(group)]
    return head, body


def _wide_csv(groups: Sequence[Group], layout: wide.Layout, published: bool) -> tuple[list[str], list[list[str]]]:
    lines_of = [wide.wide_rows(group, layout) for group in groups]
    head = ["backbone", "selection", "protocol", *wide.wide_exact([], layout)[0]]
    body = []
    for group, lines in zip(groups, lines_of, strict=True):
        first = group.records[0]
        origin = [first.names["backbone"], selection_text(first), str(first.protocol)]
        body += [[*origin, *row] for row in wide.wide_exact(lines, layout)[1]]
    more_head, other_cells = published_tables.published_columns(lines_of, layout, published)
    return [*head, *more_head], [[*row, *cells] for row, cells in zip(body, other_cells, strict=True)]


def with_sentences(tables: Sequence[Part], groups: Sequence[Group]) -> list[Part]:
    """Put the answer of each group before its table; a table against published figures has no such sentence."""
    own = iter(groups)
    return [part if part.title == _AGAINST else replace(part, lead=answer_sentences(next(own))) for part in tables]


def answer_sentences(group: Group) -> tuple[str, ...]:
    """The answer that the records of a group give; nothing where they hold one configuration."""
    all_points = points(group)
    of_group = ranking(group, all_points)
    if len(of_group.order) < 2:
        return ()
    answer = answer_of(all_points, of_group)
    return tuple(dict.fromkeys((answer.sentence, *answer.more)))


def show_suite(records: Sequence[Record], long: bool = False, notes: bool = False) -> None:
    """Print the answer, the table and what it lacks; one table for each protocol, selection and backbone.

    Args:
        records: what the tables are about.
        long: a row for each task and method.
        notes: also print how each method compares with the best of each task, and what the columns mean.
    """
    show_groups(named_groups_of(records), long, notes)


def show_groups(groups: Sequence[Group], long: bool = False, notes: bool = False) -> None:
    """Print what `show_suite` prints, of records that are grouped already."""
    for part in with_sentences(suite_parts(groups, long), groups):
        show_part(part, notes)
