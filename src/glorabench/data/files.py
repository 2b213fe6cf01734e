"""Load a task of image files, after the check that `glorabench data check` makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from glorabench.data.checks.preflight import examined
from glorabench.data.images.on_disk import Files
from glorabench.data.images.task import ImageTask
from glorabench.data.suites.registry import SUITES
from glorabench.errors import BadInput, one_of


def load(
    suite: str,
    task: str,
    root: str,
    cache_dir: str,
    preprocess: str | None,
    sha256: str | None,
    cache_test: bool | str,
    label: str | None = None,
    **options: Any,
) -> ImageTask:
    """A task of a suite on disk, after the check that `glorabench data check` makes.

    Args:
        suite: vtab1k, fewshot, fgvc or imagenet.
        task: name or alias.
        root: folder of the suite.
        cache_dir: where decoded splits are kept.
        preprocess: an id, or None for the suite's geometry with what the checkpoint was trained with.
        sha256: of the images, part of a run's identity; None takes the task as it is.
        cache_test: True, False or auto.
        label: what tables call the task; its name, if None.
        options: of the suite, such as shots.

    Raises:
        BadInput: something a run needs is missing, damaged or not what the suite says.
    """
    one_of("data.suite", suite, SUITES)
    one_of("data.cache_test", str(cache_test).lower(), ("true", "false", "auto"))
    report = examined({"suite": suite, "task": task, "root": root, **options})
    if sha256 not in (None, report.fingerprint):
        raise BadInput(f"the images of {task} below {root} have changed since this run was composed: start it again")
    found = SUITES[suite]
    row = found.row(task)
    folder = Path(cache_dir).expanduser() / suite
    splits = {
        name: Files(listing, name, folder / row.name, report.stamps[name], report.digests[name],
                    True if name in ("train", "val", "trainval") else cache_test)
        for name, listing in report.splits.items()
    }  # fmt: skip
    facts = {"group": row.group, "extraction": report.extraction, "fake": report.fake}
    return ImageTask(
        suite, label or row.name, row.group, row.classes, splits, report.fingerprint or "",
        geometry=found.geometry, preprocess=preprocess, facts=facts, scorings=found.scorings,
    )  # fmt: skip
