"""How a table is shown: on a terminal, as Markdown, as CSV, or inside a marked block of a file."""

from __future__ import annotations

import csv as library
import io
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from glorabench import record
from glorabench.cells import comparable
from glorabench.errors import BadInput
from glorabench.record import Record
from glorabench.table import COLUMNS, findings, notes, rows

_LEFT = ("task", "method")


def main(suite: str, results: Path | None, form: str, into: Path | None) -> int:
    """The `table` command: records of a suite below `results`, shown as `form` or written `into` a file.

    Raises:
        BadInput: there are no records, one is corrupt, or the file has no markers for the suite.
    """
    folders = [results] if results else [Path("results/local"), Path("results")]
    folder = next((f for f in folders if (f / "runs" / suite).is_dir()), None)
    if folder is None:
        raise BadInput(
            f"no records of suite '{suite}' below {' or '.join(map(str, folders))}: make some with `glorabench run`"
        )
    records = record.read_all([folder / "runs" / suite])
    records.sort(key=lambda r: (r.names["task"], r.names["method"], r.run_id))
    if into is not None:
        embed(markdown(records), suite, into)
    elif form == "text":
        show(records)
    else:
        print({"md": markdown, "csv": csv}[form](records), end="")
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


def markdown(records: Sequence[Record]) -> str:
    """The table, its notes and findings as Markdown."""
    return (
        "\n".join(
            [
                *grid(COLUMNS, rows(records), _LEFT),
                "",
                notes(records),
                "",
                *(f"- {finding}" for finding in findings(records)),
            ]
        )
        + "\n"
    )


def grid(columns: Sequence[str], body: Iterable[Sequence[str]], left: Sequence[str]) -> list[str]:
    """The lines of a Markdown table; the columns `left` hold words, the others numbers."""
    rule = ["---" if name in left else "---:" for name in columns]
    return [f"| {' | '.join(line)} |" for line in (columns, rule, *body)]


def csv(records: Sequence[Record]) -> str:
    """The table as comma-separated values."""
    out = io.StringIO()
    library.writer(out, lineterminator="\n").writerows([COLUMNS, *rows(records)])
    return out.getvalue()


def show(records: Sequence[Record]) -> None:
    """Print a table, its findings and notes; one for each protocol, selection and backbone."""
    for group in comparable(records):
        _show(group)


def _show(records: Sequence[Record]) -> None:
    from rich.console import Console
    from rich.table import Table

    # no markup: names hold words in brackets
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False, markup=False)
    names = records[0].names
    report_on = records[0].config["selection"]["report_on"]
    shown = Table(title=f"{len(records)} runs of {names['backbone']} on suite {names['data']}, scored on {report_on}")
    for name in COLUMNS:
        shown.add_column(name, justify="left" if name in _LEFT else "right")
    for row in rows(records):
        shown.add_row(*row)
    console.print(shown)
    for line in findings(records):
        console.print(line, soft_wrap=True)
    console.print(notes(records), style="dim", soft_wrap=True)
