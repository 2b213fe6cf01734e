"""Forms: a table with what is said of it, on a terminal, as Markdown, LaTeX or HTML."""

from __future__ import annotations

import html as library
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from glorabench import paging
from glorabench.errors import printable

WORDS = ("task", "method", "of", "on the front of")  # columns that hold words; the others are numbers
_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "±": r"$\pm$", "[": "{[}", "]": "{]}", '"': "''", "`": "'",
}  # fmt: skip
_STYLE = (
    "body{font:14px sans-serif}table{border-collapse:collapse}caption{text-align:left;font-weight:bold}"
    "td,th{padding:2px 6px;text-align:right}td.w,th.w{text-align:left}thead tr{border-bottom:1px solid}"
)


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


def markdown(part: Part, titled: bool = True) -> str:
    """As Markdown."""
    lines = [*grid(part.head, part.body, WORDS), ""]
    lines = [*lines, part.notes, ""] if part.notes else lines
    told = [f"- {escape(line)}" for line in part.told]
    return (f"**{escape(part.title)}**\n\n" if titled else "") + "\n".join([*lines, *told]) + "\n"


def tex(part: Part) -> str:
    """As LaTeX, for the packages booktabs and adjustbox."""
    columns = "".join("l" if name in WORDS else "r" for name in part.head)
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
    kinds = [' class="w"' if name in WORDS else "" for name in part.head]

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
    yield from paging.cut(list(part.head), body, part.fixed, part.blocks, width)


def _shown(text: str) -> str:
    """A cell for a terminal: its own line ends stay, nothing else acts on the terminal."""
    return "\n".join(map(printable, text.split("\n")))


def show(part: Part) -> None:
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
            shown.add_column(name, justify="left" if name in WORDS else "right", no_wrap=bool(part.blocks))
        for row in rows:
            shown.add_row(*map(_shown, row))
        console.print(*([shown, ""] if part.blocks else [shown]))
    for line in part.told:
        console.print(printable(line), soft_wrap=True)
    if part.notes:
        console.print(part.notes, style="dim", soft_wrap=True)
