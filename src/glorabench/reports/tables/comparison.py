"""The table of two configurations, at equal parameters or equal cost where asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

from glorabench.analysis.cells import cells
from glorabench.analysis.comparison import Comparison, Side, TaskComparison, compare_sides, place_of
from glorabench.errors import BadInput
from glorabench.records.compatibility import MARK
from glorabench.records.filters import conditions_text, matching
from glorabench.records.record import Record
from glorabench.reports.captions import DETAILS, FAKE, count_text, fake, interval_text
from glorabench.reports.rendering import Part

_OUTCOME = {1: "win", -1: "loss", 0: "tie"}
_EQUAL = 0.05  # what differs by less than this share is called equal
_AT: Mapping[str, tuple[str, Callable[[Side], float | None]]] = {
    "params": ("parameters", lambda side: side.params),
    "flops": ("FLOPs of training and search", lambda side: side.flops),
    "time": ("seconds of training and search", lambda side: side.seconds),
}
AT = tuple(_AT)
_NOTES = (
    "{}: {} of the first side minus that of the second, with its 95 % interval by paired outcomes. A task is won or "
    f"lost where the interval excludes zero. {DETAILS}"
)


def comparison_part(
    records: Sequence[Record], first: Mapping[str, Any], second: Mapping[str, Any], at: str | None = None
) -> Part:
    """Both sides task by task, and one sentence that the numbers support.

    Raises:
        BadInput: a side is nothing, or several configurations without `at` or alike in it; both are the same; nothing
            in common.
    """
    one, two = ([s for s in _configurations(matching(records, where)) if s.runs] for where in (first, second))
    for where, found in ((first, one), (second, two)):
        if not found:
            raise BadInput(f"no run of {conditions_text(where)} is done")
        if len(found) > 1 and at is None:
            names = "; ".join(side.label for side in found)
            ways = " or ".join(AT)
            raise BadInput(
                f"{conditions_text(where)} is {len(found)} configurations ({names}): add a word, or --at {ways}"
            )
    a, b, also = _nearest(one, two, at)
    if a.runs == b.runs:
        words = " and ".join(map(conditions_text, (first, second)))
        raise BadInput(f"{words} are the same runs of {a.label}: add a word to one side")
    if a.label == b.label:  # a label tells the configurations of one side apart
        a, b = (
            Side(f"{a.label} ({conditions_text(first)})", a.records),
            Side(f"{b.label} ({conditions_text(second)})", b.records),
        )
    a, b, left_out = _common(a, b)
    return _part(compare_sides(a, b), [*also, *left_out], records)


def _configurations(records: Sequence[Record]) -> list[Side]:
    """One side for each row that a table of the records would have."""
    members: dict[str, list[Record]] = {}
    for cell in cells(records):
        members.setdefault(cell.row.removesuffix(f" {MARK}"), []).extend(cell.records)
    return [Side(label, of_label) for label, of_label in members.items()]


def _nearest(one: Sequence[Side], two: Sequence[Side], at: str | None) -> tuple[Side, Side, list[str]]:
    """The pair that is nearest in what `at` says, and that in words."""
    if at is None:
        return one[0], two[0], []
    what, of = _AT[at]

    def ratio(pair: tuple[Side, Side]) -> float:
        mine, theirs = (of(side) for side in pair)
        return mine / theirs if mine and theirs else math.nan

    pairs = [pair for pair in product(one, two) if not math.isnan(ratio(pair))]
    if not pairs:
        raise BadInput(f"--at {at}: no pair of these sides has both {what} in its records, above zero")
    a, b = min(pairs, key=lambda pair: abs(math.log(ratio(pair))))
    found = ratio((a, b))
    near = f"at equal {what}" if abs(found - 1) <= _EQUAL else f"not at equal {what}"
    alike = [pair for pair in pairs if math.isclose(ratio(pair), found)]
    if len(alike) > 1:
        names = "; ".join(f"{mine.label} and {theirs.label}" for mine, theirs in alike)
        raise BadInput(
            f"--at {at}: {len(alike)} pairs have the ratio {found:.2f}, the nearest to 1: {names}: add a word"
        )
    return a, b, [f"{near}: the ratio is {found:.2f}, the nearest to 1 of {len(pairs)} pairs"]


def _common(a: Side, b: Side) -> tuple[Side, Side, list[str]]:
    """Both sides on the tasks and seeds that they have in common, and what was left out."""
    common = a.runs.keys() & b.runs.keys()
    if not common:
        raise BadInput(f"{a.label} and {b.label} have no task and seed in common: make the runs that one of them lacks")
    said = []
    for side, other in ((a, b), (b, a)):
        lost: dict[str, list[str]] = {}
        for task, seed in sorted(side.runs.keys() - common):
            lost.setdefault(task, []).append(str(seed))
        if lost:
            told = "; ".join(f"{task} (seed {', '.join(seeds)})" for task, seeds in lost.items())
            said.append(f"left out, as {other.label} has no result there: {told}")
    kept = [[r for r in s.records if place_of(r) in common] for s in (a, b)]
    return Side(a.label, kept[0]), Side(b.label, kept[1]), said


def _part(c: Comparison, more: Sequence[str], records: Sequence[Record]) -> Part:
    names = [side.name for side in (c.first, c.second)]
    body = [_row(on) for on in c.tasks]
    metric = c.metric
    if c.mean is not None:
        means = [metric.text(side.mean(side.score).value) for side in (c.first, c.second)]
        gap = (metric.difference_text(c.mean.value), interval_text(c.mean, metric))
        body.append((f"mean of {len(c.tasks)}", *means, *gap, str(c.mean.n), ""))
    prices = []
    for what, of in _AT.values():
        mine, theirs = of(c.first), of(c.second)
        if mine is not None and theirs:
            prices.append(f"{mine / theirs:.2f} ({what})")
    price = f"; costs, {c.first.label} / {c.second.label}: {', '.join(prices)}" if prices else ""
    title = f"{names[0]} against {names[1]}"
    labels = " or ".join(dict.fromkeys(on.metric.label for on in c.tasks))
    head = ("task", *names, metric.points, "95 % interval", "n", "outcome")
    notes = _NOTES.format(metric.points, labels)
    title = f"{FAKE}: {title}" if fake(records) else title
    return Part(title, head, body, [conclusion_of(c) + price, *more], notes)


def _row(on: TaskComparison) -> tuple[str, ...]:
    metric = on.metric
    outcome = _OUTCOME[on.sign]
    if not on.paired:
        outcome += " (no outcomes in common: interval over seeds)"
    gap = (metric.difference_text(on.difference.value), interval_text(on.difference, metric))
    return (on.task, metric.text(on.first), metric.text(on.second), *gap, str(on.difference.n), outcome)


def conclusion_of(comparison: Comparison) -> str:
    """One sentence that the numbers support."""
    first, second, difference = comparison.first.label, comparison.second.label, comparison.mean
    if seen := [side.label for side in (comparison.first, comparison.second) if side.contaminated]:
        return f"not decided: {' and '.join(seen)} saw the test split"
    won, tied, lost = comparison.tally
    tally = f"{count_text(won, 'win')}, {count_text(tied, 'tie')}, {count_text(lost, 'loss', 'losses')}"
    tally += f" of {count_text(len(comparison.tasks), 'task')}"
    if difference is None:
        return f"no mean: the tasks of {first} and {second} are scored by metrics of different units ({tally})"
    metric = comparison.metric
    low, high = difference.low, difference.high
    if comparison.sign and difference.value < 0:  # the sentence says by how much, so above zero
        low, high = -high, -low
    sure = "one seed, so no interval"
    if difference.n > 1:
        ends = f"{metric.difference_text(low)} to {metric.difference_text(high)}"
        sure = f"95 % interval {ends}, {difference.n} seeds"
    if comparison.sign:
        way = "ahead of" if comparison.sign > 0 else "behind"
        gap = f"{metric.difference_text(abs(difference.value))} {metric.points}"
        return f"{first} is {way} {second} by {gap} ({sure}; {tally})"
    gap = f"{metric.difference_text(difference.value)} {metric.points}"
    return f"not decided: {first} minus {second} is {gap} ({sure}; {tally})"
