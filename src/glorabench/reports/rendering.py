"""Render tables: on a terminal, as Markdown, LaTeX or HTML, or between two marks of a file."""

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

WORD_COLUMNS = ("task", "method", "of", "on the front of")  # columns that hold words; the others are numbers
_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "±": r"$\pm$", "[": "{[}", "]": "{]}", '"': "''", "`": "'",
}  # fmt: skip
_STYLE = (
    "body{font:14px sans-serif}table{border-collapse:collapse}caption{text-align:left;font-weight:bold}"
    "td,th{padding:2px 6px;text-align:right}td.w,th.w{text-align:left}thead tr{border-bottom:1px solid}"
)

LABEL = 28  # characters of a method's name on a terminal, before it is broken


@dataclass(frozen=True)
class Part:
    """One table.

    Args:
        title: what it is of.
        head, body: as text, intervals behind a blank.
        told: lines about rows and columns.
        notes: what the columns say.
        fixed: first columns that stand on each page of a terminal.
        blocks: sizes of what stays together there; none for a table that is never cut.
    """

    title: str
    head: Sequence[str]
    body: Sequence[Sequence[str]]
    told: Sequence[str] = ()
    notes: str = ""
    fixed: int = 1
    blocks: Sequence[int] = ()


def grid(columns: Sequence[str], body: Iterable[Sequence[str]], left: Sequence[str]) -> list[str]:
    """The lines of a Markdown table; the columns `left` hold words, the others numbers."""
    rule = ["---" if name in left else "---:" for name in columns]
    return [f"| {' | '.join(map(_cell, line))} |" for line in (columns, rule, *body)]


def escape(text: str) -> str:
    """Text that Markdown shows as it is: no HTML begins in it, and no comment, such as the mark of a block."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", printable(text))


def _cell(text: str) -> str:
    return escape(text).replace("|", r"\|")


def part_markdown(part: Part, titled: bool = True) -> str:
    """As Markdown."""
    lines = [*grid(part.head, part.body, WORD_COLUMNS), ""]
    lines = [*lines, part.notes, ""] if part.notes else lines
    told = [f"- {escape(line)}" for line in part.told]
    return (f"**{escape(part.title)}**\n\n" if titled else "") + "\n".join([*lines, *told]) + "\n"


def tex(part: Part) -> str:
    """As LaTeX, for the packages booktabs and adjustbox."""
    columns = "".join("l" if name in WORD_COLUMNS else "r" for name in part.head)
    rows = [" & ".join(map(_tex, row)) + r" \\" for row in part.body]
    said = [rf"\item {_tex(line)}" for line in part.told]
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
        # behind the float: published tables have more lines than a page
        *([r"\begin{itemize}\footnotesize", *said, r"\end{itemize}"] if said else []),
        "",
    ])  # fmt: skip


def _tex(text: str) -> str:
    return re.sub(r"(?<=\d)([*=])(?= |$)", r"$^{\1}$", "".join(_TEX.get(letter, letter) for letter in text))


def html(parts: Sequence[Part]) -> str:
    """All of them as one page that needs nothing else."""
    shown = "".join(map(_html, parts))
    title = library.escape(parts[0].title if parts else "")
    head = f'<head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style></head>'
    return f'<!doctype html>\n<html lang="en">\n{head}\n<body>\n{shown}</body>\n</html>\n'


def _html(part: Part) -> str:
    kinds = [' class="w"' if name in WORD_COLUMNS else "" for name in part.head]

    def row(tag: str, texts: Sequence[str]) -> str:
        made = (f"<{tag}{kind}>{library.escape(x)}</{tag}>" for kind, x in zip(kinds, texts, strict=True))
        return f"<tr>{''.join(made)}</tr>\n"

    told = "".join(f"<li>{library.escape(line)}</li>\n" for line in part.told)
    body = "".join(row("td", texts) for texts in part.body)
    return (
        f"<table>\n<caption>{library.escape(part.title)}</caption>\n<thead>\n{row('th', part.head)}</thead>\n"
        f"<tbody>\n{body}</tbody>\n</table>\n"
        + (f"<p>{library.escape(part.notes)}</p>\n" if part.notes else "")
        + (f"<ul>\n{told}</ul>\n" if told else "")
    )


def pages(part: Part, width: int) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Heading and rows, cut into tables of at most `width` characters if it may be; intervals in lines of their own."""
    if not part.blocks:
        yield list(part.head), [list(row) for row in part.body]
        return
    body = [[text.replace(" ±", "\n±") for text in row] for row in part.body]
    yield from cut(list(part.head), body, part.fixed, part.blocks, width)


