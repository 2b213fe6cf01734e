"""The `data` command: check the data sets on disk, or write fake ones to rehearse with. Light: no torch."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from glorabench.data.checks.inspect import FileReports, OnProgress, Report, inspect_task
from glorabench.data.suites import fake
from glorabench.data.suites.registry import FAKES, SUITES
from glorabench.data.suites.suite import Options, Suite, SuiteTask
from glorabench.errors import BadInput, first_line, nearest, one_of

COLUMNS = ("task", "group", "images", "extraction", "status", "fingerprint")


def data(words: Sequence[str]) -> int:
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


def _checked(
    suite: Suite, rows: Sequence[SuiteTask], asked: Sequence[Options], root: Path, deep: bool
) -> Iterator[Checked]:
    """Each task with each of the options that were asked for, or once with all variants of the suite."""
    with _progress() as told:
        for row in rows:
            seen: FileReports = {}
            for options in asked or [None]:
                name = " ".join([row.name, *(f"{key}={value}" for key, value in (options or {}).items())])
                variants = suite.variants if options is None else [options]
                look = partial(
                    inspect_task, suite, row, root, deep=deep, ends=True, on_progress=told(name), reports=seen
                )
                yield Checked(row, name, tuple(look(each) for each in variants))


@contextmanager
def _progress() -> Iterator[Callable[[str], OnProgress]]:
    """A bar on a terminal; gives a function for what is looked at that gives one for how much of it is done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("")

        def told(name: str) -> OnProgress:
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
            if place.exists() and fake.read_marker(place, suite.name) is None:
                raise fake.refusal(place)
    made = FAKES[suite.name](root, _yes("full", given.get("full", "false")))
    old = len(made) - sum(made)
    there = "" if not old else " (all of it was there)" if old == len(made) else f" ({old} of {len(made)} were there)"
    print(f"{suite.title}, fake, in {root}{there}; look at it: glorabench data check {suite.name} root={root}")
    return 0


@dataclass(frozen=True)
class Checked:
    """One line of the table: a task, what it is called here, and what was found, for each variant of its options."""

    row: SuiteTask
    name: str
    reports: tuple[Report, ...]

    @property
    def problems(self) -> list[str]:
        """Of all variants, each once."""
        return list(dict.fromkeys(problem for report in self.reports for problem in report.problems))

    @property
    def notes(self) -> list[str]:
        """What the listings have to tell, and the images that two splits share, each once."""
        listed = [listing.note for report in self.reports for listing in report.splits.values() if listing.note]
        return list(dict.fromkeys([*listed, *(line for report in self.reports for line in report.overlaps)]))

    @property
    def missing(self) -> bool:
        """There is no folder of the task."""
        return self.reports[0].missing

    @property
    def extractions(self) -> list[str]:
        """Of the variants, each once."""
        return list(dict.fromkeys(report.extraction for report in self.reports if report.extraction))

    @property
    def fake(self) -> bool:
        """Made by `glorabench data fake`."""
        return any(report.fake for report in self.reports)

    def cells(self) -> tuple[str, ...]:
        """The line."""
        sizes: dict[str, set[int]] = {}
        for report in self.reports:
            for split, listing in report.splits.items():
                sizes.setdefault(split, set()).add(len(listing))
        spans = {split: dict.fromkeys((min(found), max(found))) for split, found in sizes.items()}
        images = ", ".join(f"{split} {' to '.join(f'{n:,}' for n in span)}" for split, span in spans.items())
        count = len(self.problems)
        status = "missing" if self.missing else f"{count} problem{'s' * (count > 1)}" if count else "ok"
        many = len(self.reports) > 1
        mark = f"{len(self.reports)} variants" if many else (self.reports[0].fingerprint or "")[:12]
        extraction = " and ".join(self.extractions)
        return self.name, self.row.group, images, extraction, status + ", fake" * self.fake, mark


def show(suite: Suite, checked: Sequence[Checked], root: Path) -> None:
    """Print what a check found of a suite."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False, markup=False)
    grid = Table(*COLUMNS, title=f"{suite.title} in {root}")
    for each in checked:
        grid.add_row(*each.cells())
    console.print(grid)
    for line in (*_wrong(suite, checked, root), *_notes(suite, checked)):
        console.print(line, soft_wrap=True)
    console.print(f"{suite.name}: {sum(not each.problems for each in checked)} of {len(checked)} right", soft_wrap=True)


def _wrong(suite: Suite, checked: Sequence[Checked], root: Path) -> Iterator[str]:
    """One line for each problem; then what is missing and how to get it."""
    for each in checked:
        yield from (f"{each.name}: {problem}" for problem in each.problems if not each.missing)
    if absent := list({each.row.name: each.row for each in checked if each.missing}.values()):
        places = " or ".join(str(root / inside / "TASK") for inside in suite.inside)
        yield f"missing: {', '.join(row.name for row in absent)}: no folder {places}"
        yield from (f"to get {row.name}: {row.obtain}" for row in absent if row.obtain)
        yield f"to get {suite.title}: {suite.obtain}"


def _notes(suite: Suite, checked: Sequence[Checked]) -> Iterator[str]:
    """What is no fault, but good to know."""
    for each in checked:
        yield from (f"note: {each.name}: {note}" for note in each.notes)
    kinds = {kind: [each.name for each in checked if kind in each.extractions] for kind in ("lossless", "jpeg")}
    if suite.alike and all(kinds.values()):
        fewer = min(kinds, key=lambda kind: len(kinds[kind]))
        yield (
            f"note: only {', '.join(kinds[fewer])} {'are' if len(kinds[fewer]) > 1 else 'is'} {fewer}: accuracies "
            "on the two extractions differ by up to 20 points, so tables refuse to mix them: get all from one archive"
        )
    if any(each.fake for each in checked):
        yield "note: fake data to rehearse with; records of it are marked, and tables refuse them beside others"
