"""The columns of each suite's table, in their order, and the means over them. Light: no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from glorabench.data.suites.registry import SUITES
from glorabench.data.suites.vtab1k import VTAB_GROUPS
from glorabench.records.record import Record


@dataclass(frozen=True)
class Column:
    """One test set of one task.

    Args:
        name: in CSV.
        short: where there is little room; breaks at its spaces.
        task: as `data.task` has it.
        metric: of the records; None is the one that decides on the task.
    """

    name: str
    short: str
    task: str
    metric: str | None = None


def mean_of_tasks(values: Mapping[str, float], groups: Mapping[str, str]) -> float:
    """The mean of the values of all tasks.

    Args:
        values: by task; further tasks are left out.
        groups: the group of each task of the suite.

    Raises:
        KeyError: a task has no value.
    """
    return fmean(values[task] for task in groups)


@dataclass(frozen=True)
class Mean:
    """A mean over columns.

    Args:
        name: in CSV.
        short: where there is little room.
        groups: name of a column -> its group.
        of: how, from values and groups.
    """

    name: str
    short: str
    groups: Mapping[str, str]
    of: Callable[[Mapping[str, float], Mapping[str, str]], float] = mean_of_tasks

    @property
    def weights(self) -> dict[str, float]:
        """What each column is worth in it."""
        return {name: self.of({n: float(n == name) for n in self.groups}, self.groups) for name in self.groups}


@dataclass(frozen=True)
class Layout:
    """A table with a row for each method and a column for each test set.

    Args:
        blocks: what stays together where a table is too wide: columns and means.
        notes: about the columns.
        by: keys of `data` that a method has rows of its own for.
        whole: of runs on all its tasks alone; a few of them are shown task by task.
    """

    blocks: tuple[tuple[Column | Mean, ...], ...]
    notes: str
    by: tuple[str, ...] = ()
    whole: bool = False

    @property
    def columns(self) -> list[Column]:
        """All of them, without the means."""
        return [entry for block in self.blocks for entry in block if isinstance(entry, Column)]

    @property
    def entries(self) -> list[Column | Mean]:
        """Columns and means, in their order."""
        return [entry for block in self.blocks for entry in block]


def _mini() -> Layout:
    shorts = {
        "digits": "digits", "dsprites_loc": "dSpr. loc", "dsprites_ori": "dSpr. ori", "shapes_count": "shapes count",
        "shapes_dist": "shapes dist",
    }  # fmt: skip
    columns = [Column(name, short, name) for name, short in shorts.items()]
    mean = Mean("mini_mean_5", "mean 5", dict.fromkeys(shorts, "mini"))
    return Layout(((*columns, mean),), "mean 5: mean of the 5 tasks", whole=True)


def _columns(suite: str, shorts: str) -> list[Column]:
    rows = SUITES[suite].rows
    return [Column(row.name, short, row.name) for row, short in zip(rows, shorts.split("|"), strict=True)]


def _vtab() -> Layout:
    shorts = "CIFAR|Calt.|DTD|Flow.|Pets|SVHN|SUN|PCam|Euro.|Resi.|Retin.|CLEVR count|CLEVR dist|DMLab|KITTI"
    columns = _columns("vtab1k", f"{shorts}|dSpr. loc|dSpr. ori|NORB azi|NORB ele")
    groups = {row.name: row.group for row in SUITES["vtab1k"].rows}
    blocks = []
    for group, short in zip(VTAB_GROUPS, ("nat.", "spec.", "struct."), strict=True):
        own = {task: found for task, found in groups.items() if found == group}
        blocks.append((*(c for c in columns if c.name in own), Mean(f"{group}_mean", f"{short} mean", own)))
    means = (
        Mean("vtab_mean_groups", "mean groups", groups, mean_of_groups),
        Mean("vtab_mean_19", "mean 19", groups),
    )
    notes = "mean groups: of the means of the three groups, as papers on PEFT print it; mean 19: of all tasks"
    return Layout((*blocks, means), notes)


def _five(suite: str, shorts: str, by: tuple[str, ...] = ()) -> Layout:
    columns = _columns(suite, shorts)
    mean = Mean(f"{suite}_mean_{len(columns)}", f"mean {len(columns)}", {c.name: suite for c in columns})
    return Layout(((*columns, mean),), f"mean {len(columns)}: mean of the {len(columns)} data sets", by)


def _imagenet() -> Layout:
    a, r = "imagenet_a/top1", "imagenet_r/top1"
    named = {
        "top1": "val", "imagenetv2/top1": "V2", "imagenet_sketch/top1": "Sketch", f"{a}_200": "A (200)",
        f"{a}_1000": "A (1000)", f"{r}_200": "R (200)", f"{r}_1000": "R (1000)",
    }  # fmt: skip
    columns = [Column("imagenet" if key == "top1" else key, short, "imagenet", key) for key, short in named.items()]

    def over(left_out: str, first: int) -> dict[str, str]:
        return {c.name: "imagenet" for c in columns[first:] if not c.name.endswith(left_out)}

    means = (
        Mean("shift_mean_4_200", "shifts (200)", over("_1000", 1)),
        Mean("imagenet_mean_5_1000", "all five (1000)", over("_200", 0)),
    )
    notes = "(200), (1000): the answer is one of the test set's 200 classes, or of all 1,000; shifts: mean of the four"
    return Layout(((*columns, *means),), notes, ("shots",))


def mean_of_groups(values: Mapping[str, float], groups: Mapping[str, str]) -> float:
    """The mean of the means of the groups; arguments and error as of `mean_of_tasks`."""
    names = dict.fromkeys(groups.values())
    return fmean(fmean(values[task] for task in groups if groups[task] == name) for name in names)


LAYOUTS: Final[Mapping[str, Layout]] = {
    "mini": _mini(),
    "vtab1k": _vtab(),
    "fewshot": _five("fewshot", "Food|Cars|Flow.|Aircr.|Pets", ("shots",)),
    "fgvc": _five("fgvc", "CUB|NABir.|Flow.|Dogs|Cars"),
    "imagenet": _imagenet(),
}


def layout_of(records: Iterable[Record]) -> Layout | None:
    """The layout of the suite that all records are of; None where they have none, or fill too little of it."""
    records = list(records)
    suites = {r.names["data"] for r in records}
    found = LAYOUTS.get(str(*suites)) if len(suites) == 1 else None
    tasks = {r.config["data"]["task"] for r in records}
    if found is None or not tasks <= {column.task for column in found.columns}:
        return None
    filled = sum(column.task in tasks for column in found.columns)
    return found if filled >= (len(found.columns) if found.whole else 2) else None
