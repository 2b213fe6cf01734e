"""Tables as data, rendered as Markdown or HTML, or into a block of a file."""

from __future__ import annotations

import html as library
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from glorabench.errors import BadInput, first_line, printable
from glorabench.files import write_text

WORD_COLUMNS = (  # columns of words; the others hold numbers
    *("task", "method", "of", "on the front of"),
    *("layer", "kind", "weights", "roles", "merges", "why it does not fit"),
    *("family", "a model", "what does not fit, with the number of the reason"),
)
_STYLE = (
    "body{font:14px sans-serif}table{border-collapse:collapse}caption{text-align:left;font-weight:bold}"
    "td,th{padding:2px 6px;text-align:right}td.w,th.w{text-align:left}thead tr{border-bottom:1px solid}"
)


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
        lead: sentences that a terminal shows before the table.
        gaps: those of the findings that a terminal always shows, as they say what is missing.
    """

    title: str
    head: Sequence[str]
    body: Sequence[Sequence[str]]
    findings: Sequence[str] = ()
    notes: str = ""
    fixed_columns: int = 1
    blocks: Sequence[int] = ()
    lead: Sequence[str] = ()
    gaps: Sequence[str] = ()


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


def output_parts(
    parts: Sequence[Part],
    form: str,
    into: str | None,
    block: str,
    text: str | None = None,
    notes: bool = True,
    bold: bool = False,
) -> None:
    """Print tables, or write them as Markdown into a file.

    Args:
        parts: the tables.
        form: text, md, tex or html.
        into: FILE or FILE#NAME; None prints.
        block: the name of the block in the file, KIND:NAME; the NAME of `into` replaces its NAME.
        text: the Markdown of all tables, where it is not that of one after the other.
        notes: a terminal also shows findings and notes.
        bold: LaTeX prints what is best in bold.

    Raises:
        BadInput: the file does not exist or has no such block.
    """
    text = "\n".join(map(part_markdown, parts)) if text is None else text
    if into is not None:
        path, _, name = into.partition("#")
        embed(text, f"{block.partition(':')[0]}:{name}" if name else block, Path(path))
    elif form == "text":
        from glorabench.reports.terminal import show_part

        for part in parts:
            show_part(part, notes)
    elif form == "html":
        print(html_page(parts), end="")
    elif form == "tex":
        from glorabench.reports.latex import tex_tables

        print(tex_tables(parts, block.partition(":")[2] or block, bold), end="")
    else:
        print(text, end="")


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
