"""Load images of your own: class folders, a list, or a saved Hugging Face data set (docs/data.md)."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from glorabench.data.folders.checking import FOLDER, FolderReport, check_folder, folder_task, task_caches
from glorabench.data.images.on_disk import FilesOnDisk
from glorabench.data.images.task import ImageTask
from glorabench.errors import BadInput, one_of
from glorabench.files import safe_name, write_text

GEOMETRY = "vtab"  # the whole image, resized
_MOST_NAMES = 200  # classes whose names a record holds


def load(
    root: str | None,
    cache_dir: str,
    task: str | None = None,
    shots: int | None = None,
    fraction: float | None = None,
    per_class: int | None = None,
    split_seed: int = 0,
    val_share: float = 0.2,
    test_share: float = 0.2,
    allow_duplicates: bool = False,
    preprocess: str | None = None,
    sha256: str | None = None,
    cache_test: bool | str = "auto",
) -> ImageTask:
    """The task of a folder or a list of images, after the same check as `glorabench data check folder`.

    The split is written to `cache_dir`/splits, so that it can be read.

    Args:
        root: a folder, or a list of images.
        cache_dir: folder of decoded images and of splits.
        task: name of the task; None for the name of the root.
        shots, fraction, per_class: the part of train that is used; at most one of them.
        split_seed: seed of every draw.
        val_share, test_share: shares of val and test, if these are not given.
        allow_duplicates: accept one image in two splits.
        preprocess: an id, or None for the whole image with the statistics of the checkpoint.
        sha256: hash of the images, part of the id of a run; None accepts any images.
        cache_test: True, False or auto.

    Raises:
        BadInput: the images are missing, damaged or contradict themselves, or the cache cannot be written.
    """
    one_of("data.cache_test", str(cache_test).lower(), ("true", "false", "auto"))
    name = folder_task(root, task)
    options = {
        "shots": shots, "fraction": fraction, "per_class": per_class, "split_seed": split_seed,
        "val_share": val_share, "test_share": test_share, "allow_duplicates": allow_duplicates,
    }  # fmt: skip
    look = check_folder({"root": root, "task": name, "cache_dir": cache_dir, **options})
    if sha256 not in (None, look.report.fingerprint):
        raise BadInput(f"the images in {root} have changed since this run was composed: start it again")
    caches = Path(cache_dir).expanduser()
    splits = {
        split: FilesOnDisk(
            listing, split, task_caches(caches, name), look.report.stamps[split], look.report.digests[split],
            cache_test if split == "test" else True, upright=True,
        )
        for split, listing in look.report.splits.items()
    }  # fmt: skip
    if look.report.splits["trainval"] is not look.report.splits["train"]:
        splits["trainval"].parts = (splits["train"], splits["val"])
    facts = _facts(look, _write_split(look, name, caches))
    return ImageTask(
        FOLDER, name, FOLDER, len(look.classes), splits, look.report.fingerprint or "",
        geometry=GEOMETRY, preprocess=preprocess, facts=facts, balanced_metric=True,
    )  # fmt: skip


def _facts(look: FolderReport, split_file: str) -> dict[str, Any]:
    """Facts for the record: class names, sizes, the origin of the splits, and the number of turned images."""
    classes = look.classes
    return {
        "class_names": list(classes) if len(classes) <= _MOST_NAMES else len(classes),
        "images": {split: len(listing) for split, listing in look.report.splits.items()},
        "split": look.origin,
        "split_file": split_file,
        "exif": f"{look.turn_count} images turned",
    }


def _write_split(look: FolderReport, task: str, cache_dir: Path) -> str:
    """Write path, class and split of every used image to a file; return its place in the cache.

    Raises:
        BadInput: it cannot be written.
    """
    name = f"splits/{safe_name(task)}-{(look.report.fingerprint or '')[:12]}.csv"
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("path", "label", "split"))
    for split in ("train", "val", "test"):
        listing = look.report.splits[split]
        writer.writerows(
            (path, look.classes[label], split) for path, label in zip(listing.names, listing.labels, strict=True)
        )
    write_text(cache_dir / name, text.getvalue(), "free space or set cache_dir=FOLDER")
    return name
