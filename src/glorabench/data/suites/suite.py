"""Suites on disk: facts about their tasks, and the way to read their splits from a folder. Light: no torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glorabench.data.suites.layout import Layout
from glorabench.data.suites.listing import Listing
from glorabench.errors import BadInput, nearest

Options = Mapping[str, Any]  # further settings of a suite, such as shots
Splits = dict[str, Listing]  # by name: train, val, trainval, test and further test sets


@dataclass(frozen=True)
class SuiteTask:
    """One task of a suite.

    Args:
        name: name of the task; the `aliases` stand for it, too.
        group: the group of tasks over which a mean is taken.
        classes: number of classes; labels are 0 .. classes - 1, even if not all occur.
        sizes: split -> the numbers of images that it may have; other splits may have any number.
        folders: names that people use for its folder, the usual one first.
        obtain: where to get the data, their size and their licence.
    """

    name: str
    group: str
    classes: int
    sizes: Mapping[str, tuple[int, ...]]
    folders: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    obtain: str = ""


def _sizes_of_row(row: SuiteTask, _: Options) -> Mapping[str, tuple[int, ...]]:
    return row.sizes


def _accept(_: Path) -> bool:
    return True


def _bare(name: str) -> str:
    """A name without quotes and spaces, which a shell or a file system may remove: clevr(task=count_all)."""
    return re.sub(r"[\"'\s]", "", name)


@dataclass(frozen=True)
class Suite:
    """A set of tasks with one layout on disk.

    Args:
        name: such as vtab1k.
        title: its name for people.
        rows: its tasks.
        geometry: how its protocol resizes images, the first word of its preprocessing ids.
        inside: folders below a root in which the task folders may lie ("" is the root itself).
        read: (row, folder of the task, options) -> splits. A BadInput names the file and the fix.
        options: the options of `read` with their defaults.
        obtain: how to get the suite.
        scorings: test set -> {name of a scoring: the classes that may be predicted, None for all}. Other test sets are
            scored once, as top1.
        alike: True if one program wrote all images of a task. Then JPEG and lossless images in one task are a fault.
        complete: True if every split holds every class. Then a split without one of them is damaged.
        sizes: (row, options) -> split -> the numbers of images that it may have; other splits may have any number.
        variants: the options that `data check` tries one after the other.
        holds: True if a folder looks like a task of this suite; folders of other suites may have the same name.
        layout: the columns and means of its table.
    """

    name: str
    title: str
    rows: tuple[SuiteTask, ...]
    geometry: str
    inside: tuple[str, ...]
    read: Callable[[SuiteTask, Path, Options], Splits]
    options: Options = field(default_factory=dict)
    obtain: str = ""
    scorings: Mapping[str, Mapping[str, tuple[int, ...] | None]] = field(default_factory=dict)
    alike: bool = False
    complete: bool = False
    sizes: Callable[[SuiteTask, Options], Mapping[str, tuple[int, ...]]] = _sizes_of_row
    variants: tuple[Options, ...] = ({},)
    holds: Callable[[Path], bool] = _accept
    layout: Layout | None = None

    def row(self, task: str) -> SuiteTask:
        """The task of that name or alias, with or without quotes and spaces in it.

        Raises:
            BadInput: there is no such task; the message has the nearest right name.
        """
        for row in self.rows:
            if _bare(task) in map(_bare, (row.name, *row.aliases)):
                return row
        raise BadInput(f"no task '{task}' in the suite {self.name}{nearest(task, [row.name for row in self.rows])}")

    def folder(self, row: SuiteTask, root: Path) -> Path:
        """The folder of a task below `root`: the first that looks like a task of this suite, otherwise the first.

        Raises:
            BadInput: the root or the folder is missing.
        """
        if not root.is_dir():
            raise BadInput(f"no folder {root}: set data.root=FOLDER, where {self.title} lies. {self.obtain}")
        places = [root / inside / name for inside in self.inside for name in row.folders]
        folders = [place for place in places if place.is_dir()]
        if folders:
            return next(filter(self.holds, folders), folders[0])
        alternatives = []
        if row.folders[1:]:
            alternatives.append(f"called {' or '.join(row.folders[1:])}")
        if self.inside[1:]:
            alternatives.append(f"in {' or '.join(str(root / inside) for inside in self.inside[1:])}")
        also = f" (nor one {', or '.join(alternatives)})" if alternatives else ""
        raise BadInput(f"{row.name} is missing: no folder {places[0]}{also}. {row.obtain or self.obtain}")
