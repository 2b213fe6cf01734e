"""The `data` command: check the data sets on disk, or write fake ones to rehearse with. Light: no torch."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glorabench.errors import BadInput, first_line, nearest, one_of

if TYPE_CHECKING:
    from glorabench.data.checks.inspect import OnProgress
    from glorabench.data.checks.summary import TaskCheck
    from glorabench.data.suites.suite import Options, Suite, SuiteTask


def data(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORD",
            help="check or fake, a SUITE or FORM, and root=FOLDER, task=NAMES, deep=true, shots=..., full=true.",
        ),
    ] = None,
) -> int:
    """Check the data sets on disk, or write fake ones.

    check looks at lists, counts and labels, and at the beginning and end of every image; deep=true decodes all.
    The exit code is 2 when something that a run needs is missing or wrong. What is printed says how to get it.

    fake writes a tiny set in the true layout, to rehearse with; full=true has the true counts.

    The suites are vtab1k, fewshot, fgvc and imagenet; folder is for images of your own: docs/data.md. Forms of texts
    are text (your own), alpaca, sharegpt, samsum, commonsense, metamathqa and pretrain_text: docs/text.md.

    Examples:
        glorabench data check vtab1k root=/data                             every list and image of all 19 tasks
        glorabench data check vtab1k root=/data task=cifar,dtd deep=true    two tasks, every image decoded
        glorabench data check fewshot root=/data shots=1,16 split_seed=0    options of a suite: docs/data.md
        glorabench data check folder root=/my/images                        your own images, as data=folder reads them
        glorabench data check text root=/my/texts kind=multiple_choice      your own texts, as data=text reads them
        glorabench data check                                               all suites below $GLORABENCH_DATA, or data
        glorabench data fake vtab1k root=/tmp/fake                          a tiny set, to rehearse the whole table with

    Raises:
        BadInput: a word that it does not know, or a folder that is not there.
    """
    from glorabench.cli.texts import check_one_form, fake_one_form, names_of_forms
    from glorabench.data.suites.registry import SUITES

    names = [word for word in words or [] if "=" not in word]
    settings = dict(word.split("=", 1) for word in words or [] if "=" in word)
    actions = {"check": _check, "fake": _fake}
    if not names:
        raise BadInput("data needs a word: `glorabench data check SUITE root=FOLDER`, or fake instead of check")
    one_of("data", names[0], actions)
    if names == ["check", "folder"]:
        return _check_folder(settings)
    if len(names) == 2 and names[1] in names_of_forms():
        return {"check": check_one_form, "fake": fake_one_form}[names[0]](names[1], settings)
    for suite in names[1:]:
        one_of("suite", suite, [*SUITES, *["folder"] * (names[0] == "check"), *names_of_forms()])
    if set(names) & set(names_of_forms()):
        raise BadInput(f"texts stand alone: `glorabench data {names[0]} {names[-1]} root=FOLDER`")
    if "folder" in names:
        raise BadInput("folder stands alone: `glorabench data check folder root=FOLDER`")
    return actions[names[0]](names[1:], settings)


def _check(names: Sequence[str], settings: dict[str, str]) -> int:
    from glorabench.data.checks.summary import print_checks
    from glorabench.data.suites.registry import SUITES

    suites = [SUITES[name] for name in names or SUITES]
    if "task" in settings and len(suites) > 1:
        raise BadInput("task= needs a suite: `glorabench data check SUITE task=...`")
    keys = {"root", "task", "deep"}.union(*(suite.options for suite in suites if len(suites) == 1))
    _refuse_unknown(settings, keys)
    root = Path(settings.pop("root", os.environ.get("GLORABENCH_DATA", "data"))).expanduser()
    if not root.is_dir():
        raise BadInput(f"no folder {root}: give root=FOLDER, where the data sets lie, or set GLORABENCH_DATA")
    deep, task = _true_or_false("deep", settings.pop("deep", "false")), settings.pop("task", None)
    rows = [[suite.row(name) for name in task.split(",")] if task else suite.rows for suite in suites]
    values = itertools.product(*_values(settings))
    options = [dict(zip(settings, row, strict=True)) for row in values] if settings else []
    right = True
    for suite, tasks in zip(suites, rows, strict=True):
        checks = list(_task_checks(suite, tasks, options, root, deep))
        print_checks(suite, checks, root)
        right = right and not any(check.problems for check in checks)
    return 0 if right else 2


def _check_folder(settings: dict[str, str]) -> int:
    """Check images of the user."""
    from glorabench.data.checks.summary import TaskCheck, print_checks
    from glorabench.data.folders.checking import FOLDER, OPTION_NAMES, check_root, folder_task, inspect_folder
    from glorabench.data.folders.splitting import SplitOptions
    from glorabench.data.suites.suite import Suite, SuiteTask

    _refuse_unknown(settings, {"root", "task", "deep", *OPTION_NAMES})
    deep, task = _true_or_false("deep", settings.pop("deep", "false")), settings.pop("task", None)
    root_word = check_root(settings.pop("root", None))
    name, root = folder_task(root_word, task), Path(root_word).expanduser()
    cache_dir = Path(os.environ.get("GLORABENCH_CACHE", "~/.cache/glorabench")).expanduser()
    values = [options[0] for options in _values(settings)]
    options = SplitOptions(**dict(zip(settings, values, strict=True)))
    with _progress() as start:
        look = inspect_folder(root, name, options, cache_dir, deep, start(name))
    row = SuiteTask(name, FOLDER, len(look.classes), {}, ())
    suite = Suite(FOLDER, "Your images", (row,), "", ("",), lambda *_: {})
    print_checks(suite, [TaskCheck(row, name, (look.report,))], root)
    return 2 if look.report.problems else 0


def _refuse_unknown(settings: Mapping[str, str], keys: set[str]) -> None:
    for key in settings:
        if key not in keys:
            raise BadInput(f"no key '{key}' here{nearest(key, keys)}")


def _true_or_false(key: str, value: str) -> bool:
    one_of(key, value, ("true", "false"))
    return value == "true"


def _values(settings: Mapping[str, str]) -> Iterator[list[Any]]:
    """The values of each option, as YAML has them; commas separate them."""
    import yaml

    for key, text in settings.items():
        try:
            yield [yaml.safe_load(word) for word in text.split(",")]
        except yaml.YAMLError as error:
            raise BadInput(f"{key}={text} is no value ({first_line(error)})") from error


def _task_checks(
    suite: Suite, rows: Sequence[SuiteTask], options: Sequence[Options], root: Path, deep: bool
) -> Iterator[TaskCheck]:
    """Check each task with each of the options, or, without any, once with all variants of the suite."""
    from glorabench.data.checks.inspect import FileReports, inspect_task
    from glorabench.data.checks.summary import TaskCheck

    with _progress() as start:
        for row in rows:
            reports: FileReports = {}
            for choice in options or [None]:
                name = " ".join([row.name, *(f"{key}={value}" for key, value in (choice or {}).items())])
                variants = suite.variants if choice is None else [choice]
                watch = {"on_progress": start(name), "reports": reports}
                look = partial(inspect_task, suite, row, root, deep=deep, ends=True, **watch)
                yield TaskCheck(row, name, tuple(look(variant) for variant in variants))


@contextmanager
def _progress() -> Iterator[Callable[[str], OnProgress]]:
    """Show a bar on a terminal; gives a function that starts a name and gives a function for how much of it is done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("")

        def start(name: str) -> OnProgress:
            progress.reset(bar, description=name)
            return lambda count, total: progress.update(bar, completed=count, total=total)

        yield start


def _fake(names: Sequence[str], settings: dict[str, str]) -> int:
    from glorabench.data.suites import fake
    from glorabench.data.suites.registry import FAKES, SUITES

    _refuse_unknown(settings, {"root", "full"})
    if len(names) != 1 or "root" not in settings:
        raise BadInput("to fake a suite say which and where: `glorabench data fake vtab1k root=FOLDER`")
    suite, root = SUITES[names[0]], Path(settings["root"]).expanduser()
    for row in suite.rows:
        for place in (root / inside / name for inside in suite.inside for name in row.folders):
            if place.exists() and fake.read_marker(place, suite.name) is None:
                raise fake.refusal(place)
    new = FAKES[suite.name](root, _true_or_false("full", settings.get("full", "false")))
    old = len(new) - sum(new)
    remark = "" if not old else " (all of it was there)" if old == len(new) else f" ({old} of {len(new)} were there)"
    print(f"{suite.title}, fake, in {root}{remark}; look at it: glorabench data check {suite.name} root={root}")
    return 0
