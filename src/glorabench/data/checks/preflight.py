"""Check the data of a run before it starts: the name of the task, the fingerprint of its images, and their faults.

Light: no torch. Results are kept as long as the process lives, so that no task is checked twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from glorabench.data.checks import image_files, inspect
from glorabench.data.folders.checking import FOLDER_LOADER, check_folder, identify_folder
from glorabench.data.suites.mini import MINI_LAYOUT
from glorabench.data.suites.registry import SUITES
from glorabench.data.text.files.checking import LOCAL_LOADER, check_texts, identify_texts
from glorabench.data.text.harness import HARNESS_LOADER, identify_harness
from glorabench.errors import BadInput, nearest, one_of

_OptionPairs = tuple[tuple[str, Any], ...]


MINI_LOADER = "glorabench.data.mini.load"


def identify_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that identify the data of a run: `task` (never an alias) and the `sha256` of its images, or None.

    The folder of the images does not matter. The same lists with other images, such as fake ones, are another run.

    Raises:
        BadInput: no such suite or task.
    """
    if data.get("_target_") == MINI_LOADER:
        names = [column.task for column in MINI_LAYOUT.columns]
        if data.get("task") not in names:
            raise BadInput(f"no task '{data.get('task')}' in the suite mini{nearest(str(data.get('task')), names)}")
    if data.get("_target_") == FOLDER_LOADER:
        return identify_folder(data)
    if data.get("_target_") == LOCAL_LOADER:
        return identify_texts(data)
    if data.get("_target_") == HARNESS_LOADER:
        return identify_harness(data)
    if "suite" not in data:
        return {}
    one_of("data.suite", data["suite"], SUITES)
    task = SUITES[data["suite"]].row(str(data["task"])).name
    return {"task": task, "sha256": data.get("sha256") or _sha256(*_place({**data, "task": task}))}


def check_task(data: Mapping[str, Any]) -> inspect.Report:
    """Check the task of a run before its training.

    Raises:
        BadInput: something that a run needs is missing or damaged, or contradicts the suite.
    """
    suite, task, root, options = _place(data)
    report = _report(suite, task, root, options)
    if report.problems:
        first, *other_problems = report.problems
        further = f" (and {len(other_problems)} more)" if other_problems else ""
        option_words = "".join(f" {key}={value}" for key, value in options if value != SUITES[suite].options[key])
        command = f"glorabench data check {suite} task={task} root={root}{option_words}"
        raise BadInput(f"{first.rstrip('.')}{further}. All of it: {command}")
    return report


def check_tasks(nodes: Iterable[Mapping[str, Any]]) -> None:
    """Refuse a whole sweep before its first training if one of its tasks has a fault.

    Raises:
        BadInput: naming the tasks, and what is wrong with the first.
    """
    nodes = list(nodes)
    places = {_place(data): data for data in nodes if "suite" in data}
    checks_of_own = {FOLDER_LOADER: check_folder, LOCAL_LOADER: check_texts}
    own = [data for data in nodes if data.get("_target_") in checks_of_own]
    if len(places) > 1:
        print(f"looking at the images of {len(places)} tasks", flush=True)
    faults: dict[str, str] = {}
    checks: list[tuple[Callable[[Mapping[str, Any]], Any], str, Mapping[str, Any]]]
    checks = [(check_task, task, data) for (_, task, _, _), data in places.items()]
    checks += [(checks_of_own[data["_target_"]], str(data["task"]), data) for data in own]
    for check, task, data in checks:
        try:
            check(data)
        except BadInput as error:
            faults.setdefault(task, str(error))
    if faults:
        other_tasks = ", ".join(list(faults)[1:])
        further = (
            f" Wrong as well: {other_tasks}. To leave tasks out, list the others: data.task=A,B" if other_tasks else ""
        )
        raise BadInput(next(iter(faults.values())) + further)


def _place(data: Mapping[str, Any]) -> tuple[str, str, str, _OptionPairs]:
    suite = SUITES[data["suite"]]
    options = tuple((key, data[key]) for key in suite.options if key in data)
    return suite.name, suite.row(str(data["task"])).name, str(data["root"]), options


@lru_cache(maxsize=1024)
def _sha256(suite: str, task: str, root: str, options: _OptionPairs) -> str | None:
    definition = SUITES[suite]
    row = definition.row(task)
    try:
        splits = definition.read(
            row, definition.folder(row, Path(root).expanduser()), {**definition.options, **dict(options)}
        )
    except (BadInput, OSError):
        return None  # the check before the run says what is wrong
    return image_files.task_fingerprint(
        image_files.split_fingerprints(splits, image_files.split_statuses(splits)), splits
    )


@lru_cache(maxsize=1024)
def _report(suite: str, task: str, root: str, options: _OptionPairs) -> inspect.Report:
    definition = SUITES[suite]
    return inspect.inspect_task(definition, definition.row(task), Path(root).expanduser(), dict(options))
