"""The tasks that lm-evaluation-harness knows, without its log and without the network."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from glorabench.errors import BadInput, first_line, nearest


@contextmanager
def quiet_harness() -> Iterator[None]:
    """In the block the harness writes no log and reaches no network.

    Raises:
        BadInput: it is not installed.
    """
    try:
        import datasets
        import datasets.config
        import huggingface_hub.constants as hub
        import lm_eval.tasks  # noqa: F401
    except ImportError as error:
        raise BadInput(
            f"data=lm_eval needs lm-evaluation-harness ({first_line(error)}): pip install 'glorabench[text]'"
        ) from error
    config: Any = datasets.config
    old = hub.HF_HUB_OFFLINE, config.HF_HUB_OFFLINE, config.HF_DATASETS_OFFLINE, logging.root.manager.disable
    has_bars = not datasets.are_progress_bars_disabled()
    hub.HF_HUB_OFFLINE = config.HF_HUB_OFFLINE = config.HF_DATASETS_OFFLINE = True
    datasets.disable_progress_bars()
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        hub.HF_HUB_OFFLINE, config.HF_HUB_OFFLINE, config.HF_DATASETS_OFFLINE = old[:3]
        logging.disable(old[3])
        if has_bars:
            datasets.enable_progress_bars()


def task_manager(*folders: Path) -> Any:
    """The harness' manager of the tasks that files in these folders describe, and of no others."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=list(map(str, folders)), include_defaults=False)


def known_harness_tasks(root: Path, names: Sequence[str]) -> dict[str, Any]:
    """Name -> entry of the harness' index: its own tasks, and those that YAML files in `root` describe.

    Args:
        root: the folder of the data.
        names: the tasks that are looked for. Where files are called like them, the thousands of others are not read.

    Raises:
        BadInput: a file in `root` names Python code.
    """
    own = sorted(root.rglob("*.yaml"))
    for file in own:
        text = file.read_text(encoding="utf-8")
        if "!function" in text or "\nclass:" in f"\n{text}":
            raise BadInput(f"{file} names Python code, which is not run: describe the task by templates alone")
    with quiet_harness():
        tasks = dict(task_manager(root).task_index) if own else {}
        parts = [
            child
            for entry in tasks.values()
            for child in (entry.cfg or {}).get("task", ())
            if entry.kind.name == "GROUP"
        ]
        index = {**task_manager(*_folders_of({*names, *map(str, parts)} - tasks.keys())).task_index, **tasks}
        try:
            for name in names:
                leaf_tasks(index, name)
        except BadInput:
            return {**_installed(), **tasks}
        return index


def _folders_of(names: Iterable[str]) -> list[Path]:
    """The folders of the harness in which a file is called like a task or a group."""
    import lm_eval.tasks

    root = Path(lm_eval.tasks.__file__).parent
    return sorted(
        {file.parent for name in names for file in [*root.rglob(f"{name}.yaml"), *root.rglob(f"_{name}.yaml")]}
    )


@lru_cache(maxsize=1)  # it reads thousands of files
def _installed() -> Mapping[str, Any]:
    from lm_eval.tasks import TaskManager

    return TaskManager().task_index


def leaf_tasks(index: Mapping[str, Any], name: str) -> list[str]:
    """The tasks that a name stands for: itself, or the members of a group and of the groups in it.

    Raises:
        BadInput: there is no such task, or the group changes its members.
    """
    entry = index.get(name)
    if entry is None:
        raise BadInput(f"lm-evaluation-harness has no task '{name}'{nearest(name, index)}")
    kind = entry.kind.name
    if kind == "TASK":
        return [name]
    if kind == "TAG":
        return sorted(entry.tags)
    if kind != "GROUP" or not all(isinstance(child, str) for child in entry.cfg["task"]):
        raise BadInput(f"task '{name}' of lm-evaluation-harness is described by code or inside a group: name its parts")
    return sorted(leaf for child in entry.cfg["task"] for leaf in leaf_tasks(index, child))
