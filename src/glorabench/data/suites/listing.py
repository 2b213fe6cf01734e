"""Listings: the names and labels of the images of a split, from lists, JSON or folders. Light: no torch."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from glorabench.errors import BadInput
from glorabench.files import read_text

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".tif", ".tiff", ".webp"))


@dataclass(frozen=True)
class Listing:
    """The images of a split: names below `folder`, their labels, the file or folder that lists them, and a note."""

    source: Path
    folder: Path
    names: tuple[str, ...]
    labels: tuple[int, ...]
    note: str = ""

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> Path:
        """The path of image `index`."""
        return self.folder / self.names[index]

    def take(self, indices: Sequence[int]) -> Listing:
        """The images at `indices`, in that order."""
        names, labels = (tuple(values[i] for i in indices) for values in (self.names, self.labels))
        return replace(self, names=names, labels=labels)

    def with_note(self, note: str) -> Listing:
        """The same listing with one more note, which the check prints."""
        return replace(self, note="; ".join(filter(None, (self.note, note))))


def read_list(source: Path, folders: Sequence[Path]) -> Listing:
    """A list of lines `<relative path> <label>`; a path may hold spaces.

    Args:
        source: the list.
        folders: folders to which the paths may be relative; the first one that holds the first image is used.

    Raises:
        BadInput: there is no such list, it is empty, or a line has another form.
    """
    try:
        lines = read_text(source).splitlines()
    except FileNotFoundError:
        raise BadInput(f"no list {source}: unpack the archive again, whole, or set data.root=FOLDER") from None
    except BadInput:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"the list {source} cannot be read ({error}): fetch it again") from error
    names, labels = [], []
    for number, line in enumerate(lines, 1):
        name, _, label = line.strip().rpartition(" ")
        if not name or not label.isdecimal():
            raise BadInput(f"{source}, line {number}: '{line[:80]}' is no '<path> <label>': fetch the list again")
        names.append(name)
        labels.append(int(label))
    if not names:
        raise BadInput(f"the list {source} is empty: fetch it again")
    return Listing(source, _folder_of(folders, names[0]), tuple(names), tuple(labels))


def read_json_list(source: Path) -> Listing:
    """A JSON object `{path: class id}`; ids are replaced by their rank, so the file must hold every class.

    Raises:
        BadInput: there is no such file, or it holds something else.
    """
    try:
        content = json.loads(read_text(source))
    except FileNotFoundError:
        raise BadInput(f"no file {source}: unpack the archive again, whole, or set data.root=FOLDER") from None
    except BadInput:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{source} cannot be read ({error}): truncated? Fetch it again") from error
    if not isinstance(content, dict) or not content or not all(str(value).isdecimal() for value in content.values()):
        raise BadInput(f"{source} is no JSON object {{path: class}}: fetch it again")
    ids = {name: int(value) for name, value in content.items()}
    rank = {value: i for i, value in enumerate(sorted(set(ids.values())))}
    return Listing(source, source.parent, tuple(ids), tuple(rank[v] for v in ids.values()))


def list_folders(folder: Path, label_of: Callable[[str], int | None]) -> Listing:
    """Read a folder that has a folder of images for each class. Other files and hidden ones are skipped.

    Args:
        folder: the folder of the class folders.
        label_of: name of a class folder -> label, or None if it is no class.

    Raises:
        BadInput: there is no such folder, a folder below it is no class, or there are no images.
    """
    if not folder.is_dir():
        raise BadInput(f"no folder {folder}: unpack the archive there, or set data.root=FOLDER")
    images: list[tuple[int, str]] = []
    for entry in os.scandir(folder):
        if is_hidden(entry.name) or not entry.is_dir():
            continue
        label = label_of(entry.name)
        if label is None:
            raise BadInput(f"{folder}: the folder '{entry.name}' is no class of this set: another set or version?")
        images += [(label, f"{entry.name}/{file}") for file in os.listdir(entry.path) if _is_image(file)]
    if not images:
        raise BadInput(f"no images below {folder}: unpack the archive there, whole")
    labels, names = zip(*sorted(images), strict=True)
    return Listing(folder, folder, names, labels)


def is_hidden(name: str) -> bool:
    """True for names of hidden files, which macOS and other systems add (._a.JPEG, .DS_Store)."""
    return name.startswith(".") or name == "__MACOSX"


def _is_image(name: str) -> bool:
    return not is_hidden(name) and os.path.splitext(name)[1].lower() in SUFFIXES


def _folder_of(folders: Sequence[Path], name: str) -> Path:
    """The first folder that holds `name`. If none does, the first one, and the check names the missing image later."""
    return next((folder for folder in folders if (folder / name).is_file()), folders[0])


def locate_images(listing: Listing, places: Sequence[Path], prefixes: Sequence[str]) -> Listing:
    """The same listing with the folder that holds its images.

    A set may be only half unpacked, so this looks for the first, the middle and the last image.

    Args:
        listing: names and labels.
        places: folders of the set.
        prefixes: folders inside each of them, to which the names may be relative.

    Raises:
        BadInput: none of the three images is in any of them.
    """
    probes = [listing.names[i] for i in (0, len(listing) // 2, -1)]
    folders = [place / prefix for place in places for prefix in prefixes]
    for name in probes:
        for folder in folders:
            if (folder / name).is_file():
                return replace(listing, folder=folder)
    paths_text = " or ".join(f"{prefix}/{probes[0]}" if prefix else probes[0] for prefix in prefixes)
    raise BadInput(
        f"{listing.source}: no image {paths_text} in {' or '.join(map(str, places))}: unpack the images there"
    )


def without_repeats(listing: Listing) -> Listing:
    """The listing with every image once, at its first position."""
    first = {name: i for i, name in reversed(list(enumerate(listing.names)))}
    return listing.take(sorted(first.values()))


def draw_shots(listing: Listing, count: int, seed: int, without: Collection[str] = ()) -> Listing:
    """At most `count` images of each class, in the order of the listing.

    The names of a class are sorted and then put in the order of numpy's default_rng([seed, class]).permutation. The
    first `count` of those that are not in `without` are taken. So a draw depends on neither the other classes nor the
    order of files on disk, and two draws with one seed, the second without the first, are disjoint.
    """
    of_class: dict[int, list[int]] = {}
    for index in sorted(range(len(listing)), key=listing.names.__getitem__):
        of_class.setdefault(listing.labels[index], []).append(index)
    shots: list[int] = []
    for label, indices in of_class.items():
        order = np.random.default_rng([seed, label]).permutation(len(indices))
        candidates = (indices[i] for i in order if listing.names[indices[i]] not in without)
        shots += islice(candidates, count)
    return listing.take(sorted(shots))


def count_per_class(listing: Listing) -> Counter[int]:
    """How many images each class has."""
    return Counter(listing.labels)
