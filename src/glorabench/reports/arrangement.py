"""Choose, rename and sort the columns and rows of a table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from glorabench.errors import BadInput, nearest
from glorabench.reports.rendering import Part

_NUMBER = re.compile(r"[+-]?\d[\d,]*(\.\d+)?")


@dataclass(frozen=True)
class Arrangement:
    """What a reader asks of a table.

    Args:
        sort: the column by which rows are sorted, the largest number first; with `+` before it the smallest. Empty for
            the order of the table.
        columns: the columns that are shown, in this order; empty for all.
        names: new names of methods and columns, by their old names.
    """

    sort: str = ""
    columns: Sequence[str] = ()
    names: Mapping[str, str] = field(default_factory=dict)


def parse_arrangement(sort: str | None, columns: str | None, renames: Sequence[str]) -> Arrangement:
    """Read the options --sort, --columns and --rename.

    Raises:
        BadInput: a word of --rename is not OLD=NEW.
    """
    names = {}
    for word in renames:
        old, equals, new = word.rpartition("=")
        if not equals or not old:
            raise BadInput(f"--rename '{word}': give OLD=NEW, for example --rename 'GLoRA, random path=GLoRA'")
        names[old] = new
    chosen = [name.strip() for name in columns.split(",") if name.strip()] if columns else []
    return Arrangement((sort or "").strip(), chosen, names)


def arrange_part(part: Part, wish: Arrangement) -> Part:
    """The table as the reader wants it.

    Raises:
        BadInput: there is no such column, method or name; the message names the nearest.
    """
    head, body = list(part.head), [list(row) for row in part.body]
    if wish.sort:
        body = _sorted_rows(body, _place(wish.sort.removeprefix("+"), head, "--sort"), wish.sort.startswith("+"))
    blocks, fixed_columns = part.blocks, part.fixed_columns
    if wish.columns:
        places = [_place(name, head, "--columns") for name in wish.columns]
        head, body = [head[i] for i in places], [[row[i] for i in places] for row in body]
        if blocks:
            blocks, fixed_columns = [1] * (len(head) - 1) or [1], 1
    known = {*head, *(text for row in body for text in row[:2])}
    for old in wish.names:
        if old not in known:
            raise BadInput(f"--rename '{old}': no column or method of this name{nearest(old, known)}")
    head = [wish.names.get(name, name) for name in head]
    body = [[wish.names.get(text, text) if i < 2 else text for i, text in enumerate(row)] for row in body]
    return replace(part, head=head, body=body, blocks=blocks, fixed_columns=fixed_columns)


def _place(name: str, head: Sequence[str], option: str) -> int:
    if name in head:
        return head.index(name)
    folded = [text.lower() for text in head]
    if name.lower() in folded:
        return folded.index(name.lower())
    raise BadInput(f"{option} '{name}': no such column{nearest(name, head)}; there are {', '.join(head)}")


def _sorted_rows(body: list[list[str]], place: int, ascending: bool) -> list[list[str]]:
    """Rows by the number that a cell begins with; rows without one come last. Words are sorted by the alphabet."""
    keys = [_NUMBER.match(row[place].strip()) for row in body]
    if not any(keys):
        return sorted(body, key=lambda row: row[place].lower())
    numbers = [float(match[0].replace(",", "")) if match else None for match in keys]
    sign = 1 if ascending else -1
    order = sorted(range(len(body)), key=lambda i: (numbers[i] is None, sign * (numbers[i] or 0.0)))
    return [body[i] for i in order]
