"""Write figures as SVG files that carry their colours, for light and dark."""

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
from glorabench.reports.figures.svg import LINE, svg_text
from glorabench.reports.tables.costs import NOTES, remarks

_SCALE = 2  # the units of a figure fit a phone
_CHARACTERS = 58  # in a line above the figure


def standalone_svg(image: str, paragraphs: Iterable[str]) -> str:
    """Turn a figure of the page into the text of an SVG file.

    Args:
        image: `<svg viewBox="0 0 WIDTH HEIGHT" ...>` with the classes of report.css.
        paragraphs: text above the figure.
    """
    lines = [line for paragraph in paragraphs for line in wrap(paragraph, _CHARACTERS)]
    view_box = re.search(r'viewBox="0 0 (\S+) (\S+)"', image)
    assert view_box is not None, "a figure of the page has a viewBox"
    height_of_title = LINE * len(lines) + 8
    wide, high = float(view_box[1]), float(view_box[2]) + height_of_title
    style = (files("glorabench.reports.html") / "report.css").read_text(encoding="utf-8")
    size = f"width: {_SCALE * wide:g}px; height: {_SCALE * high:g}px"
    size_style = f"svg {{ {size}; font-family: var(--font); background: var(--paper); }}"
    head, _, body = image.replace(view_box[0], f'viewBox="0 {-height_of_title:g} {wide:g} {high:g}"', 1).partition(">")
    head = head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    heading = svg_text(lines, 0, -(height_of_title + LINE) / 2 + 4, 'class="title"')
    return f"{head}><style><![CDATA[\n{style}{size_style}\n]]></style>{heading}{body}\n"


def draw_fronts(
    tables: Iterable[CostGroup], folder: Path, fix: str = "give another folder with --figures"
) -> list[Path]:
    """Write the figure of each front as accuracy-COST.svg; the files of a second table end in -2.

    Args:
        tables: the points and fronts of each table.
        folder: where the figures go.
        fix: what the user can do where it cannot be written.

    Returns:
        The files, in the order of the tables and costs.

    Raises:
        BadInput: the folder cannot be written.
    """
    from glorabench.reports.figures import figures

    paths = []
    for number, table in enumerate(tables, start=1):
        paragraphs = [title_of(table.group.records, True), *remarks(table.group)[len(NOTES) :]]
        ending = f"-{number}" if number > 1 else ""
        for figure in figures.tradeoff_figures(table.points, table.standings):
            image = standalone_svg(figure.image, [*paragraphs, figure.note])
            paths.append(folder / f"{figure.name}{ending}.svg")
            write_text(paths[-1], image, fix)
        for gap in figures.missing_figures(table.points):
            print(gap, file=sys.stderr)
    return paths
