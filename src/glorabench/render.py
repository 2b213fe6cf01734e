"""How a table is shown: on a terminal, as Markdown, as CSV, or inside a marked block of a file."""

from __future__ import annotations

import csv as library
import io
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from glorabench import wide
from glorabench.cells import comparable
from glorabench.errors import BadInput
from glorabench.gathered import gathered
from glorabench.layouts import Layout, layout_of
from glorabench.record import Record
from glorabench.table import COLUMNS, FAKE, fake, findings, notes, rows

_LEFT = ("task", "method")


def main(suite: str, results: Path | None, form: str, into: Path | None, long: bool = False) -> int:
    """The `table` command: records of a suite below `results`, shown as `form` or written `into` a file; `long` has a
    row for each task and method also where the suite has a layout.

    Raises:
        BadInput: there are no records, one is corrupt, or the file has no markers for the suite.
    """
    records = gathered(suite, results)[1]
    if into is not None:
        embed(markdown(records, long), suite, into)
    elif form == "text":
        show(records, long)
    else:
        print({"md": markdown, "csv": csv}[form](records, long), end="")
    return 0


def embed(text: str, suite: str, path: Path) -> None:
    """Replace what stands between `<!-- table:SUITE -->` and `<!-- /table:SUITE -->`.

    Raises:
        BadInput: the file does not exist or has no such markers.
    """
    if not path.is_file():
        raise BadInput(f"no file {path}")
    begin, end = f"<!-- table:{suite} -->\n", f"<!-- /table:{suite} -->"
    whole, count = re.subn(
        re.escape(begin) + r".*?" + re.escape(end), lambda _: begin + text + end, path.read_text(), flags=re.DOTALL
    )
    if count != 1:
        raise BadInput(f"{path} needs one block {begin.strip()} ... {end}, found {count}")
    path.write_text(whole)


def markdown(records: Sequence[Record], long: bool = False) -> str:
    """The table, its notes and findings as Markdown; one for each protocol, selection and backbone."""
    groups, layout = comparable(records), None if long else layout_of(records)
    said = len(groups) > 1 or fake(records)
    return "\n".join(
        (f"**{title_of(group, True)}**\n\n" if said else "") + _markdown(group, layout) for group in groups
    )


def _markdown(records: Sequence[Record], layout: Layout | None) -> str:
    if layout is None:
        lines, told = [*grid(COLUMNS, rows(records), _LEFT), "", notes(records)], findings(records)
    else:
        made = wide.lines(records, layout)
        lines = [*grid(*wide.sheet(made, layout, " "), _LEFT), "", wide.notes(records, layout)]
        told = [*wide.gaps(made, layout), *findings(records)]
    return "\n".join([*lines, "", *(f"- {line}" for line in told)]) + "\n"


def grid(columns: Sequence[str], body: Iterable[Sequence[str]], left: Sequence[str]) -> list[str]:
    """The lines of a Markdown table; the columns `left` hold words, the others numbers."""
    rule = ["---" if name in left else "---:" for name in columns]
    return [f"| {' | '.join(line)} |" for line in (columns, rule, *body)]


def csv(records: Sequence[Record], long: bool = False) -> str:
    """The table as comma-separated values; the rows of a wide one say their backbone, selection and protocol."""
    layout = None if long else layout_of(records)
    if layout is None:
        head, body = [*COLUMNS], [[*row] for row in rows(records)]
    else:
        head, body = ["backbone", "selection", "protocol", *wide.sheet([], layout, None)[0]], []
        for group in comparable(records):
            of = [group[0].names["backbone"], _selection(group[0]), str(group[0].protocol)]
            body += [[*of, *row] for row in wide.sheet(wide.lines(group, layout), layout, None)[1]]
    if fake(records):
        head, body = [*head, "images"], [[*row, FAKE] for row in body]
    out = io.StringIO()
    library.writer(out, lineterminator="\n").writerows([head, *body])
    return out.getvalue()


def show(records: Sequence[Record], long: bool = False) -> None:
    """Print a table, its findings and notes; one for each protocol, selection and backbone."""
    layout = None if long else layout_of(records)
    for group in comparable(records):
        _show(group, layout)


def _show(records: Sequence[Record], layout: Layout | None) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    # no markup: names hold words in brackets
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False, markup=False)
    title = title_of(records, layout is not None)
    if layout is None:
        shown = Table(title=title)
        for name in COLUMNS:
            shown.add_column(name, justify="left" if name in _LEFT else "right")
        for row in rows(records):
            shown.add_row(*row)
        console.print(shown)
    else:
        made = wide.lines(records, layout)
        console.print(title, style="italic", soft_wrap=True)
        for columns, body in wide.pages(made, layout, console.width):
            shown = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
            for name in columns:
                shown.add_column(name, justify="left" if name in _LEFT else "right", no_wrap=True)
            for row in body:
                shown.add_row(*row)
            console.print(shown, "")
        for line in wide.gaps(made, layout):
            console.print(line, soft_wrap=True)
    for line in findings(records):
        console.print(line, soft_wrap=True)
    console.print(notes(records) if layout is None else wide.notes(records, layout), style="dim", soft_wrap=True)


def title_of(records: Sequence[Record], whole: bool) -> str:
    """What a table is of, with the whole of the selection or the split that it is scored on."""
    names, report_on = records[0].names, records[0].config["selection"]["report_on"]
    said = _selection(records[0]) if whole else f"scored on {report_on}"
    warning = f"{FAKE}: " if fake(records) else ""
    return f"{warning}{len(records)} runs of {names['backbone']} on suite {names['data']}, {said}"


def _selection(r: Record) -> str:
    selection = r.config["selection"]
    return f"scored on {selection['report_on']}, trained on {selection['fit_on']}, {selection['rule']}"
