"""The data node of a config before a run: one name for a task, which images it is of, and whether they are right.

Light: no torch. What is found is remembered for as long as the process lives, so that no task is looked at twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from glorabench.data.checks import image_files, inspect
from glorabench.data.suites.registry import SUITES
from glorabench.errors import BadInput, one_of

Options = tuple[tuple[str, Any], ...]


def settled(data: Mapping[str, Any]) -> dict[str, Any]:
    """What a run of `data` is of: the task's own name for an alias, and `sha256` of its images (None without them).

    A run is of these images, wherever they lie; the same lists with other files, such as fake ones, are another run.

    Raises:
        BadInput: no such suite or task.
    """
    if "suite" not in data:
        return {}
    one_of("data.suite", data["suite"], SUITES)
    task = SUITES[data["suite"]].row(str(data["task"])).name
    return {"task": task, "sha256": data.get("sha256") or _sha256(*_place({**data, "task": task}))}


def examined(data: Mapping[str, Any]) -> inspect.Report:
    """The check that a run makes of its task before anything else.

    Raises:
        BadInput: something that a run needs is missing, damaged or not what the suite says.
    """
    suite, task, root, options = _place(data)
    report = _report(suite, task, root, options)
    if report.problems:
        first, *rest = report.problems
        more = f" (and {len(rest)} more)" if rest else ""
        chosen = "".join(f" {key}={value}" for key, value in options if value != SUITES[suite].options[key])
        command = f"glorabench data check {suite} task={task} root={root}{chosen}"
        raise BadInput(f"{first.rstrip('.')}{more}. All of it: {command}")
    return report


def refuse(nodes: Iterable[Mapping[str, Any]]) -> None:
    """Refuse a whole sweep before its first training when one of its tasks is not right.

    Raises:
        BadInput: naming the tasks, and what is wrong with the first.
    """
    places = {_place(data): data for data in nodes if "suite" in data}
    if len(places) > 1:
        print(f"looking at the images of {len(places)} tasks", flush=True)
    wrong: dict[str, str] = {}
    for (_, task, _, _), data in places.items():
        try:
            examined(data)
        except BadInput as error:
            wrong.setdefault(task, str(error))
    if wrong:
        others = ", ".join(list(wrong)[1:])
        rest = f" Wrong as well: {others}. To leave tasks out, list the others: data.task=A,B" if others else ""
        raise BadInput(next(iter(wrong.values())) + rest)


def _place(data: Mapping[str, Any]) -> tuple[str, str, str, Options]:
    suite = SUITES[data["suite"]]
    options = tuple((key, data[key]) for key in suite.options if key in data)
    return suite.name, suite.row(str(data["task"])).name, str(data["root"]), options


@lru_cache(maxsize=1024)
def _sha256(suite: str, task: str, root: str, options: Options) -> str | None:
    found = SUITES[suite]
    row = found.row(task)
    try:
        splits = found.read(row, found.folder(row, Path(root).expanduser()), {**found.options, **dict(options)})
    except (BadInput, OSError):
        return None  # the run itself says what is wrong
    return image_files.of_task(image_files.of_splits(splits, image_files.statuses(splits)), splits)


@lru_cache(maxsize=1024)
def _report(suite: str, task: str, root: str, options: Options) -> inspect.Report:
    found = SUITES[suite]
    return inspect.inspect(found, found.row(task), Path(root).expanduser(), dict(options))
