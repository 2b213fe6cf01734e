"""Settling the data node of a config: one name for a task, and the hash of what lies on the disk. Light: no torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from glorabench.data import listing
from glorabench.data.suites import SUITES
from glorabench.errors import BadInput, one_of


def settled(data: Mapping[str, Any]) -> dict[str, Any]:
    """What a run of `data` is of: the task's own name for an alias, and `sha256` of its lists (None without lists).

    A run is of these images, wherever they lie; a rehearsal on fake ones is another run.

    Raises:
        BadInput: no such suite or task.
    """
    if "suite" not in data:
        return {}
    one_of("data.suite", data["suite"], SUITES)
    suite = SUITES[data["suite"]]
    task = suite.row(str(data["task"])).name
    options = tuple((key, data[key]) for key in suite.options if key in data)
    return {"task": task, "sha256": data.get("sha256") or _sha256(suite.name, task, str(data["root"]), options)}


@lru_cache(maxsize=1024)
def _sha256(suite: str, task: str, root: str, options: tuple[tuple[str, Any], ...]) -> str | None:
    found = SUITES[suite]
    row = found.row(task)
    try:
        return listing.sha256(found.read(row, found.folder(row, Path(root).expanduser()), dict(options)))
    except (BadInput, OSError):
        return None  # the run itself says what is wrong
