"""Output: tables in the form that was asked for, printed, or between two marks of a file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from glorabench import forms
from glorabench.errors import BadInput, first_line
from glorabench.files import write_text
from glorabench.forms import Part


def put(parts: Sequence[Part], form: str, into: str | None, block: str, markdown: str | None = None) -> None:
    """Print tables, or write them as Markdown into a file.

    Args:
        parts: the tables.
        form: text, md, tex or html.
        into: FILE or FILE#NAME.
        block: what the file's block is called, KIND:NAME; the name of `into` stands in for its name.
        markdown: of them, where it is not simply that of one behind the other.

    Raises:
        BadInput: the file does not exist or has no such block.
    """
    markdown = "\n".join(map(forms.markdown, parts)) if markdown is None else markdown
    if into is not None:
        path, _, name = into.partition("#")
        embed(markdown, f"{block.partition(':')[0]}:{name}" if name else block, Path(path))
    elif form == "text":
        for part in parts:
            forms.show(part)
    elif form == "html":
        print(forms.html(parts), end="")
    else:
        print(markdown if form == "md" else "\n".join(map(forms.tex, parts)), end="")


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
