"""Render tables on a terminal, as Markdown, LaTeX or HTML, or into a block of a file."""

from __future__ import annotations

import html as library
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from textwrap import fill

from glorabench.errors import BadInput, first_line, printable
from glorabench.files import write_text

WORD_COLUMNS = (  # columns of words; the others hold numbers
    *("task", "method", "of", "on the front of"),
    *("layer", "kind", "weights", "roles", "merges", "why it does not fit"),
    *("family", "a model", "what does not fit, with the number of the reason"),
)
_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "±": r"$\pm$", "[": "{[}", "]": "{]}", '"': "''", "`": "'",
}  # fmt: skip
_STYLE = (
    "body{font:14px sans-serif}table{border-collapse:collapse}caption{text-align:left;font-weight:bold}"
    "td,th{padding:2px 6px;text-align:right}td.w,th.w{text-align:left}thead tr{border-bottom:1px solid}"
)

LABEL_WIDTH = 28  # characters of a method's name in a line of a terminal


@dataclass(frozen=True)
class Part:
    """One table.

    Args:
        title: the title of the table.
        head, body: as text; an interval follows its value after a blank.
        findings: lines about rows and columns.
        notes: what the columns mean.
        fixed_columns: number of first columns that every page of a terminal repeats.
        blocks: sizes of the groups of columns that stay on one page; empty for a table that is never cut.
    """

    title: str
    head: Sequence[str]
    body: Sequence[Sequence[str]]
    findings: Sequence[str] = ()
    notes: str = ""
    fixed_columns: int = 1
    blocks: Sequence[int] = ()


def grid(columns: Sequence[str], body: Iterable[Sequence[str]], word_columns: Sequence[str]) -> list[str]:
    """The lines of a Markdown table; `word_columns` hold words, the other columns hold numbers."""
    rule = ["---" if name in word_columns else "---:" for name in columns]
    return [f"| {' | '.join(map(_cell, line))} |" for line in (columns, rule, *body)]


def escape(text: str) -> str:
    """Escape text so that Markdown shows it as it is, without HTML and comments."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", printable(text))


def _cell(text: str) -> str:
    return escape(text).replace("|", r"\|")


def part_markdown(part: Part, with_title: bool = True) -> str:
    """Render a table as Markdown."""
    lines = [*grid(part.head, part.body, WORD_COLUMNS), ""]
    lines += [part.notes, ""] if part.notes else []
    lines += [f"- {escape(line)}" for line in part.findings]
    title = f"**{escape(part.title)}**\n\n" if with_title else ""
    return title + "\n".join(lines) + "\n"


def part_tex(part: Part) -> str:
    """Render a table as LaTeX, for the packages booktabs and adjustbox."""
    columns = "".join("l" if name in WORD_COLUMNS else "r" for name in part.head)
    rows = [" & ".join(map(_tex, row)) + r" \\" for row in part.body]
    items = [rf"\item {_tex(line)}" for line in part.findings]
    return "\n".join([
        r"\begin{table*}",
        rf"\caption{{{_tex(part.title)}}}",
        r"\begin{adjustbox}{max width=\textwidth}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(_tex, part.head)) + r" \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{adjustbox}",
        *([r"\par\footnotesize " + _tex(part.notes)] if part.notes else []),
        r"\end{table*}",
        # outside the float: published tables have more lines than a page
        *([r"\begin{itemize}\footnotesize", *items, r"\end{itemize}"] if items else []),
        "",
    ])  # fmt: skip


def _tex(text: str) -> str:
    return re.sub(r"(?<=\d)([*=])(?= |$)", r"$^{\1}$", "".join(_TEX.get(letter, letter) for letter in text))


def html_page(parts: Sequence[Part]) -> str:
    """Render tables as one HTML page without other files."""
    tables = "".join(map(_html_table, parts))
    title = library.escape(parts[0].title if parts else "")
    head = f'<head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style></head>'
    return f'<!doctype html>\n<html lang="en">\n{head}\n<body>\n{tables}</body>\n</html>\n'


def _html_table(part: Part) -> str:
    kinds = [' class="w"' if name in WORD_COLUMNS else "" for name in part.head]

    def row(tag: str, texts: Sequence[str]) -> str:
        cells = (f"<{tag}{kind}>{library.escape(x)}</{tag}>" for kind, x in zip(kinds, texts, strict=True))
        return f"<tr>{''.join(cells)}</tr>\n"

    items = "".join(f"<li>{library.escape(line)}</li>\n" for line in part.findings)
    body = "".join(row("td", texts) for texts in part.body)
    return (
        f"<table>\n<caption>{library.escape(part.title)}</caption>\n<thead>\n{row('th', part.head)}</thead>\n"
        f"<tbody>\n{body}</tbody>\n</table>\n"
        + (f"<p>{library.escape(part.notes)}</p>\n" if part.notes else "")
        + (f"<ul>\n{items}</ul>\n" if items else "")
    )


def terminal_pages(part: Part, width: int) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Head and rows of a table, cut into pages of at most `width` characters where the table has blocks.

    Intervals then stand in a line of their own.
    """
    if not part.blocks:
        yield list(part.head), [list(row) for row in part.body]
        return
    body = [[text.replace(" ±", "\n±") for text in row] for row in part.body]
    yield from cut_table(list(part.head), body, part.fixed_columns, part.blocks, width)


