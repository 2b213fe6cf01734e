"""Load a task of image files, after the same check as `glorabench data check`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from glorabench.data.checks.preflight import check_task
from glorabench.data.images.on_disk import FilesOnDisk
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
    """A task of a suite on disk, after the same check as `glorabench data check`.

    Args:
        suite: vtab1k, fewshot, fgvc or imagenet.
        task: name or alias.
        root: folder of the suite.
        cache_dir: folder of decoded splits.
        preprocess: an id, or None for the geometry of the suite with the statistics of the checkpoint.
        sha256: hash of the images, part of the id of a run; None accepts any images.
        cache_test: True, False or auto.
        label: name of the task in tables; None for its own name.
        options: options of the suite, such as shots.

    Raises:
        BadInput: something that a run needs is missing, damaged or does not fit the suite.
    """
    one_of("data.suite", suite, SUITES)
    one_of("data.cache_test", str(cache_test).lower(), ("true", "false", "auto"))
    report = check_task({"suite": suite, "task": task, "root": root, **options})
    if sha256 not in (None, report.fingerprint):
        raise BadInput(f"the images of {task} below {root} have changed since this run was composed: start it again")
    definition = SUITES[suite]
    suite_task = definition.row(task)
    folder = Path(cache_dir).expanduser() / suite
    splits = {
        name: FilesOnDisk(listing, name, folder / suite_task.name, report.stamps[name], report.digests[name],
                    True if name in ("train", "val", "trainval") else cache_test)
        for name, listing in report.splits.items()
    }  # fmt: skip
    facts = {"group": suite_task.group, "extraction": report.extraction, "fake": report.fake}
    return ImageTask(
        suite, label or suite_task.name, suite_task.group, suite_task.classes, splits, report.fingerprint or "",
        geometry=definition.geometry, preprocess=preprocess, facts=facts, scorings=definition.scorings,
    )  # fmt: skip
