"""Group the records of one configuration on one task into a cell."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from glorabench.analysis import statistics
from glorabench.analysis.labels import CellLabels, labels_of
from glorabench.records import compatibility
from glorabench.records.compatibility import (
    MARK,
    any_contaminated,
    comparable_groups,
    configuration_of,
    draw_of,
    refuse_mixtures,
)
from glorabench.records.metrics import Metric
from glorabench.records.record import Record

Draw = tuple[int, int]  # the seed of a run, and the seed that drew its few-shot split


@dataclass(frozen=True)
class Cell:
    """All seeds of one configuration on one task.

    Args:
        task: its name.
        method: what a table task by task calls the configuration.
        row: what a table with a column for each task calls it; the same on all of them.
        records: by seed.
        name, row_name: `method` and `row` for people.
    """

    task: str
    method: str
    row: str
    records: tuple[Record, ...]
    name: str = ""
    row_name: str = ""

    @property
    def finished_runs(self) -> list[Record]:
        """The runs that have a result."""
        return [r for r in self.records if r.status == "done"]

    @property
    def metric(self) -> Metric:
        """The metric that decides on this task.

        Raises:
            LookupError: no run has a result.
        """
        return self.finished_runs[0].metric

    @property
    def score(self) -> statistics.Estimate:
        """Mean over seeds of the metric that decides."""
        return statistics.mean([r.score for r in self.finished_runs])

    @property
    def contaminated(self) -> bool:
        """True when something was chosen on the test split. The score is then too good."""
        return any_contaminated(self.records)

    def by_draw(self, metric: str = "") -> dict[Draw, Record]:
        """The runs that have a value of `metric`, by seed. Without a name it is the metric that decides."""
        return {draw_of(r): r for r in self.finished_runs if not metric or metric in r.metrics}


@dataclass(frozen=True)
class Group:
    """Records that one table can hold: they share protocol, selection and backbone. Cells are computed once."""

    records: Sequence[Record]

    @cached_property
    def cells(self) -> list[Cell]:
        """One cell for each configuration and task (see `cells`)."""
        return cells(self.records)

    @cached_property
    def by_task(self) -> dict[str, list[Cell]]:
        """The cells of each task."""
        tasks: dict[str, list[Cell]] = {}
        for cell in self.cells:
            tasks.setdefault(cell.task, []).append(cell)
        return tasks

    @property
    def metric(self) -> Metric | None:
        """The metric of the first task that has a result."""
        return next((cell.metric for cell in self.cells if cell.finished_runs), None)


@dataclass(frozen=True)
class NamedGroup(Group):
    """A group whose cells have the names that people use; no two configurations of a task share one."""

    @cached_property
    def cells(self) -> list[Cell]:
        """One cell for each configuration and task (see `cells`)."""
        plain = cells(self.records)
        keys: dict[str, set[str]] = {}
        for cell in plain:
            keys.setdefault(cell.name, set()).add(cell.method)
            keys.setdefault(cell.row_name, set()).add(cell.row)
        result = []
        for cell in plain:
            method = cell.name if len(keys[cell.name]) == 1 else cell.method
            row = cell.row_name if len(keys[cell.row_name]) == 1 else cell.row
            result.append(replace(cell, method=method, row=row))
        return result


def named_groups_of(records: Iterable[Record]) -> list[NamedGroup]:
    """Group the records as `groups_of` does, with the names that people use."""
    return [NamedGroup(group) for group in comparable_groups(records)]


def groups_of(records: Iterable[Record]) -> list[Group]:
    """Group the records so that each group fits into one table."""
    return [Group(group) for group in comparable_groups(records)]


def cells(records: Iterable[Record]) -> list[Cell]:
    """Group records by everything but the seed, in the order in which tasks and methods came.

    Args:
        records: a failed run is left out where another run of the same seed has a result.

    Raises:
        BadInput: records of different protocols, selections, backbones or data would share a table.
    """
    records = list(records)
    refuse_mixtures(records)
    groups: dict[str, list[Record]] = {}
    configurations: dict[str, dict[str, Any]] = {}
    for r in records:
        configuration = configuration_of(r.config)
        key = json.dumps(configuration, sort_keys=True)
        groups.setdefault(key, []).append(r)
        configurations.setdefault(key, configuration)
    # by seed: the same records give the same bootstrap in whatever order they were read
    members = [sorted(_drop_failed_attempts(group), key=lambda r: r.config["seed"]) for group in groups.values()]
    flats = [compatibility.flatten(configuration) for configuration in configurations.values()]
    labels = labels_of([group[0].config for group in members], flats)
    result = [_cell(group, label) for group, label in zip(members, labels, strict=True)]
    place = {task: i for i, task in enumerate(dict.fromkeys(cell.task for cell in result))}
    return sorted(result, key=lambda cell: place[cell.task])


def _cell(group: Sequence[Record], labels: CellLabels) -> Cell:
    mark = f" {MARK}" if any_contaminated(group) else ""
    names = (labels.method + mark, labels.row + mark, tuple(group), labels.name + mark, labels.row_name + mark)
    return Cell(group[0].names["task"], *names)


def _drop_failed_attempts(group: Sequence[Record]) -> list[Record]:
    """Finished runs, and one failed run for each seed without any."""
    finished_runs = [r for r in group if r.status == "done"]
    failed_runs = {draw_of(r): r for r in group if r.status != "done"}
    draws = {draw_of(r) for r in finished_runs}
    return [*finished_runs, *(r for draw, r in failed_runs.items() if draw not in draws)]
