"""Draw the picture of the first screen: scores against parameters, each group of ties with a colour and a shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from glorabench.analysis.statistics import Estimate
from glorabench.reports.figures.svg import Scale

SHAPES = ("circle", "square", "triangle", "diamond", "cross", "star")  # of the first groups; further ones have a dot
_CHARACTER, _BOLD = 7.4, 8.3  # units of width of a character at a height of 12 units, in the widest usual typefaces
_LINE = 15.0
_DISTANCES = (11.0, 20.0, 32.0, 46.0, 62.0, 80.0, 100.0)
_ANGLES = (0, 180, 90, 270, 30, 150, 330, 210, 60, 120, 300, 240)  # degrees; to the right first
_MARK = 7.0  # half of the side of a square that a mark fits into

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Spot:
    """One configuration.

    Args:
        index: its place among the points of its table.
        name: its label.
        x: its parameters.
        y: its score with an interval, whose ends are NaN where there is none.
        group: the place of its group of ties, from 0; None where something was chosen on test.
        family: `lora`, `glora` or empty.
        hint: the text for a reader who points at it.
        room: further characters of its label.
    """

    index: int
    name: str
    x: float
    y: Estimate
    group: int | None
    family: str
    hint: str
    room: int = 0


@dataclass(frozen=True)
class Canvas:
    """The size of a picture in its own units, and the margins around the plot."""

    wide: float
    high: float
    left: float = 44
    right: float = 14
    top: float = 30
    bottom: float = 44

    @property
    def plot(self) -> Box:
        """The plot: left, top, right, bottom."""
        return self.left, self.top, self.wide - self.right, self.high - self.bottom


WIDE_CANVAS, NARROW_CANVAS = Canvas(1040, 500), Canvas(360, 400, left=38)


def draw_picture(
    spots: Sequence[Spot], across: Scale, up: Scale, alt: str, canvas: Canvas, named: Iterable[int] | None = None
) -> str:
    """Draw a scatter plot whose labels stand beside their points.

    Args:
        spots: at least one.
        across, up: the axes.
        alt: a description for readers who do not see it.
        canvas: its size.
        named: the indices of the spots with a label; None for all.
    """
    left, top, right, bottom = canvas.plot

    def place_of(spot: Spot, value: float) -> tuple[float, float]:
        height = min(max(value, up.low), up.high)
        return left + across.place(spot.x) * (right - left), bottom - up.place(height) * (bottom - top)

    parts = [*_axes(across, up, canvas)]
    names = [spot.index for spot in spots] if named is None else list(named)
    chosen = [spot for spot in spots if spot.index in names]
    lines = [_line_box(place_of(s, s.y.low), place_of(s, s.y.high)) for s in spots if not math.isnan(s.y.low)]
    labels = place_labels(chosen, {s.index: place_of(s, s.y.value) for s in spots}, canvas, lines)
    for spot in chosen:
        if spot.index in labels:
            parts += _leader(place_of(spot, spot.y.value), labels[spot.index])
    for spot in sorted(spots, key=lambda s: (bool(s.family), -(s.group or 0))):
        parts.append(_spot(spot, place_of))
    for spot in chosen:
        if spot.index in labels:
            x0, _, x1, y1 = labels[spot.index]
            kind = f"name {spot.family}".strip()
            text = f'<text class="{kind}" data-i="{spot.index}" x="{(x0 + x1) / 2:.1f}" y="{y1 - 4:.1f}"'
            parts.append(f'{text} text-anchor="middle">{escape(_label(spot, up))}</text>')
    box = f'viewBox="0 0 {canvas.wide:g} {canvas.high:g}"'
    return f'<svg {box} role="group" aria-label="{escape(alt)}">{"".join(parts)}</svg>'


def place_labels(
    spots: Sequence[Spot], places: dict[int, tuple[float, float]], canvas: Canvas, lines: Iterable[Box] = ()
) -> dict[int, Box]:
    """Find room for the labels of spots: beside their points, over no mark and no other label.

    Args:
        spots: what needs a label; GLoRA and LoRA come first, then the groups in their order.
        places: the place of every mark, by index.
        canvas: the size of the picture.
        lines: boxes of intervals, which labels leave free, too.

    Returns:
        The box of each label. A spot without room has none.
    """
    taken = [*(_around(x, y, _MARK) for x, y in places.values()), *lines]
    boxes: dict[int, Box] = {}
    order = sorted(spots, key=lambda s: (not s.family, s.group is None, s.group or 0, -s.y.value, s.name))
    for spot in order:
        box = next(
            (box for box in _candidates(spot, places[spot.index]) if _is_free(box, taken, canvas)),
            None,
        )
        if box is not None:
            boxes[spot.index] = box
            taken.append(box)
    return boxes


def _line_box(low: tuple[float, float], high: tuple[float, float]) -> Box:
    return low[0] - 1, min(low[1], high[1]), low[0] + 1, max(low[1], high[1])


def _around(x: float, y: float, half: float) -> Box:
    return x - half, y - half, x + half, y + half


def _candidates(spot: Spot, place: tuple[float, float]) -> Iterator[Box]:
    """Boxes for a label around a place, the nearest first."""
    half_width, half_height = (_BOLD if spot.family else _CHARACTER) * (len(spot.name) + spot.room) / 2 + 2, _LINE / 2
    for distance in _DISTANCES:
        for angle in _ANGLES:
            cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            x, y = place[0] + cos * (distance + half_width), place[1] - sin * (distance + half_height / 2)
            yield x - half_width, y - half_height, x + half_width, y + half_height


def _is_free(box: Box, taken: Iterable[Box], canvas: Canvas) -> bool:
    left, top, right, bottom = canvas.plot
    if box[0] < left + 2 or box[1] < top - 6 or box[2] > right + canvas.right - 2 or box[3] > bottom - 2:
        return False
    return not any(
        box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3] for other in taken
    )


def _label(spot: Spot, up: Scale) -> str:
    """The name, with an arrow and the score where the score is outside of the axis."""
    if up.low <= spot.y.value <= up.high:
        return spot.name
    return f"{spot.name} {'↓' if spot.y.value < up.low else '↑'} {spot.y.value:.4g}"


def _leader(place: tuple[float, float], box: Box) -> list[str]:
    """A line from a point to its label where the label is not right beside it."""
    x = min(max(place[0], box[0]), box[2])
    y = min(max(place[1], box[1]), box[3])
    if math.hypot(x - place[0], y - place[1]) < 14:
        return []
    return [f'<path class="leader" d="M{place[0]:.1f} {place[1]:.1f}L{x:.1f} {y:.1f}"/>']


def _spot(spot: Spot, place_of: Callable[[Spot, float], tuple[float, float]]) -> str:
    x, y = place_of(spot, spot.y.value)
    kind = "spoiled" if spot.group is None else f"g{min(spot.group, len(SHAPES))}"
    parts = [f'<g class="spot {kind} {spot.family}" data-i="{spot.index}" role="button" tabindex="0"']
    parts.append(f' aria-pressed="false" aria-label="{escape(spot.hint)}"><title>{escape(spot.hint)}</title>')
    parts.append(f'<circle class="reach" cx="{x:.1f}" cy="{y:.1f}" r="14"/>')
    if not math.isnan(spot.y.low):
        ends = [place_of(spot, value)[1] for value in (spot.y.low, spot.y.high)]
        parts.append(f'<path class="span" d="M{x:.1f} {ends[0]:.1f}V{ends[1]:.1f}"/>')
    if spot.family:
        parts.append(f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="10"/>')
    parts.append(f'<path class="mark" d="{mark_path(spot.group, x, y)}"/></g>')
    return "".join(parts)


def mark_path(group: int | None, x: float, y: float) -> str:
    """The outline of the mark of a group of ties around a point."""
    if group is None:
        return f"M{x - 5:.1f} {y - 5:.1f}l10 10m0 -10l-10 10"
    shape = SHAPES[group] if group < len(SHAPES) else "dot"
    outlines = {
        "circle": f"M{x - 6:.1f} {y:.1f}a6 6 0 1 0 12 0a6 6 0 1 0 -12 0z",
        "square": f"M{x - 5.5:.1f} {y - 5.5:.1f}h11v11h-11z",
        "triangle": f"M{x:.1f} {y - 7:.1f}l6.8 12h-13.6z",
        "diamond": f"M{x:.1f} {y - 7.5:.1f}l7.5 7.5l-7.5 7.5l-7.5 -7.5z",
        "cross": f"M{x - 2.5:.1f} {y - 6.5:.1f}h5v4h4v5h-4v4h-5v-4h-4v-5h4z",
        "star": f"M{x:.1f} {y - 7:.1f}l2 5h5l-4 3.4l1.6 5.2l-4.6 -3l-4.6 3l1.6 -5.2l-4 -3.4h5z",
        "dot": f"M{x - 4:.1f} {y:.1f}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
    }
    return outlines[shape]


def _axes(across: Scale, up: Scale, canvas: Canvas) -> list[str]:
    """Grid, ticks and titles."""
    left, top, right, bottom = canvas.plot
    parts = [f'<text class="title" x="2" y="14">{escape(up.title)}</text>']
    for place, label in up.ticks(bottom - top, 40):
        y = bottom - place * (bottom - top)
        parts.append(f'<path class="grid" d="M{left} {y:.1f}H{right}"/>')
        parts.append(f'<text class="tick" text-anchor="end" x="{left - 6}" y="{y + 4:.1f}">{label}</text>')
    for i, (place, label) in enumerate(across.ticks(right - left, 60)):
        x = left + place * (right - left)
        parts.append(f'<path class="grid" d="M{x:.1f} {top}V{bottom}"/>')
        parts.append(f'<text class="tick" text-anchor="middle" x="{x:.1f}" y="{bottom + 17}">{label}</text>')
        if across.zero and i == 0:
            parts.append(f'<path class="break" d="M{x + 14:.1f} {bottom + 4}l4 -8m3 8l4 -8"/>')
    parts.append(f'<path class="axis" d="M{left} {top}V{bottom}H{right}"/>')
    parts.append(f'<text class="title" x="{left}" y="{bottom + 36}">{escape(across.title)}</text>')
    return parts
