"""Show tables on a terminal: the sentence first, then a table that fits its width, notes on request."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from textwrap import wrap
from typing import Any

from glorabench.errors import printable
from glorabench.reports.rendering import WORD_COLUMNS, Part

LABEL_WIDTH = 28  # characters of a method's name in a line of a terminal
_PAPER = 140  # characters of a line where the output is no terminal
_LATE = ("verdict", "outcome")  # columns that are left out after those of sizes and costs
_FIRST = 3  # columns that are left out last: task, method and score
_STYLES = {"best": "bold green", "tied": "cyan"}
_SIGNS = ((re.compile(r"^\S+\*"), "best"), (re.compile(r"^\S+="), "tied"))
_MORE = "What the signs mean and how each method compares with the best: `glorabench table` with --notes."


def show_part(part: Part, notes: bool = True) -> None:
    """Print the sentences of a table, the table, and what it lacks; with `notes` also findings and notes.

    A wide table is cut into pages. Any other table loses columns from the right, then the verdict, until it fits; the
    names of methods wrap between words.
    """
    from rich.console import Console

    # no markup, as names have words in brackets
    console = Console(width=_console_width(part), highlight=False, markup=False)
    console.print(printable(part.title), style="italic", soft_wrap=True)
    for line in part.lead:
        console.print(printable(line), style="bold", soft_wrap=True)
    for columns, rows, absent in _pages(part, console.width):
        console.print(_rich_table(columns, rows, bool(part.blocks), console.width))
        if absent:
            console.print(f"too wide for this terminal: {', '.join(absent)} (--format csv has all)", soft_wrap=True)
        if part.blocks:
            console.print("")
    for line in part.findings if notes else part.gaps:
        if line not in part.lead:
            console.print(printable(line), soft_wrap=True)
    if part.notes:
        console.print(part.notes if notes else _MORE, style="dim", soft_wrap=True)


def _console_width(part: Part) -> int:
    """The width of the terminal; a table in a file or a pipe has all its columns."""
    if sys.stdout.isatty() or part.blocks:
        return line_width()
    widths = _least_widths(part.head, part.body)
    return max(line_width(), sum(widths) + 2 * len(widths))


def line_width() -> int:
    """The characters of a line: those of the terminal, also where TERM is dumb; for a file or a pipe 140."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _PAPER


def _pages(part: Part, width: int) -> Iterator[tuple[list[str], list[list[str]], list[str]]]:
    """Head, rows and absent columns of each page."""
    if part.blocks:
        for head, rows in terminal_pages(part, width):
            yield head, rows, []
        return
    keep = fitting_columns(part.head, part.body, width)
    absent = [name for i, name in enumerate(part.head) if i not in keep]
    yield [part.head[i] for i in keep], [[row[i] for i in keep] for row in part.body], absent


def fitting_columns(head: Sequence[str], body: Sequence[Sequence[str]], width: int) -> list[int]:
    """The columns that fit into `width` characters: left out are those on the right, then verdict, then score.

    The first two always stay. Words wrap, so a column is as wide as its longest word at least; numbers do not wrap.
    """
    least = _least_widths(head, body)
    keep = list(range(len(head)))
    order = sorted(keep, key=lambda i: (2 if i < _FIRST else int(head[i] in _LATE), -i))
    for i in order:
        if sum(least[j] for j in keep) + 2 * len(keep) <= width or len(keep) <= 2:
            break
        if i > 1:
            keep.remove(i)
    return keep


