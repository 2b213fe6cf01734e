"""Bars of one task with their intervals, as SVG that takes its colours from the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from glorabench.cells import Cell
from glorabench.report.labels import LINE, broken, text

WIDE = 360
_LEFT, _RIGHT, _TOP = 156, 42, 8  # beside the bars: names, values


def bars(rows: Sequence[Cell], said: str) -> str:
    """The figure, a bar for each method from 0 to its accuracy; a failed one says so."""
    y, parts, body = float(_TOP), [], []
    for cell in rows:
        lines = broken(cell.method)
        room = LINE * len(lines) + 5
        body.append(text(lines, _LEFT - 6, y + room / 2, 'class="name"', "end"))
        body.append(_bar(cell, y + room / 2))
        y += room
    for part in (0, 0.5, 1):
        x = _at(part)
        anchor = ("start", "middle", "end")[round(2 * part)]
        parts.append(f'<path class="grid" d="M{x:g} {_TOP}V{y:.1f}"/>')
        parts.append(f'<text class="tick" text-anchor="{anchor}" x="{x:g}" y="{y + 14:.1f}">{100 * part:g}</text>')
    high = y + 20
    inside = "".join((*parts, *body))
    return f'<svg viewBox="0 0 {WIDE} {high:g}" role="img" aria-label="{escape(said)}">{inside}</svg>'


def _at(part: float) -> float:
    return round(_LEFT + part * (WIDE - _LEFT - _RIGHT), 1)


def _bar(cell: Cell, y: float) -> str:
    if not cell.done:
        return f'<text class="tick" x="{_LEFT + 4}" y="{y + 4:.1f}">failed</text>'
    found, kind = cell.top1, "bar spoiled" if cell.contaminated else "bar"
    width = _at(found.value) - _LEFT
    parts = [f'<rect class="{kind}" x="{_LEFT}" y="{y - 4.5:.1f}" width="{width:.1f}" height="9"/>']
    span = ""
    if not math.isnan(found.low):
        low, high = max(0.0, found.low), min(1.0, found.high)
        span = f", 95 % interval {100 * low:.1f} to {100 * high:.1f}"
        parts.append(f'<path class="span" d="M{_at(low)} {y:.1f}H{_at(high)}M{_at(low)} {y - 3:.1f}v6"/>')
        parts.append(f'<path class="span" d="M{_at(high)} {y - 3:.1f}v6"/>')
    shown = f"{100 * found.value:.2f}"
    parts.append(f'<text class="tick" text-anchor="end" x="{WIDE - 1}" y="{y + 4:.1f}">{shown}</text>')
    title = escape(f"{cell.method}: {shown}{span}, n = {found.n}")
    return f"<g><title>{title}</title>{''.join(parts)}</g>"
