"""Draw scatter plots and bar charts as SVG that takes its colours from the page."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from textwrap import wrap

from glorabench.analysis.cells import Cell
from glorabench.analysis.statistics import Estimate
from glorabench.records.metrics import Metric

WIDE = 360  # units of width; a phone shows one unit as one pixel
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 164, 26, 36  # margins of the plot
_LEAST = 200  # height of the plot

_DECADES = 10  # values that are further apart than this factor get a logarithmic axis
_BREAK = 0.12  # share of a logarithmic axis between zero and its low end
_UNITS = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))

LINE = 12.0  # height of a line of text, in units of the figure
CHARACTERS = 22  # in a line; at a height of 11 units the widest usual typefaces need 7 units a character

_BARS_WIDE = 360
_BARS_LEFT, _BARS_RIGHT, _BARS_TOP = 156, 42, 8  # margins for names and values


@dataclass(frozen=True)
class Dot:
    """A point.

    Args:
        name: its label beside the plot.
        x, y: its place, with intervals; the ends are NaN where there is none.
        kind: `front`, `other`, or `spoiled`.
        hint: more text for the tooltip.
    """

    name: str
    x: Estimate
    y: Estimate
    kind: str
    hint: str = ""


def scatter_plot(dots: Sequence[Dot], across: Scale, up: Scale, alt: str, level: float | None = None) -> str:
    """Draw a scatter plot. Names stand in a column at its right, each joined to its point by a line.

    Args:
        dots: at least one.
        across, up: the axes.
        alt: a description of the figure for readers who do not see it.
        level: the height of a dashed line.
    """
    lines = {dot.name: label_lines(dot.name) for dot in dots}
    heights = {name: LINE * len(name_lines) + 4 for name, name_lines in lines.items()}
    tall = max(_LEAST, sum(heights.values()) - 14)
    right = WIDE - _RIGHT

    def place_of(x: float, y: float) -> tuple[float, float]:
        return _LEFT + across.place(x) * (right - _LEFT), _TOP + (1 - up.place(y)) * tall

    dots = sorted(
        dots, key=lambda dot: (place_of(dot.x.value, dot.y.value)[1], -place_of(dot.x.value, dot.y.value)[0], dot.name)
    )
    places = [place_of(dot.x.value, dot.y.value) for dot in dots]
    sizes = [heights[dot.name] for dot in dots]
    centres = _keep_above(spread_labels([y for _, y in places], sizes, _TOP - 8), sizes, _TOP + tall + 10)
    parts = [*_frame(across, up, right, tall)]
    if level is not None:
        y = place_of(across.low, level)[1]
        parts.append(f'<path class="level" d="M{_LEFT} {y:.1f}H{right}"/>')
    for i, ((x, y), centre) in enumerate(zip(places, centres, strict=True)):
        parts.append(f'<path class="leader" data-i="{i}" d="M{x:.1f} {y:.1f}L{right + 6} {centre:.1f}h4"/>')
    for i in sorted(range(len(dots)), key=lambda i: dots[i].kind == "front"):  # points on the front are drawn last
        dot, (x, y) = dots[i], places[i]
        parts.append(f'<g class="{dot.kind}" data-i="{i}"><title>{escape(_tooltip(dot, across, up))}</title>')
        if not math.isnan(dot.y.low):
            ends = [place_of(dot.x.value, min(max(value, up.low), up.high))[1] for value in (dot.y.low, dot.y.high)]
            parts.append(f'<path class="span" d="M{x:.1f} {ends[0]:.1f}V{ends[1]:.1f}"/>')
        if not math.isnan(dot.x.low):
            ends = [
                place_of(min(max(value, across.low), across.high), dot.y.value)[0] for value in (dot.x.low, dot.x.high)
            ]
            parts.append(f'<path class="span" d="M{ends[0]:.1f} {y:.1f}H{ends[1]:.1f}"/>')
        parts.append(f"{_mark(dot.kind, x, y)}</g>")
    for i, (dot, centre) in enumerate(zip(dots, centres, strict=True)):
        parts.append(svg_text(lines[dot.name], right + 13, centre, f'class="name {dot.kind}" data-i="{i}"'))
    high = _TOP + tall + _BOTTOM
    body = "".join(parts)
    return f'<svg viewBox="0 0 {WIDE} {high:g}" role="img" aria-label="{escape(alt)}">{body}</svg>'


def _keep_above(centres: list[float], sizes: Sequence[float], bottom: float) -> list[float]:
    """Move centres up where the last labels would lie below the bottom."""
    flipped_centres = [bottom - centre for centre in centres[::-1]]
    return [bottom - centre for centre in spread_labels(flipped_centres, sizes[::-1], 0)][::-1]


def _mark(kind: str, x: float, y: float) -> str:
    if kind == "spoiled":
        return f'<path class="mark" d="M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8"/>'
    return f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="{4.5 if kind == "front" else 4}"/>'


def _tooltip(dot: Dot, across: Scale, up: Scale) -> str:
    half = "" if math.isnan(dot.y.low) else f" ({dot.y.low:.2f} to {dot.y.high:.2f})"
    x = f"{dot.x.value:,.6g} {across.title.removesuffix(' (log)')}"
    return f"{dot.name}: {dot.y.value:.2f}{half} {up.title}; {x}{dot.hint}"


def _frame(across: Scale, up: Scale, right: float, tall: float) -> list[str]:
    """The grid, ticks and titles of both axes."""
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


@dataclass(frozen=True)
class Scale:
    """The scale of an axis.

    Args:
        title: the quantity that it shows.
        low, high: its ends; above zero where it is logarithmic.
        log: True for a logarithmic scale.
        zero: True for a logarithmic scale with a place for zero before its low end.
    """

    title: str
    low: float
    high: float
    log: bool = False
    zero: bool = False

    def place(self, value: float) -> float:
        """The place of a value: 0 at the low end and 1 at the high end."""
        if not self.log:
            return (value - self.low) / (self.high - self.low)
        if value <= 0:
            return 0.0
        part = math.log(value / self.low) / math.log(self.high / self.low)
        return _BREAK + (1 - _BREAK) * part if self.zero else part

    def ticks(self, length: float, room: float) -> list[tuple[float, str]]:
        """Places and texts of ticks on an axis of a given `length`, where a text with its gap needs `room`."""
        values = self._logarithmic() if self.log else self._linear(room / length)
        texts = [short_number(value) for value in values] if self.log else _tick_texts(values)
        candidates = [(self.place(value), text) for value, text in zip(values, texts, strict=True)]
        if self.log and self.zero:
            candidates.insert(0, (0.0, "0"))
        ticks: list[tuple[float, str]] = []
        for place, text in candidates:
            if not ticks or (place - ticks[-1][0]) * length >= room * (1 - 1e-9):
                ticks.append((place, text))
        return ticks

    def _linear(self, room: float) -> list[float]:
        """Round values that are at least `room` of the axis apart, and at least one value."""
        rough = (self.high - self.low) * room
        power = 10.0 ** math.floor(math.log10(rough))
        for factor in (1, 2, 2.5, 5, 10):
            step = power * factor
            if step >= rough * (1 - 1e-9):
                break
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(i * step, 12) for i in range(first, last + 1)] or [self.low]

    def _logarithmic(self) -> list[float]:
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)

        def within(factors: Sequence[int]) -> list[float]:
            values = [factor * 10.0**power for power in powers for factor in factors]
            return [value for value in values if self.low <= value <= self.high]

        whole = within((1,))
        return whole if len(whole) > 1 else within((1, 2, 5))


def axis_of(title: str, values: Sequence[float], least: float | None = None, most: float | None = None) -> Scale:
    """Make a scale that holds the values with some room, logarithmic where they are decades apart.

    Args:
        title: the quantity that it shows.
        values: at least one.
        least, most: the limits of possible values; the scale stays within them.
    """
    positive = [value for value in values if value > 0]
    if least is None and min(values) >= 0 and positive and max(positive) / min(positive) > _DECADES:
        return Scale(f"{title} (log)", min(positive) / 1.25, max(positive) * 1.25, True, len(positive) < len(values))
    low, high = min(values), max(values)
    room = 0.07 * (high - low) or 0.05 * abs(high) or 1.0
    low, high = low - room, high + room
    return Scale(title, low if least is None else max(least, low), high if most is None else min(most, high))


def short_number(value: float) -> str:
    """A number in few characters: 24.6k, 1.2T, 0.95."""
    unit, letter = _unit(abs(value))
    return f"{value / unit:.3g}{letter}"


def _tick_texts(values: Sequence[float]) -> list[str]:
    """The texts of ticks of a linear axis, with as many digits as their step needs."""
    most = max(map(abs, values))
    unit, letter = _unit(most) if most >= 1e4 else (1.0, "")
    step = min((upper - lower for lower, upper in pairwise(values)), default=1.0) / unit
    digits = len(f"{step:.8f}".rstrip("0").partition(".")[2])
    return [f"{value / unit:.{digits}f}{letter}" for value in values]


def _unit(size: float) -> tuple[float, str]:
    return next(((unit, letter) for unit, letter in _UNITS if size >= unit), (1.0, ""))


def label_lines(name: str) -> list[str]:
    """Break a name into lines; a list in it may be broken, too."""
    return wrap(re.sub(r",(?=\S)", ", ", name.replace(" = ", "\u00a0=\u00a0")), CHARACTERS, break_on_hyphens=False) or [
        ""
    ]


def spread_labels(targets: Sequence[float], heights: Sequence[float], top: float) -> list[float]:
    """Place labels below `top` in their order, each as near to its target as its neighbours allow.

    Args:
        targets: the centres that labels should have, ascending.
        heights: the heights of the labels, with the gap to the next one.
        top: the upper limit.

    Returns:
        The centres of the labels.
    """
    # of each block: top, height, sum of the tops that suit its labels, number of labels
    blocks: list[tuple[float, float, float, int]] = []
    for centre, height in zip(targets, heights, strict=True):
        ideal, size, count = centre - height / 2, height, 1
        begin = max(top, ideal)
        while blocks and blocks[-1][0] + blocks[-1][1] > begin:
            _, block_height, wish, block_count = blocks.pop()
            ideal += wish - count * block_height  # the labels below need a block whose top is higher by its height
            count, size = block_count + count, block_height + size
            begin = max(top, ideal / count)
        blocks.append((begin, size, ideal, count))
    centres: list[float] = []
    for begin, _, _, count in blocks:
        for height in heights[len(centres) : len(centres) + count]:
            centres.append(begin + height / 2)
            begin += height
    return centres


def svg_text(lines: Sequence[str], x: float, centre: float, attributes: str, anchor: str = "start") -> str:
    """Draw lines of text around a centre."""
    first = centre - LINE * (len(lines) - 1) / 2 + 4
    spans = "".join(
        f'<tspan x="{x:g}" y="{first + LINE * i:.1f}">{escape(line)}</tspan>' for i, line in enumerate(lines)
    )
    return f'<text {attributes} text-anchor="{anchor}">{spans}</text>'


def bar_chart(rows: Sequence[Cell], metric: Metric, alt: str) -> str:
    """Draw a bar for each method, from 0 to its score; a failed method has the word `failed` instead.

    Args:
        rows: cells of one task.
        metric: the metric of the scores; where it has no upper end, the longest bar or interval sets the end.
        alt: a description of the figure for readers who do not see it.
    """
    longest = max((max(cell.score.value, _high(cell.score)) for cell in rows if cell.finished_runs), default=0.0)
    end = metric.high if metric.high is not None else longest or 1.0
    y, parts, body = float(_BARS_TOP), [], []
    for cell in rows:
        lines = label_lines(cell.method)
        room = LINE * len(lines) + 5
        body.append(svg_text(lines, _BARS_LEFT - 6, y + room / 2, 'class="name"', "end"))
        body.append(_bar(cell, metric, end, y + room / 2))
        y += room
    for part in (0, 0.5, 1):
        x = _bar_end(part)
        anchor = ("start", "middle", "end")[round(2 * part)]
        parts.append(f'<path class="grid" d="M{x:g} {_BARS_TOP}V{y:.1f}"/>')
        label = f"{metric.scale * part * end:.3g}"
        parts.append(f'<text class="tick" text-anchor="{anchor}" x="{x:g}" y="{y + 14:.1f}">{label}</text>')
    high = y + 20
    inside = "".join((*parts, *body))
    return f'<svg viewBox="0 0 {_BARS_WIDE} {high:g}" role="img" aria-label="{escape(alt)}">{inside}</svg>'


def _bar_end(part: float) -> float:
    return round(_BARS_LEFT + part * (_BARS_WIDE - _BARS_LEFT - _BARS_RIGHT), 1)


def _high(estimate: Estimate) -> float:
    return estimate.value if math.isnan(estimate.high) else estimate.high


def _bar(cell: Cell, metric: Metric, end: float, y: float) -> str:
    if not cell.finished_runs:
        return f'<text class="tick" x="{_BARS_LEFT + 4}" y="{y + 4:.1f}">failed</text>'
    score, kind = cell.score, "bar spoiled" if cell.contaminated else "bar"
    width = _bar_end(max(0.0, score.value) / end) - _BARS_LEFT
    parts = [f'<rect class="{kind}" x="{_BARS_LEFT}" y="{y - 4.5:.1f}" width="{width:.1f}" height="9"/>']
    interval = ""
    if not math.isnan(score.low):
        low, high = (metric.within(value) for value in (score.low, score.high))
        ends = [metric.text(value, metric.digits - 1) for value in (low, high)]
        interval = f", 95 % interval {ends[0]} to {ends[1]}"
        left, right = _bar_end(max(0.0, low) / end), _bar_end(max(0.0, high) / end)
        parts.append(f'<path class="span" d="M{left} {y:.1f}H{right}M{left} {y - 3:.1f}v6"/>')
        parts.append(f'<path class="span" d="M{right} {y - 3:.1f}v6"/>')
    score_text = metric.text(score.value)
    parts.append(f'<text class="tick" text-anchor="end" x="{_BARS_WIDE - 1}" y="{y + 4:.1f}">{score_text}</text>')
    title = escape(f"{cell.method}: {score_text}{interval}, n = {score.n}")
    return f"<g><title>{title}</title>{''.join(parts)}</g>"