def _least_widths(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[int]:
    """The width that each column needs: that of its longest word, or of its longest number."""
    widths = []
    for i, name in enumerate(head):
        texts = [row[i] for row in body]
        cells = [word for text in texts for word in text.split()] if name in WORD_COLUMNS else texts
        widths.append(max((len(text) for text in (*cells, *name.split())), default=0))
    return widths


def _rich_table(columns: Sequence[str], rows: Iterable[Sequence[str]], is_tight: bool, width: int) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=0 if is_tight else (0, 1, 0, 0), pad_edge=False, show_edge=False)
    rows = list(rows)
    widths = _least_widths(columns, rows)
    has_room = sum(max(len(name), least) + 2 for name, least in zip(columns, widths, strict=True)) <= width
    for name, least in zip(columns, widths, strict=True):
        is_word = name in WORD_COLUMNS
        head = name if is_word or is_tight or has_room else "\n".join(wrap_words(name, least))
        side = "left" if is_word else "right"
        table.add_column(head, justify=side, no_wrap=is_tight or not is_word, min_width=None if is_tight else least)
    for row in rows:
        table.add_row(*(Text(_terminal_text(text), style=_style(text)) for text in row))
    return table


def _style(text: str) -> str:
    """The colour of a cell: of the best, and of what a test does not separate from it."""
    for pattern, kind in _SIGNS:
        if pattern.match(text.strip()):
            return _STYLES[kind]
    if text == "best":
        return _STYLES["best"]
    return _STYLES["tied"] if text.startswith(("tied", "not separated")) else ""


def _terminal_text(text: str) -> str:
    """A cell for a terminal: line ends stay, other control characters are made harmless."""
    return "\n".join(map(printable, text.split("\n")))


def wrap_words(name: str, width: int) -> list[str]:
    """Break a name between words, and after the commas of a list; a word is never cut."""
    text = name if len(name) <= width else re.sub(r",(?=\S)", ", ", name)
    return wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]


def terminal_pages(part: Part, width: int) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Head and rows of a table, cut into pages of at most `width` characters where the table has blocks.

    Intervals then stand in a line of their own.
    """
    if not part.blocks:
        yield list(part.head), [list(row) for row in part.body]
        return
    body = [[text.replace(" ±", "\n±") for text in row] for row in part.body]
    yield from cut_table(list(part.head), body, part.fixed_columns, part.blocks, width)


def cut_table(
    head: list[str], body: list[list[str]], fixed_columns: int, blocks: Sequence[int], width: int
) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Cut a table into pages that are at most `width` characters wide.

    Args:
        head: names of the columns; they break at spaces.
        body: rows; a cell with line breaks has several lines.
        fixed_columns: number of first columns that every page repeats.
        blocks: sizes of the groups of columns that stay together where they fit; further columns join the last.
        width: in characters.

    Yields:
        Head and rows of each page.
    """
    label = max(len("method"), min(LABEL_WIDTH, width // 3))
    head = [head[0], *(name.replace(" ", "\n") for name in head[1:])]
    rows = []
    for name, *cells in body:
        rows.append(
            [
                "\n".join(wrap_words(name, label)),
                *(cell.replace(" of ", "\nof ").replace(" [", "\n[") for cell in cells),
            ]
        )
    starts = [fixed_columns]
    for size in blocks:
        starts.append(starts[-1] + size)
    for row in (head, *rows):
        for start in starts[1:-1]:  # a gap between two blocks
            row[start] = " " + row[start].replace("\n", "\n ")
    columns = zip(head, *rows, strict=True)
    widths = [max(len(line) for cell in column for line in cell.split("\n")) for column in columns]
    starts[-1] = len(head)  # n and params
    room = width - sum(widths[:fixed_columns]) - fixed_columns + 1

    def width_of(columns: Iterable[int]) -> int:
        return sum(1 + widths[i] for i in columns)

    groups: list[list[int]] = []
    for start, end in pairwise(starts):
        block = [*range(start, end)]
        groups += [block] if width_of(block) <= room else [[i] for i in block]
    pages: list[list[int]] = []
    for group in groups:
        if pages and width_of([*pages[-1], *group]) <= room:
            pages[-1] += group
        else:
            pages.append(group)
    for page in pages:
        indices = [*range(fixed_columns), *page]
        yield [head[i] for i in indices], [[row[i] for i in indices] for row in rows]
