"""How a table is shown: on a terminal, as Markdown, as CSV, or inside a marked block of a file."""

from __future__ import annotations

import csv as library
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from glorabench import conditions, deviation, forms, quoted, sheets, wide
from glorabench.cells import comparable
from glorabench.forms import Part
from glorabench.gathered import by_file, nothing
from glorabench.layouts import layout_of
from glorabench.output import put
from glorabench.record import Record
from glorabench.table import COLUMNS, FAKE, fake, findings, notes, rows

_AGAINST = "ours against published figures"
grid = forms.grid


def main(
    suite: str,
    results: Path | None,
    form: str,
    into: str | None,
    where: Sequence[str] = (),
    long: bool = False,
    published: bool = False,
    brief: bool = False,
) -> int:
    """The `table` command; without records it is the published table, unless `results` is no folder.

    Args:
        suite: of the records.
        results: folder of the records.
        form: text, md, csv, tex or html.
        into: a file, see `output.put`.
        where: KEY=VALUE, conditions on the records; a published table takes none.
        long: a row for each task and method also where the suite has a layout.
        published: every task is held against what papers print.
        brief: not how each method stands to the best of each task.

    Raises:
        BadInput: there is neither, a record is damaged, no record meets the conditions, they are of several protocols
            or selections, or the file has no block for the suite.
    """
    records, wanted = list(by_file(suite, results).values()), conditions.read(where)
    if records:
        records = conditions.matching(records, wanted)
        conditions.one_protocol(records)
    elif wanted or suite not in quoted.suites() or (results is not None and not results.is_dir()):
        raise nothing(suite, results, quoted.suites())
    if not records:
        print(f"no records of suite '{suite}': these are published figures", file=sys.stderr)
    if form == "csv" and into is None:
        print(csv(records, long, published) if records else quoted.as_csv(suite), end="")
        return 0
    made = parts(records, long, published, brief) if records else quoted.parts(suite)
    put(made, form, into, f"table:{suite}", _markdown(made, records) if records else None)
    return 0


def markdown(records: Sequence[Record], long: bool = False, published: bool = False) -> str:
    """The table, its notes and findings as Markdown; one for each protocol, selection and backbone."""
    return _markdown(parts(records, long, published), records)


def _markdown(made: Sequence[Part], records: Sequence[Record]) -> str:
    said = len(comparable(records)) > 1 or fake(records)
    return "\n".join(forms.markdown(part, titled=said or part.title == _AGAINST) for part in made)


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
        told, cuts = [*wide.gaps(lines, layout), *said], sheets.blocks(layout)
        made.append(Part(title, *sheets.sheet(lines, layout), told, wide.notes(group, layout), *cuts))
        if found := list(deviation.against(lines, layout, published)):
            body = [row for each in found for row in each.rows()]
            made.append(Part(_AGAINST, deviation.COLUMNS, body, [each.told for each in found], deviation.NOTE))
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
        head = ["backbone", "selection", "protocol", *sheets.exact([], layout)[0]]
        body = []
        for group, made in lines:
            of = [group[0].names["backbone"], _selection(group[0]), str(group[0].protocol)]
            body += [[*of, *row] for row in sheets.exact(made, layout)[1]]
        added = deviation.beside([made for _, made in lines], layout, published)
        head, body = [*head, *added[0]], [[*row, *more] for row, more in zip(body, added[1], strict=True)]
    if fake(records):
        head, body = [*head, "images"], [[*row, FAKE] for row in body]
    out = io.StringIO()
    library.writer(out, lineterminator="\n").writerows([head, *body])
    return out.getvalue()


def show(records: Sequence[Record], long: bool = False, published: bool = False) -> None:
    """Print a table, its findings and notes; one for each protocol, selection and backbone."""
    for part in parts(records, long, published):
        forms.show(part)


def title_of(records: Sequence[Record], whole: bool) -> str:
    """What a table is of, with the whole of the selection or the split that it is scored on."""
    names, report_on = records[0].names, records[0].config["selection"]["report_on"]
    said = _selection(records[0]) if whole else f"scored on {report_on}"
    warning = f"{FAKE}: " if fake(records) else ""
    return f"{warning}{len(records)} runs of {names['backbone']} on suite {names['data']}, {said}"


def _selection(r: Record) -> str:
    selection = r.config["selection"]
    return f"scored on {selection['report_on']}, trained on {selection['fit_on']}, {selection['rule']}"
