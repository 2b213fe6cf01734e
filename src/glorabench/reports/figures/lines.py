"""Draw step functions as SVG that takes its colours from the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from glorabench.reports.figures.svg import LINE, WIDE, Scale, axis_of, label_lines, svg_text

_LEFT, _RIGHT, _TOP, _TALL = 38, 10, 8, 150


@dataclass(frozen=True)
class Line:
    """One step function: its name, and the places (x, y) of its steps, x ascending."""

    name: str
    places: tuple[tuple[float, float], ...]


def line_chart(lines: Sequence[Line], across: str, alt: str) -> str:
    """Draw step functions, with a legend below them; dashes tell them apart without colours.

    Args:
        lines: at least one.
        across: the title of the horizontal axis.
        alt: a description for readers who do not see it.
    """
    x_scale = axis_of(across, [0.0, *(x for line in lines for x, _ in line.places)], 0.0)
    y_scale = axis_of("", [y for line in lines for _, y in line.places])
    right, base = WIDE - _RIGHT, _TOP + _TALL

    def x_of(x: float) -> float:
        return _LEFT + x_scale.place(x) * (right - _LEFT)

    def y_of(y: float) -> float:
        return base - y_scale.place(y) * _TALL

    parts = _axes(x_scale, y_scale, right, base)
    height = base + 44.0
    for i, line in enumerate(lines):
        steps = [f"M{x_of(line.places[0][0]):.1f} {y_of(line.places[0][1]):.1f}"]
        steps += [f"H{x_of(x):.1f}V{y_of(y):.1f}" for (_, _), (x, y) in pairwise(line.places)]
        parts.append(f'<path class="line l{i % 6}" d="{"".join(steps)}"><title>{escape(line.name)}</title></path>')
        texts = label_lines(line.name)
        middle = height + LINE * len(texts) / 2
        parts.append(f'<path class="line l{i % 6}" d="M{_LEFT} {middle:.1f}h24"/>')
        parts.append(svg_text(texts, _LEFT + 30, middle, 'class="name"'))
        height += LINE * len(texts) + 5
    box = f'viewBox="0 0 {WIDE} {height:g}"'
    return f'<svg {box} role="img" aria-label="{escape(alt)}">{"".join(parts)}</svg>'


def _axes(x_scale: Scale, y_scale: Scale, right: float, base: float) -> list[str]:
    parts = []
    for place, label in y_scale.ticks(_TALL, 34):
        y = base - place * _TALL
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}"/>')
        parts.append(f'<text class="tick" text-anchor="end" x="{_LEFT - 5}" y="{y + 4:.1f}">{label}</text>')
    for place, label in x_scale.ticks(right - _LEFT, 52):
        x = _LEFT + place * (right - _LEFT)
        parts.append(
            f'<text class="tick" text-anchor="middle" x="{min(x, right - 14):.1f}" y="{base + 15}">{label}</text>'
        )
    parts.append(f'<path class="axis" d="M{_LEFT} {_TOP}V{base}H{right}"/>')
    parts.append(f'<text class="title" x="{_LEFT}" y="{base + 32}">{escape(x_scale.title)}</text>')
    return parts
