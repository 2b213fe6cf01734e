"""Axes: where a value lies between two ends, and which ticks stand there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_DECADES = 10  # ends that are further apart than this factor are drawn on a logarithmic axis
_BREAK = 0.12  # of an axis, between zero and the rest where it is logarithmic
_UNITS = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class Scale:
    """A scale.

    Args:
        title: what it shows.
        low, high: its ends; above zero where it is logarithmic.
        log: logarithmic.
        zero: a logarithmic axis that has a place for zero before its low end.
    """

    title: str
    low: float
    high: float
    log: bool = False
    zero: bool = False

    def place(self, value: float) -> float:
        """Where a value lies, 0 at the low end and 1 at the high one."""
        if not self.log:
            return (value - self.low) / (self.high - self.low)
        if value <= 0:
            return 0.0
        part = math.log(value / self.low) / math.log(self.high / self.low)
        return _BREAK + (1 - _BREAK) * part if self.zero else part

    def ticks(self, length: float, room: float) -> list[tuple[float, str]]:
        """Places and texts of ticks on an axis that is `length` long, where a text and its gap need `room`."""
        values = self._logarithmic() if self.log else self._linear(room / length)
        texts = [short(v) for v in values] if self.log else _even(values)
        chosen = [(self.place(v), text) for v, text in zip(values, texts, strict=True)]
        if self.log and self.zero:
            chosen.insert(0, (0.0, "0"))
        kept: list[tuple[float, str]] = []
        for place, text in chosen:
            if not kept or (place - kept[-1][0]) * length >= room * (1 - 1e-9):
                kept.append((place, text))
        return kept

    def _linear(self, room: float) -> list[float]:
        """Round values, at least `room` of the axis apart, or the few that there are."""
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
            return [v for p in powers for f in factors if self.low <= (v := f * 10.0**p) <= self.high]

        whole = within((1,))
        return whole if len(whole) > 1 else within((1, 2, 5))


def span(title: str, values: Sequence[float], least: float | None = None, most: float | None = None) -> Scale:
    """An axis that holds the values with some room, logarithmic where they are decades apart.

    Args:
        title: what it shows.
        values: at least one.
        least, most: what no value passes: the axis does not either.
    """
    positive = [v for v in values if v > 0]
    if least is None and min(values) >= 0 and positive and max(positive) / min(positive) > _DECADES:
        return Scale(f"{title} (log)", min(positive) / 1.25, max(positive) * 1.25, True, len(positive) < len(values))
    low, high = min(values), max(values)
    room = 0.07 * (high - low) or 0.05 * abs(high) or 1.0
    low, high = low - room, high + room
    return Scale(title, low if least is None else max(least, low), high if most is None else min(most, high))


def short(value: float) -> str:
    """A number in few characters: 24.6k, 1.2T, 0.95."""
    unit, letter = _unit(abs(value))
    return f"{value / unit:.3g}{letter}"


def _even(values: Sequence[float]) -> list[str]:
    """Ticks of a linear axis, with as many digits as their step needs."""
    most = max(map(abs, values))
    unit, letter = _unit(most) if most >= 1e4 else (1.0, "")
    step = min((b - a for a, b in pairwise(values)), default=1.0) / unit
    digits = len(f"{step:.8f}".rstrip("0").partition(".")[2])
    return [f"{value / unit:.{digits}f}{letter}" for value in values]


def _unit(size: float) -> tuple[float, str]:
    return next(((unit, letter) for unit, letter in _UNITS if size >= unit), (1.0, ""))
