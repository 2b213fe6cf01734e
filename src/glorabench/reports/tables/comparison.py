"""The table of two configurations; `at` asks for equal parameters or equal cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

from glorabench.analysis.cells import NamedGroup, cells
from glorabench.analysis.comparison import Comparison, Side, TaskComparison, compare_sides, place_of
from glorabench.errors import BadInput
from glorabench.records.compatibility import MARK
from glorabench.records.filters import conditions_text, filter_records
from glorabench.records.record import Record
from glorabench.reports.captions import DETAILS, FAKE, any_fake, count_text, interval_text
from glorabench.reports.rendering import Part

_OUTCOME = {1: "win", -1: "loss", 0: "not separated"}
_EQUAL = 0.05  # values that differ by less than this share count as equal
_COSTS: Mapping[str, tuple[str, Callable[[Side], float | None]]] = {
    "params": ("parameters", lambda side: side.params),
    "flops": ("FLOPs of training and search", lambda side: side.flops),
    "time": ("seconds of training and search", lambda side: side.seconds),
}
COST_NAMES = tuple(_COSTS)
_NOTES = (
    "{}: {} of the first side minus that of the second, with its 95 % interval by paired outcomes. A task is won or "
    f"lost where the interval excludes zero. {DETAILS}"
)


def comparison_part(
    records: Sequence[Record], first: Mapping[str, Any], second: Mapping[str, Any], at: str | None = None
) -> Part:
    """The table of two sides, task by task, with a sentence that the numbers support.

    Args:
        records: the records to choose from.
        first, second: the conditions of each side.
        at: `params`, `flops` or `time`: of several configurations take the pair that is nearest in it.

    Raises:
        BadInput: a side has no run, or has several configurations without `at` or with equal ratios in it; both sides
            are the same, or they have nothing in common.
    """
    of_first, of_second = filter_records(records, first), filter_records(records, second)
    names = _names([*of_first, *of_second])
    first_sides, second_sides = _configurations(of_first, names), _configurations(of_second, names)
    _check_candidates(first_sides, first, at)
    _check_candidates(second_sides, second, at)
    left, right, remarks = _nearest_pair(first_sides, second_sides, at)
    if left.runs == right.runs:
        words = " and ".join(map(conditions_text, (first, second)))
        raise BadInput(f"{words} are the same runs of {left.label}: add a word to one side")
    if left.label == right.label:  # a label tells the configurations of one side apart
        left = Side(f"{left.label} ({conditions_text(first)})", left.records)
        right = Side(f"{right.label} ({conditions_text(second)})", right.records)
    left, right, omissions = _common_runs(left, right)
    return _part(compare_sides(left, right), [*remarks, *omissions], records)


def _check_candidates(sides: Sequence[Side], conditions: Mapping[str, Any], at: str | None) -> None:
    """Check that conditions choose a configuration, and only one unless `at` decides between several."""
    words = conditions_text(conditions)
    if not sides:
        raise BadInput(f"no run of {words} is done")
    if len(sides) > 1 and at is None:
        names = "; ".join(side.label for side in sides)
        raise BadInput(
            f"{words} is {len(sides)} configurations ({names}): add a word, or --at {' or '.join(COST_NAMES)}"
        )


def _configurations(records: Sequence[Record], names: Mapping[str, str]) -> list[Side]:
    """One side for each row with a result that a table of the records would have."""
    members: dict[str, list[Record]] = {}
    for cell in cells(records):
        members.setdefault(cell.row, []).extend(cell.records)
    sides = []
    for row, of_row in members.items():
        sides.append(Side(names.get(of_row[0].run_id, row).removesuffix(f" {MARK}"), of_row))
    return [side for side in sides if side.runs]


def _names(records: Sequence[Record]) -> dict[str, str]:
    """What people call the configuration of each run, by its id; nothing where no table can hold all records."""
    unique = list({r.run_id: r for r in records}.values())
    try:
        return {r.run_id: cell.row for cell in NamedGroup(unique).cells for r in cell.records}
    except BadInput:
        return {}


def _nearest_pair(firsts: Sequence[Side], seconds: Sequence[Side], at: str | None) -> tuple[Side, Side, list[str]]:
    """The pair of sides whose values of `at` are nearest to each other, and a remark about their ratio."""
    if at is None:
        return firsts[0], seconds[0], []
    quantity, value_of = _COSTS[at]
    ratios: list[tuple[float, Side, Side]] = []
    for first, second in product(firsts, seconds):
        first_value, second_value = value_of(first), value_of(second)
        if first_value and second_value:
            ratios.append((first_value / second_value, first, second))
    if not ratios:
        raise BadInput(f"--at {at}: no pair of these sides has both {quantity} in its records, above zero")
    ratio, left, right = min(ratios, key=lambda entry: abs(math.log(entry[0])))
    ties = [f"{first.label} and {second.label}" for value, first, second in ratios if math.isclose(value, ratio)]
    if len(ties) > 1:
        raise BadInput(
            f"--at {at}: {len(ties)} pairs have the ratio {ratio:.2f}, the nearest to 1: {'; '.join(ties)}: add a word"
        )
    claim = f"at equal {quantity}" if abs(ratio - 1) <= _EQUAL else f"not at equal {quantity}"
    return left, right, [f"{claim}: the ratio is {ratio:.2f}, the nearest to 1 of {len(ratios)} pairs"]


def _common_runs(first: Side, second: Side) -> tuple[Side, Side, list[str]]:
    """Both sides on the tasks and seeds that they share, and remarks about the others."""
    common = first.runs.keys() & second.runs.keys()
    if not common:
        raise BadInput(
            f"{first.label} and {second.label} have no task and seed in common: make the runs that one of them lacks"
        )
    remarks = []
    for side, other in ((first, second), (second, first)):
        seeds_of: dict[str, list[str]] = {}
        for task, seed in sorted(side.runs.keys() - common):
            seeds_of.setdefault(task, []).append(str(seed))
        if seeds_of:
            places = "; ".join(f"{task} (seed {', '.join(seeds)})" for task, seeds in seeds_of.items())
            remarks.append(f"left out, as {other.label} has no result there: {places}")
    sides = [Side(side.label, [r for r in side.records if place_of(r) in common]) for side in (first, second)]
    return sides[0], sides[1], remarks


def _part(comparison: Comparison, remarks: Sequence[str], records: Sequence[Record]) -> Part:
    names = [side.name for side in (comparison.first, comparison.second)]
    body = [_row(row) for row in comparison.tasks]
    metric = comparison.metric
    if comparison.mean is not None:
        means = [metric.text(side.mean(side.score).value) for side in (comparison.first, comparison.second)]
        gap = (metric.difference_text(comparison.mean.value), interval_text(comparison.mean, metric))
        body.append((f"mean of {len(comparison.tasks)}", *means, *gap, str(comparison.mean.n), ""))
    prices = []
    for quantity, value_of in _COSTS.values():
        first_value, second_value = value_of(comparison.first), value_of(comparison.second)
        if first_value is not None and second_value:
            prices.append(f"{first_value / second_value:.2f} ({quantity})")
    price = f"; costs, {comparison.first.label} / {comparison.second.label}: {', '.join(prices)}" if prices else ""
    title = f"{names[0]} against {names[1]}"
    labels = " or ".join(dict.fromkeys(row.metric.label for row in comparison.tasks))
    head = ("task", *names, metric.points, "95 % interval", "n", "outcome")
    notes = _NOTES.format(metric.points, labels)
    title = f"{FAKE}: {title}" if any_fake(records) else title
    conclusion = conclusion_of(comparison) + price
    return Part(title, head, body, [conclusion, *remarks], notes, lead=(conclusion,), gaps=remarks)


def _row(task: TaskComparison) -> tuple[str, ...]:
    metric = task.metric
    outcome = _OUTCOME[task.sign]
    if not task.is_paired:
        outcome += " (no outcomes in common: interval over seeds)"
    gap = (metric.difference_text(task.difference.value), interval_text(task.difference, metric))
    return (task.task, metric.text(task.first), metric.text(task.second), *gap, str(task.difference.n), outcome)


def conclusion_of(comparison: Comparison) -> str:
    """One sentence that the numbers support."""
    first, second, difference = comparison.first.label, comparison.second.label, comparison.mean
    contaminated_sides = [side.label for side in (comparison.first, comparison.second) if side.contaminated]
    if contaminated_sides:
        return f"not decided: {' and '.join(contaminated_sides)} saw the test split"
    wins, ties, losses = comparison.tally
    tally = f"{count_text(wins, 'win')}, {ties} not separated, {count_text(losses, 'loss', 'losses')}"
    tally += f" of {count_text(len(comparison.tasks), 'task')}"
    if difference is None:
        return f"no mean: the tasks of {first} and {second} are scored by metrics of different units ({tally})"
    metric = comparison.metric
    low, high = difference.low, difference.high
    if comparison.sign and difference.value < 0:  # the sentence says by how much, so above zero
        low, high = -high, -low
    interval = "one seed, so no interval"
    if difference.n > 1:
        ends = f"{metric.difference_text(low)} to {metric.difference_text(high)}"
        interval = f"95 % interval {ends}, {difference.n} seeds"
    if comparison.sign:
        place = "ahead of" if comparison.sign > 0 else "behind"
        gap = f"{metric.difference_text(abs(difference.value))} {metric.points}"
        return f"{first} is {place} {second} by {gap} ({interval}; {tally})"
    gap = f"{metric.difference_text(difference.value)} {metric.points}"
    return f"not decided: {first} minus {second} is {gap} ({interval}; {tally})"
