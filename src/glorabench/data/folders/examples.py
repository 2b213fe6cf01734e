"""The examples of a data set of the user: paths, classes, and splits if there are any. Light: no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from glorabench.data.suites.listing import Listing
from glorabench.errors import BadInput

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}  # what people call a split -> its name here
MULTI_LABEL = "images with several labels are not supported: keep one label for each image"


class Example(NamedTuple):
    """An image in the folder of a data set, its class, and its split. The split is empty if none is given."""

    name: str
    label: str
    split: str = ""


@dataclass(frozen=True)
class Examples:
    """All examples, in the order of class and name.

    Args:
        source: the file or folder that lists them.
        folder: the names are relative to it.
        names, labels, splits: one entry for each example; a split is empty if none is given.
        classes: names of the classes; a label is an index into them.
        notes: lines that a check prints.
    """

    source: Path
    folder: Path
    names: tuple[str, ...]
    labels: tuple[int, ...]
    splits: tuple[str, ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def listing(self, indices: Sequence[int]) -> Listing:
        """The examples at `indices`, in that order."""
        names, labels = tuple(self.names[i] for i in indices), tuple(self.labels[i] for i in indices)
        return Listing(self.source, self.folder, names, labels)


def collect_examples(source: Path, folder: Path, rows: Sequence[Example], notes: Sequence[str] = ()) -> Examples:
    """Examples in the order of class and name. Classes are sorted by name, or by number if all are numbers.

    Raises:
        BadInput: there are no images, one class, labels that are no classes, or a name that is no text.
    """
    if not rows:
        raise BadInput(f"{source} has no images: give data.root=FOLDER with a folder of images for each class")
    classes = _sorted_classes(source, {row.label for row in rows})
    if len(classes) == 1:
        raise BadInput(f"{source} has one class, '{classes[0]}': a task needs at least two")
    for name in (text for row in rows for text in (row.name, row.label)):
        try:
            name.encode()
        except UnicodeEncodeError:
            raise BadInput(f"{source}: the name {name!r} is not UTF-8: rename it") from None
    place = {name: index for index, name in enumerate(classes)}
    sorted_rows = sorted(rows, key=lambda row: (place[row.label], row.name, row.split))
    return Examples(
        source,
        folder,
        tuple(row.name for row in sorted_rows),
        tuple(place[row.label] for row in sorted_rows),
        tuple(row.split for row in sorted_rows),
        tuple(classes),
        tuple(notes),
    )


def _sorted_classes(source: Path, labels: set[str]) -> list[str]:
    """The classes in order.

    Raises:
        BadInput: the labels are measurements: all are numbers, and some are not whole.
    """
    numbers = [_number(label) for label in labels]
    if None in numbers:
        return sorted(labels)
    if fractions := [label for label in labels if not float(label).is_integer()]:
        raise BadInput(
            f"{source}: the labels are numbers such as {min(fractions)}: regression is not supported, give classes"
        )
    return sorted(labels, key=lambda label: (float(label), label))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def check_splits(examples: Examples) -> None:
    """Check splits that are given: train is among them, and each holds every class.

    Raises:
        BadInput: naming what is missing.
    """
    present = {split: set[int]() for split in ("train", "val", "test") if split in examples.splits}
    if present and "train" not in present:
        raise BadInput(f"{examples.source} has {' and '.join(present)}, but no train: add the images to train on")
    for split, label in zip(examples.splits, examples.labels, strict=True):
        if split:
            present[split].add(label)
    for split, labels in present.items():
        for label, name in enumerate(examples.classes):
            if label not in labels:
                twin = next(other for other in present if label in present[other])
                raise BadInput(
                    f"{examples.source}: class '{name}' is in {twin}, but not in {split}: each split must have every "
                    "class; add images, or remove the class"
                )