def _terminal_text(text: str) -> str:
    """A cell for a terminal: line ends stay, other control characters are made harmless."""
    return "\n".join(map(printable, text.split("\n")))


def show_part(part: Part) -> None:
    """Print a table, then its findings, then its notes."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    # no markup, as names have words in brackets
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False, markup=False)
    if part.blocks:
        console.print(printable(part.title), style="italic", soft_wrap=True)
    for columns, rows in terminal_pages(part, console.width):
        if part.blocks:
            table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
        else:
            table = Table(title=part.title)
        for name in columns:
            table.add_column(name, justify="left" if name in WORD_COLUMNS else "right", no_wrap=bool(part.blocks))
        for row in rows:
            table.add_row(*map(_terminal_text, row))
        console.print(table)
        if part.blocks:
            console.print("")
    for line in part.findings:
        console.print(printable(line), soft_wrap=True)
    if part.notes:
        console.print(part.notes, style="dim", soft_wrap=True)


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
        rows.append([fill(name, label), *(cell.replace(" of ", "\nof ").replace(" [", "\n[") for cell in cells)])
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


def output_parts(parts: Sequence[Part], form: str, into: str | None, block: str, text: str | None = None) -> None:
    """Print tables, or write them as Markdown into a file.

    Args:
        parts: the tables.
        form: text, md, tex or html.
        into: FILE or FILE#NAME; None prints.
        block: the name of the block in the file, KIND:NAME; the NAME of `into` replaces its NAME.
        text: the Markdown of all tables, where it is not that of one after the other.

    Raises:
        BadInput: the file does not exist or has no such block.
    """
    text = "\n".join(map(part_markdown, parts)) if text is None else text
    if into is not None:
        path, _, name = into.partition("#")
        embed(text, f"{block.partition(':')[0]}:{name}" if name else block, Path(path))
    elif form == "text":
        for part in parts:
            show_part(part)
    elif form == "html":
        print(html_page(parts), end="")
    else:
        print(text if form == "md" else "\n".join(map(part_tex, parts)), end="")


def embed(text: str, block: str, path: Path) -> None:
    """Replace the text between `<!-- BLOCK -->` and `<!-- /BLOCK -->` in a file.

    Raises:
        BadInput: the file does not exist or has no such block, or several.
    """
    try:
        page = path.read_text(encoding="utf-8") if path.is_file() else None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read as text ({first_line(error)}): give a Markdown file") from error
    if page is None:
        raise BadInput(f"no file {path}: make it, with the lines <!-- {block} --> and <!-- /{block} -->")
    begin, end = f"<!-- {block} -->\n", f"<!-- /{block} -->"
    whole, count = re.subn(
        re.escape(begin) + r".*?" + re.escape(end), lambda _: begin + text + end, page, flags=re.DOTALL
    )
    if count != 1:
        raise BadInput(f"{path} needs one block {begin.strip()} ... {end}, found {count}")
    write_text(path, whole, "the file is as it was; give another one with --into")
