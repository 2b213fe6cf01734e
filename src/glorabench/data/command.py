"""`glorabench data`: check the data sets on disk, or write fake ones to rehearse with. Light: no torch."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from glorabench.data import fake
from glorabench.data.check import Seen, Told, inspect
from glorabench.data.suite import Options, Row, Suite
from glorabench.data.suites import FAKES, SUITES
from glorabench.data.summary import Checked, show
from glorabench.errors import BadInput, first_line, nearest, one_of


def main(words: Sequence[str]) -> int:
    """The `data` command: check [SUITE] or fake SUITE, with key=value; 0 when all is right, else 2.

    Raises:
        BadInput: a word that it does not know, or a folder that is not there.
    """
    bare = [word for word in words if "=" not in word]
    given = dict(word.split("=", 1) for word in words if "=" in word)
    actions = {"check": _check, "fake": _fake}
    if not bare:
        raise BadInput("data needs a word: `glorabench data check SUITE root=FOLDER`, or fake instead of check")
    one_of("data", bare[0], actions)
    for suite in bare[1:]:
        one_of("suite", suite, SUITES)
    return actions[bare[0]](bare[1:], given)


def _check(names: Sequence[str], given: dict[str, str]) -> int:
    suites = [SUITES[name] for name in names or SUITES]
    if "task" in given and len(suites) > 1:
        raise BadInput("task= needs a suite: `glorabench data check SUITE task=...`")
    known = {"root", "task", "deep"}.union(*(suite.options for suite in suites if len(suites) == 1))
    _know(given, known)
    root = Path(given.pop("root", os.environ.get("GLORABENCH_DATA", "data"))).expanduser()
    if not root.is_dir():
        raise BadInput(f"no folder {root}: give root=FOLDER, where the data sets lie, or set GLORABENCH_DATA")
    deep, task = _yes("deep", given.pop("deep", "false")), given.pop("task", None)
    rows = [[suite.row(name) for name in task.split(",")] if task else suite.rows for suite in suites]
    asked = [dict(zip(given, each, strict=True)) for each in itertools.product(*_values(given))] if given else []
    right = True
    for suite, chosen in zip(suites, rows, strict=True):
        checked = list(_checked(suite, chosen, asked, root, deep))
        show(suite, checked, root)
        right = right and not any(each.problems for each in checked)
    return 0 if right else 2


def _know(given: Mapping[str, str], known: set[str]) -> None:
    for key in given:
        if key not in known:
            raise BadInput(f"no key '{key}' here{nearest(key, known)}")


def _yes(key: str, value: str) -> bool:
    one_of(key, value, ("true", "false"))
    return value == "true"


def _values(given: Mapping[str, str]) -> Iterator[list[Any]]:
    """Of each option its values, as YAML has them, separated by commas."""
    import yaml

    for key, text in given.items():
        try:
            yield [yaml.safe_load(word) for word in text.split(",")]
        except yaml.YAMLError as error:
            raise BadInput(f"{key}={text} is no value ({first_line(error)})") from error


def _checked(suite: Suite, rows: Sequence[Row], asked: Sequence[Options], root: Path, deep: bool) -> Iterator[Checked]:
    """Each task with each of the options that were asked for, or once with all variants of the suite."""
    with _progress() as told:
        for row in rows:
            seen: Seen = {}
            for options in asked or [None]:
                name = " ".join([row.name, *(f"{key}={value}" for key, value in (options or {}).items())])
                variants = suite.variants if options is None else [options]
                look = partial(inspect, suite, row, root, deep=deep, ends=True, told=told(name), seen=seen)
                yield Checked(row, name, tuple(look(each) for each in variants))


@contextmanager
def _progress() -> Iterator[Callable[[str], Told]]:
    """A bar on a terminal; gives a function for what is looked at that gives one for how much of it is done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("")

        def told(name: str) -> Told:
            progress.reset(bar, description=name)
            return lambda done, total: progress.update(bar, completed=done, total=total)

        yield told


def _fake(names: Sequence[str], given: dict[str, str]) -> int:
    _know(given, {"root", "full"})
    if len(names) != 1 or "root" not in given:
        raise BadInput("to fake a suite say which and where: `glorabench data fake vtab1k root=FOLDER`")
    suite, root = SUITES[names[0]], Path(given["root"]).expanduser()
    for row in suite.rows:
        for place in (root / inside / name for inside in suite.inside for name in row.folders):
            if place.exists() and fake.marked(place, suite.name) is None:
                raise fake.refusal(place)
    made = FAKES[suite.name](root, _yes("full", given.get("full", "false")))
    old = len(made) - sum(made)
    there = "" if not old else " (all of it was there)" if old == len(made) else f" ({old} of {len(made)} were there)"
    print(f"{suite.title}, fake, in {root}{there}; look at it: glorabench data check {suite.name} root={root}")
    return 0
