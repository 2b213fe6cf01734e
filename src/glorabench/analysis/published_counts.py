"""What `conf/count.yaml` says: rows, the counts that papers print of them, and the arithmetic from ours to theirs.

Two averages over the 19 tasks of VTAB-1k are in print, of the tasks and of their three groups, and counts with and
without a linear head for each task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from omegaconf import OmegaConf

from glorabench.config.paths import conf_dir, options

Tasks = Mapping[str, Mapping[str, Mapping[str, int]]]  # group -> task -> {classes, what is chosen per task}
_OF = {
    "tasks": "the 19 tasks",
    "groups": "the 3 group means",
    "rounded groups": "the 3 group means, each rounded to 0.001 M",
}


@dataclass(frozen=True)
class PublishedCount:
    """A number as printed, and what was counted.

    Args:
        printed: such as `0.24 M` or `4,194,304`.
        source: who prints it.
        mean: over `tasks`, `groups` of tasks or `rounded groups`, where a value is chosen per task.
        head: the mean head over the tasks is part of it.
        less: what we count and the source does not.
    """

    printed: str
    source: str
    mean: str | None = None
    head: bool = False
    less: Mapping[str, int] = field(default_factory=dict)

    def agrees(self, value: int) -> bool:
        """Whether the number is `value`, to the digits that are printed."""
        number, _, unit = self.printed.partition(" ")
        if not unit:
            return int(number.replace(",", "")) == value
        return f"{value / 1e6:.{len(number.partition('.')[2])}f}" == number


@dataclass(frozen=True)
class Row:
    """A row: overrides, and what is published about them.

    Args:
        label: what it is called.
        run: the overrides it stands for.
        families: the families of backbones it is for; empty for all.
        per_task: override -> the name of the value that is chosen per task.
        note: backbone -> a remark.
        published: backbone -> figures.
    """

    label: str
    run: Sequence[str]
    families: Sequence[str] = ()
    per_task: Mapping[str, str] = field(default_factory=dict)
    note: Mapping[str, str] = field(default_factory=dict)
    published: Mapping[str, Sequence[PublishedCount]] = field(default_factory=dict)


@dataclass(frozen=True)
class Book:
    """All rows, the backbones they are shown for, what the sources are and the tasks that their means are over."""

    backbones: Sequence[str]
    sources: Mapping[str, str]
    tasks: Tasks
    rows: Sequence[Row]


def book() -> Book:
    """conf/count.yaml, and a row for every method that it does not name."""
    plain: Any = OmegaConf.to_container(OmegaConf.load(conf_dir() / "count.yaml"))
    rows = []
    for row in plain["rows"]:
        figures = {
            name: [PublishedCount(**figure) for figure in found] for name, found in row.pop("published", {}).items()
        }
        rows.append(Row(published=figures, **row))
    named = {word for row in rows for word in row.run}
    rows += [Row(name, [f"method={name}"]) for name in options("method") if f"method={name}" not in named]
    return Book(plain["backbones"], plain["sources"], plain["tasks"], rows)


def mean_count(tasks: Tasks, values: Mapping[str, int], over: str) -> int:
    """The mean of a value for each task, over the tasks or over the means of their groups, to a whole number."""
    if over == "tasks":
        return round(fmean(values.values()))
    means = [fmean(values[task] for task in group) for group in tasks.values()]
    return round(fmean(round(x, -3) if over == "rounded groups" else x for x in means))


def mean_head(tasks: Tasks, per_class: int) -> int:
    """Parameters of a linear head, averaged over the tasks."""
    every = {task: facts["classes"] for group in tasks.values() for task, facts in group.items()}
    return round(per_class * fmean(every.values()))


def reconcile(
    figure: PublishedCount, counted: int | Mapping[str, int], per_class: int, tasks: Tasks
) -> tuple[int, str]:
    """What the source counts, from what we count (by task, where it differs), and the arithmetic in words."""
    if isinstance(counted, int):
        value, said = counted, f"{counted:,}"
    else:
        assert figure.mean is not None, f"{figure.printed} ({figure.source}) is a mean over what?"
        value = mean_count(tasks, counted, figure.mean)
        said = f"{value:,} (mean of {_OF[figure.mean]})"
    start = said
    for what, number in figure.less.items():
        value, said = value - number, f"{said} - {number:,} ({what})"
    if figure.head:
        head = mean_head(tasks, per_class)
        value, said = value + head, f"{said} + {head:,} (mean head)"
    if said != start:
        said = f"{said} = {value:,}"
    if not figure.agrees(value):
        said = f"not explained: {said}"
    elif said == start and isinstance(counted, int):
        said = "the same" if figure.printed in (said, f"{value} M") else "the same, rounded"
    return value, said
