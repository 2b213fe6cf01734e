"""The table of two configurations, at equal parameters or equal cost where asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

from glorabench.analysis import statistics
from glorabench.analysis.cells import cells
from glorabench.analysis.comparison import Comparison, Side, compare, place_of
from glorabench.errors import BadInput
from glorabench.records.compatibility import MARK
from glorabench.records.filters import matching, told
from glorabench.records.record import Record
from glorabench.reports.captions import FAKE, count_text, fake, percentage_points
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
    "points: top-1 of the first side minus that of the second; interval of a task: "
    f"{statistics.PAIRED_TEST}; of the mean: over seeds alone. A task is won or lost when its interval "
    "excludes zero, not corrected for the number of tasks, and tied otherwise. Parameters are without the head, of the "
    "subnet; FLOPs and seconds are of training and search together."
)


def compared(
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
            raise BadInput(f"no run of {told(where)} is done")
        if len(found) > 1 and at is None:
            names = "; ".join(side.label for side in found)
            ways = " or ".join(AT)
            raise BadInput(f"{told(where)} is {len(found)} configurations ({names}): add a word, or --at {ways}")
    a, b, also = _nearest(one, two, at)
    if a.runs == b.runs:
        raise BadInput(f"{told(first)} and {told(second)} are the same runs of {a.label}: add a word to one side")
    if a.label == b.label:  # a label tells the configurations of one side apart
        a, b = Side(f"{a.label} ({told(first)})", a.records), Side(f"{b.label} ({told(second)})", b.records)
    a, b, left_out = _common(a, b)
    return _part(compare(a, b), [*also, *left_out], records)


def _configurations(records: Sequence[Record]) -> list[Side]:
    """One side for each row that a table of the records would have."""
    found: dict[str, list[Record]] = {}
    for cell in cells(records, by_task=True):
        found.setdefault(cell.method.removesuffix(f" {MARK}"), []).extend(cell.records)
    return [Side(label, own) for label, own in found.items()]


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
    body = []
    for on in c.tasks:
        tops, span = (f"{100 * on.first:.2f}", f"{100 * on.second:.2f}"), _span(on.difference.low, on.difference.high)
        how = _OUTCOME[on.sign] + " (no outcomes in common: interval over seeds)" * (not on.paired)
        body.append((on.task, *tops, percentage_points(on.difference.value), span, str(on.difference.n), how))
    means = [f"{100 * side.mean(side.top1).value:.2f}" for side in (c.first, c.second)]
    mean, span = c.mean, _span(c.mean.low, c.mean.high)
    body.append((f"mean of {len(c.tasks)}", *means, percentage_points(mean.value), span, str(mean.n), ""))
    ratios = [(what, of(c.first), of(c.second)) for what, of in _AT.values()]
    price = [f"{mine / theirs:.2f} ({what})" for what, mine, theirs in ratios if mine is not None and theirs]
    said = conclusion_of(c) + (f"; costs, {c.first.label} / {c.second.label}: {', '.join(price)}" if price else "")
    title = f"{FAKE}: " * fake(records) + f"{names[0]} against {names[1]}"
    head = ("task", *names, "points", "95 % interval", "n", "outcome")
    return Part(title, head, body, [said, *more], _NOTES)


def _span(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"{percentage_points(low)} to {percentage_points(high)}"


def conclusion_of(comparison: Comparison) -> str:
    """One sentence that the numbers support."""
    first, second, d = comparison.first.label, comparison.second.label, comparison.mean
    if seen := [side.label for side in (comparison.first, comparison.second) if side.contaminated]:
        return f"not decided: {' and '.join(seen)} saw the test split"
    won, tied, lost = comparison.tally
    tally = f"{count_text(won, 'win')}, {count_text(tied, 'tie')}, {count_text(lost, 'loss', 'losses')}"
    tally += f" of {count_text(len(comparison.tasks), 'task')}"
    low, high = (d.low, d.high) if comparison.sign >= 0 else (-d.high, -d.low)
    sure = (
        f"95 % interval {percentage_points(low)} to {percentage_points(high)}, {d.n} seeds"
        if d.n > 1
        else "one seed, so no interval"
    )
    if comparison.sign:
        way = "ahead of" if comparison.sign > 0 else "behind"
        return f"{first} is {way} {second} by {percentage_points(abs(d.value))} points ({sure}; {tally})"
    return f"not decided: {first} minus {second} is {percentage_points(d.value)} points ({sure}; {tally})"
