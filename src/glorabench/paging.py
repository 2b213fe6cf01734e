"""Pages: a table that is too wide for a terminal as several, cut between its blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from textwrap import fill

LABEL = 28  # characters of a method's name on a terminal, before it is broken


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
