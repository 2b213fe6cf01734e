"""Labels of a figure: broken into lines, and moved apart so that none covers another."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from textwrap import wrap

LINE = 12.0  # height of a line of text, in units of the figure
CHARACTERS = 22  # in a line; 11 units high, the widest usual typefaces need 7 for one


def broken(name: str) -> list[str]:
    """The lines of a name; a list in it may be broken, too."""
    return wrap(re.sub(r",(?=\S)", ", ", name), CHARACTERS, break_on_hyphens=False) or [""]


def spread(wanted: Sequence[float], heights: Sequence[float], top: float) -> list[float]:
    """Centres of labels, in their order below `top`, each as near to where it is wanted as its neighbours let it.

    Args:
        wanted: centres, ascending.
        heights: of the labels, with the gap to the next one.
        top: nothing is above it.
    """
    blocks: list[tuple[float, float, float, int]] = []  # top, height, sum of the tops that its labels want, labels
    for centre, height in zip(wanted, heights, strict=True):
        ideal, size, count = centre - height / 2, height, 1
        begin = max(top, ideal)
        while blocks and blocks[-1][0] + blocks[-1][1] > begin:
            _, above, wish, before = blocks.pop()
            ideal += wish - count * above  # what stands below wants the block higher by what is above it
            count, size = before + count, above + size
            begin = max(top, ideal / count)
        blocks.append((begin, size, ideal, count))
    centres: list[float] = []
    for begin, _, _, count in blocks:
        for height in heights[len(centres) : len(centres) + count]:
            centres.append(begin + height / 2)
            begin += height
    return centres


def text(lines: Sequence[str], x: float, centre: float, attributes: str, anchor: str = "start") -> str:
    """Lines of text around a centre, as SVG."""
    first = centre - LINE * (len(lines) - 1) / 2 + 4
    spans = "".join(
        f'<tspan x="{x:g}" y="{first + LINE * i:.1f}">{escape(line)}</tspan>' for i, line in enumerate(lines)
    )
    return f'<text {attributes} text-anchor="{anchor}">{spans}</text>'
