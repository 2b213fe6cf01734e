"""A figure of the page as a file of its own: SVG that brings its colours, for light and dark, and asks for nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from textwrap import wrap

from glorabench.report.labels import LINE, text

_SCALE = 2  # units of a figure are made for a phone
_CHARACTERS = 58  # in a line of what stands above


def standalone(image: str, said: Iterable[str]) -> str:
    """The text of the file.

    Args:
        image: `<svg viewBox="0 0 WIDTH HEIGHT" ...>`, drawn with the classes of report.css.
        said: paragraphs above it.
    """
    lines = [line for paragraph in said for line in wrap(paragraph, _CHARACTERS)]
    found = re.search(r'viewBox="0 0 (\S+) (\S+)"', image)
    assert found is not None, "a figure of the page has a viewBox"
    above = LINE * len(lines) + 8
    wide, high = float(found[1]), float(found[2]) + above
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    size = f"width: {_SCALE * wide:g}px; height: {_SCALE * high:g}px"
    own = f"svg {{ {size}; font-family: var(--font); background: var(--paper); }}"
    head, _, body = image.replace(found[0], f'viewBox="0 {-above:g} {wide:g} {high:g}"', 1).partition(">")
    head = head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    heading = text(lines, 0, -(above + LINE) / 2 + 4, 'class="title"')
    return f"{head}><style><![CDATA[\n{style}{own}\n]]></style>{heading}{body}\n"
