"""Suites on disk: the facts about their tasks, and where in a folder the splits are. Light: no torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glorabench.data.suites.listing import Listing
from glorabench.errors import BadInput, nearest

Options = Mapping[str, Any]  # what a suite asks beside task and root, such as shots
Splits = dict[str, Listing]  # of train, val, trainval, test and further test sets


@dataclass(frozen=True)
class Row:
    """One task of a suite.

    Args:
        name: of the task; `aliases` are accepted for it.
        group: what its mean is part of.
        classes: number of classes; labels are 0 .. classes - 1, whether or not all occur.
        sizes: the numbers of images that a split may have; a split that is not named may have any.
        folders: names of its folder in circulation, the usual one first.
        obtain: where people get it, how large it is, what its licence says.
    """

    name: str
    group: str
    classes: int
    sizes: Mapping[str, tuple[int, ...]]
    folders: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    obtain: str = ""


def _fixed(row: Row, _: Options) -> Mapping[str, tuple[int, ...]]:
    return row.sizes


def _any(_: Path) -> bool:
    return True


def _bare(name: str) -> str:
    """A name as it is left where a shell or a file name takes the quotes: clevr(task=count_all)."""
    return re.sub(r"[\"'\s]", "", name)


@dataclass(frozen=True)
class Suite:
    """A set of tasks with one layout on disk.

    Args:
        name: such as vtab1k.
        title: what people call it.
        rows: its tasks.
        geometry: how its protocol makes images fit a network, the first word of its preprocessing ids.
        inside: folders below a root in which the task folders may lie ("" is the root itself).
        read: (row, folder of the task, options) -> splits; BadInput names the file and the fix.
        options: what `read` takes, with the defaults.
        obtain: how to get the suite.
        scorings: test set -> {name of a scoring: the classes that may be answered, None for all}; a test set that
            is not named is scored once, as top1.
        alike: one program wrote all images of a task, so lossless ones beside JPEG are of another extraction.
        complete: every split holds every class, so that one that does not is damaged.
        sizes: (row, options) -> the numbers of images that each split may have; a split that is not named may have any.
        variants: what of its options `data check` goes through, one after the other.
        holds: whether a folder looks like a task of this suite: those of others may have the same name.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    geometry: str
    inside: tuple[str, ...]
    read: Callable[[Row, Path, Options], Splits]
    options: Options = field(default_factory=dict)
    obtain: str = ""
    scorings: Mapping[str, Mapping[str, tuple[int, ...] | None]] = field(default_factory=dict)
    alike: bool = False
    complete: bool = False
    sizes: Callable[[Row, Options], Mapping[str, tuple[int, ...]]] = _fixed
    variants: tuple[Options, ...] = ({},)
    holds: Callable[[Path], bool] = _any

    def row(self, task: str) -> Row:
        """The task of that name or alias, with or without quotes and spaces in it.

        Raises:
            BadInput: there is none, with the nearest right name.
        """
        for row in self.rows:
            if _bare(task) in map(_bare, (row.name, *row.aliases)):
                return row
        raise BadInput(f"no task '{task}' in the suite {self.name}{nearest(task, [row.name for row in self.rows])}")

    def folder(self, row: Row, root: Path) -> Path:
        """The folder of a task below `root`: the first that looks like one of this suite, or else the first.

        Raises:
            BadInput: the root or the folder is missing.
        """
        if not root.is_dir():
            raise BadInput(f"no folder {root}: set data.root=FOLDER, where {self.title} lies. {self.obtain}")
        places = [root / inside / name for inside in self.inside for name in row.folders]
        if there := [place for place in places if place.is_dir()]:
            return next(filter(self.holds, there), there[0])
        others = [f"called {' or '.join(row.folders[1:])}"] * bool(row.folders[1:])
        others += [f"in {' or '.join(str(root / inside) for inside in self.inside[1:])}"] * bool(self.inside[1:])
        also = f" (nor one {', or '.join(others)})" if others else ""
        raise BadInput(f"{row.name} is missing: no folder {places[0]}{also}. {row.obtain or self.obtain}")