def _shown(text: str) -> str:
    """A cell for a terminal: its own line ends stay, nothing else acts on the terminal."""
    return "\n".join(map(printable, text.split("\n")))


def show_part(part: Part) -> None:
    """Print it, then what is told, then the notes."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    # no markup: names hold words in brackets
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False, markup=False)
    if part.blocks:
        console.print(printable(part.title), style="italic", soft_wrap=True)
    for columns, rows in pages(part, console.width):
        shown = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False) if part.blocks else None
        shown = shown or Table(title=part.title)
        for name in columns:
            shown.add_column(name, justify="left" if name in WORD_COLUMNS else "right", no_wrap=bool(part.blocks))
        for row in rows:
            shown.add_row(*map(_shown, row))
        console.print(*([shown, ""] if part.blocks else [shown]))
    for line in part.told:
        console.print(printable(line), soft_wrap=True)
    if part.notes:
        console.print(part.notes, style="dim", soft_wrap=True)


def cut(
    head: list[str], body: list[list[str]], fixed: int, blocks: Sequence[int], width: int
) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Heading and rows of one table, or of several, none more than `width` characters wide.

    Args:
        head: names; each breaks at its spaces.
        body: rows; what has line breaks has several lines.
        fixed: as many first columns stand in every one of them.
        blocks: how many of the next columns stay together, if they can; what follows belongs to the last.
        width: in characters.
    """
    label = max(len("method"), min(LABEL, width // 3))
    head = [head[0], *(name.replace(" ", "\n") for name in head[1:])]
    body = [[fill(name, label), *(x.replace(" of ", "\nof ").replace(" [", "\n[") for x in row)] for name, *row in body]
    starts = [fixed]
    for size in blocks:
        starts.append(starts[-1] + size)
    for row in (head, *body):
        for start in starts[1:-1]:  # a gap between two blocks
            row[start] = " " + row[start].replace("\n", "\n ")
    columns = zip(head, *body, strict=True)
    widths = [max(len(part) for text in column for part in text.split("\n")) for column in columns]
    starts[-1] = len(head)  # n and params
    room = width - sum(widths[:fixed]) - fixed + 1

    def needed(columns: Iterable[int]) -> int:
        return sum(1 + widths[i] for i in columns)

    parts = [[*range(*ends)] for ends in pairwise(starts)]
    pieces = [part for block in parts for part in ([block] if needed(block) <= room else [[i] for i in block])]
    page: list[int] = []
    for piece in [*pieces, []]:
        if page and (not piece or needed([*page, *piece]) > room):
            kept = [*range(fixed), *page]
            yield [head[i] for i in kept], [[row[i] for i in kept] for row in body]
            page = []
        page += piece


def put(parts: Sequence[Part], form: str, into: str | None, block: str, text: str | None = None) -> None:
    """Print tables, or write them as Markdown into a file.

    Args:
        parts: the tables.
        form: text, md, tex or html.
        into: FILE or FILE#NAME.
        block: what the file's block is called, KIND:NAME; the name of `into` stands in for its name.
        text: of them as Markdown, where it is not simply that of one behind the other.

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
        print(html(parts), end="")
    else:
        print(text if form == "md" else "\n".join(map(tex, parts)), end="")


def embed(text: str, block: str, path: Path) -> None:
    """Replace what stands between `<!-- BLOCK -->` and `<!-- /BLOCK -->`.

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
