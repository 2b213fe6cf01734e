"""Check a data set of the user before a run, and identify it by what its files hold. Light: no torch.

Results are kept until the process ends, so that no data set is read twice.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any

from glorabench.data.checks import image_files
from glorabench.data.checks.image_files import check_image_files
from glorabench.data.checks.inspect import FileReports, OnProgress, Report
from glorabench.data.folders.examples import Examples
from glorabench.data.folders.reading import read_examples
from glorabench.data.folders.splitting import SplitOptions, split_examples
from glorabench.data.folders.survey import Survey, UnreadableImages, survey_images
from glorabench.data.suites.suite import Splits
from glorabench.errors import BadInput
from glorabench.files import safe_name

FOLDER_LOADER = "glorabench.data.folder.load"
FOLDER = "folder"  # the name of the suite in records
OPTION_NAMES = tuple(option.name for option in fields(SplitOptions))
_MOST_FAULTS = 5  # unreadable images that are named; further ones are counted


@dataclass(frozen=True)
class FolderReport:
    """The result of a check of a data set.

    Args:
        report: the report, as for the task of a suite.
        classes: names of the classes; a label is an index into them.
        turn_count: number of images that are turned because of their EXIF data.
        origin: where the splits come from, in words.
    """

    report: Report
    classes: tuple[str, ...] = ()
    turn_count: int = 0
    origin: str = ""


def folder_task(root: str | None, task: str | None) -> str:
    """The name of the task: the given one, or that of its folder or list."""
    place = Path(os.path.abspath(Path(root or "").expanduser()))
    return task or (place.stem if place.is_file() else place.name) or FOLDER


def check_root(root: str | None) -> str:
    """Return the root.

    Raises:
        BadInput: no root is given.
    """
    if not root:
        raise BadInput(
            "data=folder needs data.root=FOLDER, where your images lie, or data.root=FILE.csv, which lists them"
        )
    return root


def identify_folder(data: Mapping[str, Any]) -> dict[str, Any]:
    """The name of the task, and the hash of its images.

    The hash is None if the images have a fault or no root is given. The check before the run reports that.

    Raises:
        BadInput: the value of an option is not possible.
    """
    root = data.get("root")
    task = folder_task(root, data.get("task"))
    if data.get("sha256") or not root:
        return {"task": task}
    return {"task": task, "sha256": _look_at({**data, "task": task}).report.fingerprint}


def check_folder(data: Mapping[str, Any]) -> FolderReport:
    """Check the data set of a run before its training.

    Raises:
        BadInput: something is missing, cannot be read, or contradicts itself.
    """
    look = _look_at(data)
    if look.report.problems:
        first, *problems = look.report.problems
        further = f" (and {len(problems)} more: glorabench data check folder root={data['root']})" if problems else ""
        raise BadInput(f"{first.rstrip('.')}{further}")
    return look


def _look_at(data: Mapping[str, Any]) -> FolderReport:
    options = SplitOptions(**{key: data[key] for key in OPTION_NAMES if key in data})
    root = check_root(data.get("root"))
    return _inspect(root, folder_task(root, data.get("task")), options, str(data["cache_dir"]))


@lru_cache(maxsize=256)
def _inspect(root: str, task: str, options: SplitOptions, cache_dir: str) -> FolderReport:
    return inspect_folder(Path(root).expanduser(), task, options, Path(cache_dir).expanduser())


def task_caches(cache_dir: Path, task: str) -> Path:
    """The folder of the caches of a task."""
    return cache_dir / FOLDER / safe_name(task)


def inspect_folder(
    root: Path,
    task: str,
    options: SplitOptions,
    cache_dir: Path,
    deep: bool = False,
    on_progress: OnProgress | None = None,
) -> FolderReport:
    """Check a data set: its form, its classes, every file, and whether an image is in two splits.

    Args:
        root: a folder or a list.
        task: name of the task.
        options: how the images are divided.
        cache_dir: folder of the surveys, and of the images of a saved Hugging Face data set.
        deep: decode every image.
        on_progress: called with the number of images that are decoded, and the number of all.
    """
    caches = task_caches(cache_dir, task)
    try:
        examples = read_examples(root, caches / "exports")
        survey = survey_images(examples.listing(range(len(examples))), caches)
        splits, origin = split_examples(examples, survey.hashes, options)
    except UnreadableImages as error:
        further = len(error.faults) - _MOST_FAULTS
        faults = [
            *error.faults[:_MOST_FAULTS],
            *([f"{root}: {further:,} more images cannot be read"] if further > 0 else []),
        ]
        return FolderReport(Report(task, {}, tuple(faults)))
    except BadInput as error:
        return FolderReport(Report(task, {}, (str(error),)))
    except OSError as error:
        fault = f"{error.filename or root} cannot be read ({error.strerror}): check its permissions"
        return FolderReport(Report(task, {}, (fault,)))
    hashes = _hashes_of_splits(examples, survey, splits)
    faults = _decoding_faults(splits, on_progress) if deep else ()
    duplicates = list(_duplicates(splits, hashes))
    report = Report(
        task,
        _with_notes(splits, examples, survey, origin),
        (*faults, *(() if options.allow_duplicates else duplicates)),
        extraction=max(("jpeg", "lossless"), key=survey.kinds.count),
        fingerprint=_fingerprint(splits, hashes),
        stamps=image_files.split_stamps(splits, image_files.split_statuses(splits)),
        digests={split: dict(enumerate(contents)) for split, contents in hashes.items()},
        overlaps=tuple(duplicates) if options.allow_duplicates else (),
    )
    return FolderReport(report, examples.classes, survey.turn_count, origin)


def _hashes_of_splits(examples: Examples, survey: Survey, splits: Splits) -> dict[str, list[str]]:
    hash_of = dict(zip(examples.names, survey.hashes, strict=True))
    return {split: [hash_of[name] for name in listing.names] for split, listing in splits.items()}


def _fingerprint(splits: Splits, hashes: Mapping[str, list[str]]) -> str:
    """Sha256 over the label and content of each image, in order. Names and folders do not matter."""
    digest = hashlib.sha256()
    for split in sorted(splits):
        digest.update(f"{split} {len(splits[split])}\n".encode())
        for label, content in zip(splits[split].labels, hashes[split], strict=True):
            digest.update(f"{label} {content}\n".encode())
    return digest.hexdigest()


def _duplicates(splits: Splits, hashes: Mapping[str, list[str]]) -> Iterator[str]:
    """A line for each pair of train, val and test that shares images by their contents."""
    for first, second in combinations(("train", "val", "test"), 2):
        index_of = {content: index for index, content in reversed(list(enumerate(hashes[first])))}
        if shared := [index for index, content in enumerate(hashes[second]) if content in index_of]:
            twin = splits[first].path(index_of[hashes[second][shared[0]]])
            count = f"{len(shared):,} image{'s' * (len(shared) > 1)} of {second} {'are' if len(shared) > 1 else 'is'}"
            yield (
                f"{count} also in {first} (first: {splits[second].path(shared[0])} is {twin}): remove them from one, "
                "or accept them with data.allow_duplicates=true"
            )


def _decoding_faults(splits: Splits, on_progress: OnProgress | None) -> Iterator[str]:
    """A line for each image that cannot be decoded."""
    paths = sorted({str(listing.path(i)) for listing in splits.values() for i in range(len(listing))})
    reports: FileReports = {}
    count = 0
    for step in check_image_files([(path, True) for path in paths], reports):
        count += step
        if on_progress:
            on_progress(count, len(paths))
    yield from (report.fault for report in reports.values() if report.fault)


def _with_notes(splits: Splits, examples: Examples, survey: Survey, origin: str) -> Splits:
    """The splits, with notes on the data set at train."""
    names = examples.classes
    names_text = ", ".join(names[:20]) + (f" and {len(names) - 20:,} more" if len(names) > 20 else "")
    notes = [f"{len(names):,} classes: {names_text}", origin, *examples.notes]
    if survey.turn_count:
        notes.append(f"{survey.turn_count:,} images are turned as their EXIF data say")
    train = splits["train"]
    for note in notes:
        train = train.with_note(note)
    is_same = splits["trainval"] is splits["train"]
    return {**splits, "train": train, **({"trainval": train} if is_same else {})}
