"""The elements of the report: tables to sort and filter, and the CSV file of each table and figure."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote

_NUMBER = re.compile(r"[+-]?(\d|\.\d)")  # what a cell of a column of numbers begins with; report.js reads the same
_WIDE = 14  # columns; more of them are printed on a page that is wider than high


def csv_text(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as comma-separated values."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([head, *rows])
    return out.getvalue()


@dataclass(frozen=True)
class Download:
    """A CSV file that is embedded in the page.

    Args:
        text: the content of the file.
        name: the name of its content.
    """

    text: str
    name: str

    @property
    def file(self) -> str:
        """The name of the file."""
        return re.sub(r"[^\w.-]+", "-", self.name) + ".csv"

    @property
    def address(self) -> str:
        """The file as a data address."""
        data = quote(self.text, safe="!*'();:@$,/?[]~+=|{}^`<>").replace("'", "%27")
        return f"data:text/csv;charset=utf-8,{data}"


@dataclass(frozen=True)
class HtmlTable:
    """A table with a filter and its CSV file.

    Args:
        name: the name of its file and of its ids in the page.
        title: the caption.
        head, rows: as text.
        text: the content of the CSV file; empty for that of `head` and `rows`.
    """

    name: str
    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: str = ""

    @property
    def id(self) -> str:
        """The end of its ids in the page."""
        return re.sub(r"[^\w-]+", "-", self.name)

    @property
    def csv(self) -> Download:
        """The CSV file of the table."""
        return Download(self.text or csv_text(self.head, self.rows), self.name)

    @property
    def is_wide(self) -> bool:
        """True where the table needs a page that is wider than high in print."""
        return len(self.head) > _WIDE

    @cached_property
    def kinds(self) -> list[str]:
        """`number` for a column in which at least half of the filled cells begin with a number, else `text`."""
        return ["number" if _is_numeric([row[i] for row in self.rows]) else "text" for i in range(len(self.head))]


def _is_numeric(cells: Iterable[str]) -> bool:
    texts = [cell for cell in cells if cell.strip("- ")]
    return 2 * sum(bool(_NUMBER.match(cell.strip())) for cell in texts) >= len(texts)
