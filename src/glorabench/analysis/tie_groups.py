"""Group configurations that a paired test does not separate, the best group first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from glorabench.analysis.cells import Cell, Group
from glorabench.analysis.costs import Point
from glorabench.analysis.significance import Term, Verdict, verdicts_on_mean

MOST_GROUPS = 8  # those that are tested; each test of a group takes as long as a column of a table


@dataclass(frozen=True)
class TieGroup:
    """Configurations that the test does not separate from the best of them.

    Args:
        best: the configuration with the best mean of this group; empty for the rest, which no test has grouped.
        members: all of them, the best mean first.
    """

    best: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class Ranking:
    """All configurations with a mean over tasks.

    Args:
        groups: the first holds the best and what is not separated from it; each further one likewise, of what is left.
        verdicts: how each configuration compares with the best of all.
    """

    groups: tuple[TieGroup, ...]
    verdicts: Mapping[str, Verdict]

    @property
    def order(self) -> list[str]:
        """The configurations, group after group."""
        return [method for group in self.groups for method in group.members]

    def group_of(self, method: str) -> int | None:
        """The place of the group that holds a configuration, from 0; None where it is in none."""
        return next((i for i, group in enumerate(self.groups) if method in group.members), None)


def ranking(group: Group, points: Iterable[Point]) -> Ranking:
    """Rank configurations by their mean over tasks; those that were chosen on test, or lack a task, are left out.

    The best of a group is compared with each configuration that is left, with p corrected for their number (Holm).

    Args:
        group: the records of one table.
        points: its configurations.
    """
    scores = {p.method: -p.metric.sign * round(p.score.value, 12) for p in points if p.may_be_on_front}
    cells_of: dict[str, dict[str, Cell]] = {method: {} for method in scores}
    for cell in group.cells:
        if cell.method in cells_of:
            cells_of[cell.method][cell.task] = cell
    terms = {task: Term(1 / len(group.by_task)) for task in group.by_task}
    left = sorted(scores, key=lambda method: (scores[method], method))
    groups: list[TieGroup] = []
    first_verdicts: Mapping[str, Verdict] = {}
    while left and len(groups) < MOST_GROUPS:
        verdicts = verdicts_on_mean({method: cells_of[method] for method in left}, terms)
        if not groups:
            first_verdicts = verdicts
        members = [method for method in left if method == left[0] or _is_with_best(verdicts.get(method))]
        groups.append(TieGroup(left[0], tuple(members)))
        left = [method for method in left if method not in members]
    if left:
        groups.append(TieGroup("", tuple(left)))
    return Ranking(tuple(groups), first_verdicts)


def _is_with_best(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.kind != "behind"
