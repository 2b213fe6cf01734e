"""Pieces of the page as HTML: tables to sort and filter, figures with their numbers, links to CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import quote

from glorabench.reports.figures.figures import Figure

_NUMBER = re.compile(r"[+-]?(\d|\.\d)")  # what a cell of a column of numbers begins with; report.js reads the same

_WIDE = 14  # columns; more of them are printed on a page that is wider than high


def figure(drawn: Figure) -> str:
    """Title, image, note and numbers."""
    note = f"<p>{escape(drawn.note)}</p>" if drawn.note else ""
    link = download(as_csv(drawn.head, drawn.rows), drawn.name)
    return f"<figure><figcaption>{escape(drawn.title)}</figcaption>{drawn.image}{note}<p>{link}</p></figure>"


def note(said: str) -> str:
    """A paragraph of what a reader has to know."""
    return f'<p class="note">{escape(said)}</p>'


def as_csv(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Comma-separated values."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([head, *rows])
    return out.getvalue()


def download(text: str, name: str) -> str:
    """A link that holds a CSV file."""
    data = quote(text, safe="!*'();:@$,/?[]~+=|{}^`<>").replace("'", "%27")
    file = re.sub(r"[^\w.-]+", "-", name)
    target = escape(f"data:text/csv;charset=utf-8,{data}")
    return f'<a class="csv" download="{file}.csv" href="{target}">CSV<span class="vh"> of {escape(name)}</span></a>'


def table(name: str, title: str, head: Sequence[str], rows: Sequence[Sequence[str]], text: str) -> str:
    """A table with a filter and its CSV.

    Args:
        name: of the file, and the ids in the page.
        title: its caption.
        head, rows: as text; a column is of numbers where at least half of what stands in it begins with one.
        text: of the CSV.
    """
    kinds = ["number" if _numeric([row[i] for row in rows]) else "text" for i in range(len(head))]
    columns = "".join(
        f'<th scope="col" class="{kind}" aria-sort="none"><button type="button">{escape(label)}</button></th>'
        for label, kind in zip(head, kinds, strict=True)
    )
    body = "".join(f"<tr>{_row(row, kinds)}</tr>\n" for row in rows)
    spot = re.sub(r"[^\w-]+", "-", name)
    return (
        f'<div class="sheet{" wide" * (len(head) > _WIDE)}"><p class="tools"><label for="f-{spot}">Filter rows</label> '
        f'<input id="f-{spot}" type="search" autocomplete="off" placeholder="words, all of them">'
        f'<span class="count" role="status"></span>{download(text, name)}</p>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(title)}"><table id="t-{spot}">'
        f'<caption class="vh">{escape(title)}</caption><thead><tr>{columns}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div></div>"
    )


def _row(row: Sequence[str], kinds: Sequence[str]) -> str:
    first = f'<th scope="row" class="{kinds[0]}">{escape(row[0])}</th>'
    return first + "".join(
        f'<td class="{kind}">{escape(cell)}</td>' for cell, kind in zip(row[1:], kinds[1:], strict=True)
    )


def _numeric(cells: Iterable[str]) -> bool:
    """True where at least half of the cells that hold anything begin with a number."""
    filled = [cell for cell in cells if cell.strip("- ")]
    return 2 * sum(bool(_NUMBER.match(cell.strip())) for cell in filled) >= len(filled)
