"""The layout of a suite's table: its columns in their order, and the means over them. Light: no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True)
class Column:
    """One test set of one task.

    Args:
        name: name in CSV files.
        short: name where there is little room; it may break at spaces.
        task: value of `data.task`.
        metric: a metric of the records; None for the deciding metric of the task.
    """

    name: str
    short: str
    task: str
    metric: str | None = None


def mean_of_tasks(values: Mapping[str, float], groups: Mapping[str, str]) -> float:
    """The mean of the values of all tasks.

    Args:
        values: value of each task; tasks that have no group are left out.
        groups: the group of each task of the suite.

    Raises:
        KeyError: a task has no value.
    """
    return fmean(values[task] for task in groups)


@dataclass(frozen=True)
class Mean:
    """A mean over columns.

    Args:
        name: name in CSV files.
        short: name where there is little room.
        groups: name of a column -> its group.
        average: the mean as a function of values and groups.
    """

    name: str
    short: str
    groups: Mapping[str, str]
    average: Callable[[Mapping[str, float], Mapping[str, str]], float] = mean_of_tasks

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each column in the mean."""
        return {name: self.average({n: float(n == name) for n in self.groups}, self.groups) for name in self.groups}


@dataclass(frozen=True)
class Layout:
    """A table with a row for each method and a column for each test set.

    Args:
        blocks: groups of columns and means that stay together if the table is cut.
        notes: remarks on the columns.
        row_keys: keys of `data`; a method has one row for each of their values.
        whole: True if the table needs runs on all tasks; fewer tasks are shown one by one.
    """

    blocks: tuple[tuple[Column | Mean, ...], ...]
    notes: str
    row_keys: tuple[str, ...] = ()
    whole: bool = False

    @property
    def columns(self) -> list[Column]:
        """All columns, without the means."""
        return [entry for block in self.blocks for entry in block if isinstance(entry, Column)]

    @property
    def entries(self) -> list[Column | Mean]:
        """All columns and means, in their order."""
        return [entry for block in self.blocks for entry in block]


def mean_of_groups(values: Mapping[str, float], groups: Mapping[str, str]) -> float:
    """The mean of the means of the groups. Arguments and errors: see `mean_of_tasks`."""
    names = dict.fromkeys(groups.values())
    return fmean(fmean(values[task] for task in groups if groups[task] == name) for name in names)


def columns_of(names: Iterable[str], shorts: str) -> list[Column]:
    """A column for each task. `shorts` has their short names, separated by bars."""
    return [Column(name, short, name) for name, short in zip(names, shorts.split("|"), strict=True)]


def layout_with_mean(
    suite: str, columns: list[Column], noun: str, row_keys: tuple[str, ...] = (), whole: bool = False
) -> Layout:
    """A layout of columns and one mean over all of them.

    Args:
        suite: name of the suite.
        columns: the columns in their order.
        noun: a word for the columns, such as `tasks`.
        row_keys, whole: see `Layout`.
    """
    count = len(columns)
    mean = Mean(f"{suite}_mean_{count}", f"mean {count}", {column.name: suite for column in columns})
    return Layout(((*columns, mean),), f"mean {count}: mean of the {count} {noun}", row_keys, whole)
