"""What a sweep over methods says about its best method, in sentences that the records support."""

from __future__ import annotations

from collections.abc import Sequence

from glorabench.analysis.cells import Group
from glorabench.analysis.choice import Budget, choose_within
from glorabench.analysis.costs import Point, points
from glorabench.analysis.significance import Term, difference_on_mean
from glorabench.reports.captions import FAKE, any_fake, count_text, interval_text
from glorabench.reports.tables.choice import sentence


def conclusion_lines(group: Group) -> list[str]:
    """The best configuration of a table and those that tie with it, then its lead over the next one with an interval.

    A configuration that lacks a task, or that was tuned on the test split, is left out by name. No line where fewer
    than two configurations are left.
    """
    if sum(point.may_be_on_front for point in points(group)) < 2:
        return []
    choice = choose_within(group, Budget())
    tasks = list(group.by_task)
    place = tasks[0] if len(tasks) == 1 else f"mean of {len(tasks)} tasks"
    warning = f"{FAKE}: " if any_fake(group.records) else ""
    lines = [f"{warning}{place}: {sentence(choice, Budget())}.", *_gap(choice.within, tasks)]
    if choice.beyond:
        lines.append("left out: " + "; ".join(f"{name} ({reason})" for name, reason in choice.beyond.items()))
    return lines


def _gap(within: Sequence[Point], tasks: Sequence[str]) -> list[str]:
    """The best configuration minus the next one; nothing where both are best or their outcomes cannot be paired."""
    first, second = within[:2]
    if first.score.value == second.score.value:
        return []
    difference = difference_on_mean(first.runs, second.runs, {task: Term(1 / len(tasks)) for task in tasks})
    if isinstance(difference, str):
        return []
    metric, interval = first.metric, interval_text(difference.estimate, first.metric)
    seeds = count_text(difference.n, "seed")
    note = f"95 % interval {interval}, {seeds}" if interval else f"{seeds}, so no interval"
    gap = f"{metric.difference_text(difference.value)} {metric.points}"
    return [f"{first.method} minus {second.method}, the next one: {gap} ({note})."]
