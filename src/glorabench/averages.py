"""Means over the tasks of a suite, of all of them or none."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean


def mean_of_tasks(values: Mapping[str, float], groups: Mapping[str, str]) -> float:
    """The mean of the values of all tasks.

    Args:
        values: by task; further tasks are left out.
        groups: the group of each task of the suite.

    Raises:
        KeyError: a task has no value.
    """
    return fmean(values[task] for task in groups)


def mean_of_groups(values: Mapping[str, float], groups: Mapping[str, str]) -> float:
    """The mean of the means of the groups; arguments and error as of `mean_of_tasks`."""
    names = dict.fromkeys(groups.values())
    return fmean(fmean(values[task] for task in groups if groups[task] == name) for name in names)
