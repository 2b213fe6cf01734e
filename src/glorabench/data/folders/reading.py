"""Read images of the user: class folders, with or without splits, or a list. Light: no torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from PIL import Image

from glorabench.data.folders.arrow import is_saved_dataset, read_saved_dataset
from glorabench.data.folders.examples import SPLIT_NAMES, Example, Examples, check_splits, collect_examples
from glorabench.data.folders.tables import TABLE_SUFFIXES, read_table
from glorabench.data.suites.listing import is_hidden
from glorabench.errors import BadInput

# Pillow knows these formats, but cannot read them without further software
_NO_PICTURES = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF")


@cache
def image_suffixes() -> frozenset[str]:
    """The endings of the files that Pillow reads, in small letters."""
    formats = Image.registered_extensions()
    return frozenset(end for end, kind in formats.items() if kind in Image.OPEN and kind not in _NO_PICTURES)


def read_examples(root: Path, exports: Path) -> Examples:
    """The examples below `root`, whichever of the forms of docs/data.md it has.

    Args:
        root: a folder, or a list (CSV or JSON lines).
        exports: the folder for the images of a saved Hugging Face data set, which have no files of their own.

    Raises:
        BadInput: there is nothing, it has none of the forms, or it contradicts itself.
        OSError: it cannot be read.
    """
    if root.is_file():
        examples = read_table(root)
    elif not root.is_dir():
        raise BadInput(f"no folder or file {root}: set data.root=FOLDER, where your images lie")
    elif is_saved_dataset(root):
        examples = read_saved_dataset(root, exports)
    else:
        examples = _read_folders(root)
    check_splits(examples)
    return examples


def _read_folders(root: Path) -> Examples:
    """Class folders in `root`, or in folders of splits."""
    folders, files = _entries(root)
    split_of = {name: SPLIT_NAMES[name.lower()] for name in folders if name.lower() in SPLIT_NAMES}
    notes, rows = [], []
    if "train" in split_of.values() or (split_of and len(split_of) == len(folders)):
        for name, split in split_of.items():
            if twin := [second for second in split_of if split_of[second] == split and second != name]:
                raise BadInput(f"{root} has {name} and {twin[0]}, which are both {split}: keep one of them")
            rows += _class_images(root, name, split, notes)
        if other_folders := [name for name in folders if name not in split_of]:
            notes.append(f"{root}: not used, beside the splits: {', '.join(other_folders)}")
    else:
        rows += _class_images(root, "", "", notes)
    if not rows:
        raise BadInput(f"{root} has no images in folders of classes{_hint(root, files)}")
    if len({row.label for row in rows}) == 1 and not split_of:
        inner = root / rows[0].label
        if _entries(inner)[0]:
            raise BadInput(
                f"{root} has one class, '{inner.name}': if its folders are the classes, give data.root={inner}"
            )
    return collect_examples(root, root, rows, notes)


def _hint(root: Path, files: list[str]) -> str:
    """A hint on how to make a task of the files that were found."""
    if lists := [name for name in files if Path(name).suffix.lower() in TABLE_SUFFIXES]:
        return f": if {lists[0]} lists them, give data.root={root / lists[0]}"
    if any(_is_picture(name) for name in files):
        return ": put the images of each class into a folder of its own, or give a CSV file of path,label"
    return ": give data.root=FOLDER with a folder of images for each class"


def _class_images(root: Path, inside: str, split: str, notes: list[str]) -> Iterator[Example]:
    """Every image in the class folders of `root`/`inside`. Files that are left out are added to `notes`."""
    folders, files = _entries(root / inside)
    if loose := [name for name in files if _is_picture(name)]:
        notes.append(
            f"{root / inside}: {len(loose):,} images are in no folder of a class: not used (first: {loose[0]})"
        )
    other_files: list[str] = []
    for label in folders:
        for name in _walk(root / inside / label):
            if _is_picture(name):
                yield Example("/".join(filter(None, (inside, label, name))), label, split)
            else:
                other_files.append(f"{label}/{name}")
    if other_files:
        notes.append(
            f"{root / inside}: {len(other_files):,} files are no images by their names (first: {other_files[0]})"
        )


def _walk(folder: Path) -> Iterator[str]:
    """The files below a folder, with their subfolders. Links are followed, and hidden files are skipped."""
    real_folders: set[str] = set()
    for place, inner, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in real_folders:
            inner.clear()
            continue
        real_folders.add(real)
        inner[:] = sorted(name for name in inner if not is_hidden(name))
        subfolder = os.path.relpath(place, folder).replace(os.sep, "/")
        yield from (name if subfolder == "." else f"{subfolder}/{name}" for name in files if not is_hidden(name))


def _entries(folder: Path) -> tuple[list[str], list[str]]:
    """The folders and the files in a folder, sorted. Hidden ones are skipped."""
    entries = [entry for entry in os.scandir(folder) if not is_hidden(entry.name)]
    folders = sorted(entry.name for entry in entries if entry.is_dir())
    return folders, sorted(entry.name for entry in entries if not entry.is_dir())


def _is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in image_suffixes()
