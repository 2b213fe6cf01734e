"""Write figures as files of their own: SVG with its colours, for light and dark."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from textwrap import wrap

from glorabench.analysis.costs import CostGroup
from glorabench.files import write_text
from glorabench.reports.captions import title_of
from glorabench.reports.figures.svg import LINE, text
from glorabench.reports.tables.costs import NOTES, remarks

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
    style = (files("glorabench.reports.html") / "report.css").read_text(encoding="utf-8")
    size = f"width: {_SCALE * wide:g}px; height: {_SCALE * high:g}px"
    own = f"svg {{ {size}; font-family: var(--font); background: var(--paper); }}"
    head, _, body = image.replace(found[0], f'viewBox="0 {-above:g} {wide:g} {high:g}"', 1).partition(">")
    head = head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    heading = text(lines, 0, -(above + LINE) / 2 + 4, 'class="title"')
    return f"{head}><style><![CDATA[\n{style}{own}\n]]></style>{heading}{body}\n"


def draw_fronts(tables: Iterable[CostGroup], folder: Path) -> None:
    """Write the figure of each front as accuracy-COST.svg; those of a second table, as of another backbone, end in -2.

    Raises:
        BadInput: the folder cannot be written.
    """
    from glorabench.reports.figures import figures

    for number, table in enumerate(tables, start=1):
        paragraphs = [title_of(table.group.records, True), *remarks(table.group)[len(NOTES) :]]
        ending = f"-{number}" if number > 1 else ""
        for figure in figures.tradeoffs(table.points, table.standings):
            image = standalone(figure.image, [*paragraphs, figure.note])
            write_text(folder / f"{figure.name}{ending}.svg", image, "give another folder with --figures")
        for gap in figures.gaps(table.points):
            print(gap, file=sys.stderr)
