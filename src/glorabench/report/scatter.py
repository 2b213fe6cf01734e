"""A figure of points with their names beside it, as SVG that takes its colours from the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from glorabench.report.axes import Scale
from glorabench.report.labels import LINE, broken, spread, text
from glorabench.stats import Estimate

WIDE = 360  # units; a phone shows them one to one
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 164, 26, 36  # margins of the plot
_LEAST = 200  # height of the plot


@dataclass(frozen=True)
class Dot:
    """A point.

    Args:
        name: written beside the plot.
        x, y: where it is, with intervals; NaN where there is none.
        kind: `front`, `other`, or `spoiled`.
        said: more about it, for who points at it.
    """

    name: str
    x: Estimate
    y: Estimate
    kind: str
    said: str = ""


def scatter(dots: Sequence[Dot], across: Scale, up: Scale, said: str, level: float | None = None) -> str:
    """The figure; the names stand in a column to its right, in the order of the points, joined to them by lines.

    Args:
        dots: at least one.
        across, up: the axes.
        said: what the figure shows, for who does not see it.
        level: a height with a dashed line.
    """
    lines = {dot.name: broken(dot.name) for dot in dots}
    heights = {name: LINE * len(found) + 4 for name, found in lines.items()}
    tall = max(_LEAST, sum(heights.values()) - 14)
    right = WIDE - _RIGHT

    def at(x: float, y: float) -> tuple[float, float]:
        return _LEFT + across.place(x) * (right - _LEFT), _TOP + (1 - up.place(y)) * tall

    dots = sorted(dots, key=lambda dot: (at(dot.x.value, dot.y.value)[1], -at(dot.x.value, dot.y.value)[0], dot.name))
    places = [at(dot.x.value, dot.y.value) for dot in dots]
    sizes = [heights[dot.name] for dot in dots]
    centres = _inside(spread([y for _, y in places], sizes, _TOP - 8), sizes, _TOP + tall + 10)
    parts = [*_frame(across, up, right, tall)]
    if level is not None:
        y = at(across.low, level)[1]
        parts.append(f'<path class="level" d="M{_LEFT} {y:.1f}H{right}"/>')
    for i, ((x, y), centre) in enumerate(zip(places, centres, strict=True)):
        parts.append(f'<path class="leader" data-i="{i}" d="M{x:.1f} {y:.1f}L{right + 6} {centre:.1f}h4"/>')
    for i in sorted(range(len(dots)), key=lambda i: dots[i].kind == "front"):  # the front lies above the others
        dot, (x, y) = dots[i], places[i]
        parts.append(f'<g class="{dot.kind}" data-i="{i}"><title>{escape(_told(dot, across, up))}</title>')
        if not math.isnan(dot.y.low):
            ends = [at(dot.x.value, min(max(v, up.low), up.high))[1] for v in (dot.y.low, dot.y.high)]
            parts.append(f'<path class="span" d="M{x:.1f} {ends[0]:.1f}V{ends[1]:.1f}"/>')
        if not math.isnan(dot.x.low):
            ends = [at(min(max(v, across.low), across.high), dot.y.value)[0] for v in (dot.x.low, dot.x.high)]
            parts.append(f'<path class="span" d="M{ends[0]:.1f} {y:.1f}H{ends[1]:.1f}"/>')
        parts.append(f"{_mark(dot.kind, x, y)}</g>")
    for i, (dot, centre) in enumerate(zip(dots, centres, strict=True)):
        parts.append(text(lines[dot.name], right + 13, centre, f'class="name {dot.kind}" data-i="{i}"'))
    high = _TOP + tall + _BOTTOM
    body = "".join(parts)
    return f'<svg viewBox="0 0 {WIDE} {high:g}" role="img" aria-label="{escape(said)}">{body}</svg>'


def _inside(centres: list[float], sizes: Sequence[float], bottom: float) -> list[float]:
    """The centres, moved up where the last labels would lie below the bottom."""
    mirrored = [bottom - centre for centre in centres[::-1]]
    return [bottom - centre for centre in spread(mirrored, sizes[::-1], 0)][::-1]


def _mark(kind: str, x: float, y: float) -> str:
    if kind == "spoiled":
        return f'<path class="mark" d="M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8"/>'
    return f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="{4.5 if kind == "front" else 4}"/>'


def _told(dot: Dot, across: Scale, up: Scale) -> str:
    half = "" if math.isnan(dot.y.low) else f" ({dot.y.low:.2f} to {dot.y.high:.2f})"
    x = f"{dot.x.value:,.6g} {across.title.removesuffix(' (log)')}"
    return f"{dot.name}: {dot.y.value:.2f}{half} {up.title}; {x}{dot.said}"


def _frame(across: Scale, up: Scale, right: float, tall: float) -> list[str]:
    """Grid, ticks and titles."""
    base = _TOP + tall
    parts = [f'<text class="title" x="0" y="12">{escape(up.title)}</text>']
    for place, label in up.ticks(tall, 36):
        y = base - place * tall
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}"/>')
        parts.append(f'<text class="tick" text-anchor="end" x="{_LEFT - 5}" y="{y + 4:.1f}">{label}</text>')
    ticks = across.ticks(right - _LEFT, 44)
    for i, (place, label) in enumerate(ticks):
        x = _LEFT + place * (right - _LEFT)
        parts.append(f'<path class="grid" d="M{x:.1f} {_TOP}V{base:.1f}"/>')
        parts.append(f'<text class="tick" text-anchor="middle" x="{x:.1f}" y="{base + 15:.1f}">{label}</text>')
        if across.zero and i == 0:
            parts.append(f'<path class="break" d="M{x + 7:.1f} {base + 3:.1f}l4 -6m2 6l4 -6"/>')
    parts.append(f'<path class="axis" d="M{_LEFT} {_TOP}V{base:.1f}H{right}"/>')
    parts.append(f'<text class="title" x="{_LEFT}" y="{base + 32:.1f}">{escape(across.title)}</text>')
    return parts
