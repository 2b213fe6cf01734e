"""Sheets: heading and rows of a wide table as text, for people and for programs."""

from __future__ import annotations

import math
from collections.abc import Iterable

from glorabench import sizes
from glorabench.layouts import Layout, Mean
from glorabench.ties import SIGNS
from glorabench.wide import Line, Value

Sheet = tuple[list[str], list[list[str]]]


def sheet(made: Iterable[Line], layout: Layout) -> Sheet:
    """Short names; one digit, in means two, with what marks it and half of its interval; the sizes that any row has."""
    made = list(made)
    known = [i for i, _ in enumerate(sizes.SIZES) if not made or any(line.sizes[i] for line in made)]
    names = [sizes.SIZES[i] for i in known]
    head = ["method", *layout.by, *(entry.short for entry in layout.entries), "n", *names]
    digits = {entry.name: 2 if isinstance(entry, Mean) else 1 for entry in layout.entries}

    def row(line: Line) -> list[str]:
        signs = {name: verdict.sign for name, verdict in line.verdicts.items()}
        shown = [line.values[name].text(digits[name], " ", signs.get(name, "")) for name in digits]
        return [line.method, *line.by, *shown, line.n, *(line.sizes[i] for i in known)]

    return head, [row(line) for line in made]


def exact(made: Iterable[Line], layout: Layout) -> Sheet:
    """Full names; two digits; sizes as plain numbers; the names of the columns in which a row is best, tied or
    untested; the ends of each interval."""
    names = [entry.name for entry in layout.entries]
    ends = [f"{name}_{end}" for name in names for end in ("low", "high")]
    kinds = [kind for kind in SIGNS if kind != "behind"]

    def row(line: Line) -> list[str]:
        stands = [" ".join(n for n, verdict in line.verdicts.items() if verdict.kind == kind) for kind in kinds]
        done = [r for cell in line.cells.values() for r in cell.done]
        size = sizes.Sizes.of(done).exact if done else ("",) * len(sizes.EXACT)
        shown = [line.values[name].text(2, None) for name in names]
        return [
            line.method,
            *line.by,
            *shown,
            line.n,
            *size,
            *stands,
            *(x for n in names for x in _ends(line.values[n])),
        ]

    return ["method", *layout.by, *names, "n", *sizes.EXACT, *kinds, *ends], [row(line) for line in made]


def _ends(value: Value) -> tuple[str, str]:
    low, high = (value.estimate.low, value.estimate.high) if value.estimate else (math.nan, math.nan)
    return ("", "") if math.isnan(low) else (f"{100 * low:.2f}", f"{100 * high:.2f}")


def blocks(layout: Layout) -> tuple[int, list[int]]:
    """How a table is cut: the number of first columns that every page has, and of those that stay together."""
    return 1 + len(layout.by), [len(block) for block in layout.blocks]
