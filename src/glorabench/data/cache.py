"""The cache: drawn or decoded splits on disk, made once and shared by every run.

One process makes a folder of the cache while the others wait. The folder is renamed when it is complete.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from glorabench.errors import BadInput, first_line
from glorabench.files import alone, whole_folder

Arrays = tuple[NDArray[Any], NDArray[np.int64]]  # inputs and labels of a split

Product = TypeVar("Product")
Content = TypeVar("Content")
# what loading raises if a folder is missing or damaged
DAMAGE = (OSError, ValueError, LookupError, TypeError, EOFError)


def cached_splits(folder: Path, draw: Callable[[], Mapping[str, Arrays]]) -> tuple[dict[str, Arrays], str]:
    """The splits in `folder` as memory-mapped `.npy` files; they are drawn if they are missing or damaged.

    Returns:
        The splits and their fingerprint: sha256 over names, images and labels.

    Raises:
        BadInput: the cache cannot be written.
    """

    def write(draft: Path, splits: Mapping[str, Arrays]) -> None:
        for name, (images, labels) in splits.items():
            np.save(draft / f"{name}_images.npy", images)
            np.save(draft / f"{name}_labels.npy", labels)
        meta = {"fingerprint": fingerprint_of(splits), "splits": list(splits)}
        (draft / "meta.json").write_text(json.dumps(meta))

    return load_or_make(folder, lambda: _load_splits(folder), draw, write)


def _load_splits(folder: Path) -> tuple[dict[str, Arrays], str]:
    meta = json.loads((folder / "meta.json").read_text())
    splits = {
        name: (np.load(folder / f"{name}_images.npy", mmap_mode="r"), np.load(folder / f"{name}_labels.npy"))
        for name in meta["splits"]
    }
    if fingerprint_of(splits) != meta["fingerprint"]:
        raise ValueError(f"{folder} does not hold what its fingerprint says")
    return splits, meta["fingerprint"]


def fingerprint_of(splits: Mapping[str, Arrays]) -> str:
    """Sha256 over the names, images and labels of all splits."""
    digest = hashlib.sha256()
    for name, (images, labels) in splits.items():
        digest.update(name.encode() + images.tobytes() + labels.tobytes())
    return digest.hexdigest()


def cached_stack(
    folder: Path, shape: tuple[int, ...], images: Callable[[], Iterable[NDArray[np.uint8]]]
) -> NDArray[np.uint8]:
    """Images of one shape, in `folder` as one memory-mapped array; `shape` = (images, channels, height, width)."""

    def write(draft: Path, content: Iterable[NDArray[np.uint8]]) -> None:
        path = draft / "images.npy"
        array = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
        _reserve(path)
        for i, image in enumerate(content):
            array[i] = image
        array.flush()

    return load_or_make(folder, lambda: _load_stack(folder, shape), images, write)


def _reserve(path: Path) -> None:
    """Reserve room on the disk for a file: a full disk is an error here, but would crash a memory-mapped write."""
    size = path.stat().st_size
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    elif shutil.disk_usage(path.parent).free < size:  # macOS
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _load_stack(folder: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    images = np.load(folder / "images.npy", mmap_mode="r")
    if images.shape != shape:
        raise ValueError(f"{folder} holds {images.shape}, not {shape}")
    return images


class RaggedImages:
    """Images of different sizes in one memory-mapped file: `ragged[i]` is height x width x 3."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.index = np.load(folder / "index.npy")  # begin, height, width of each
        if len(self.index) != count:
            raise ValueError(f"{folder} holds {len(self.index)} images, not {count}")
        self.pixels = np.memmap(folder / "pixels.bin", np.uint8, "r", shape=(int(self._end(-1)),))

    def _end(self, i: int) -> int:
        begin, height, width = self.index[i]
        return begin + height * width * 3

    def __reduce__(self) -> tuple[type[RaggedImages], tuple[Path, int]]:
        return RaggedImages, (self.folder, len(self))  # a process that gets a copy maps the same file

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> NDArray[np.uint8]:
        begin, height, width = self.index[i]
        return self.pixels[begin : self._end(i)].reshape(height, width, 3)


def cached_ragged(folder: Path, count: int, images: Callable[[], Iterable[NDArray[np.uint8]]]) -> RaggedImages:
    """`count` images (height x width x 3) of any sizes, in `folder`."""

    def write(draft: Path, content: Iterable[NDArray[np.uint8]]) -> None:
        index, begin = [], 0
        with (draft / "pixels.bin").open("wb") as file:
            for image in content:
                file.write(image.tobytes())
                index.append((begin, *image.shape[:2]))
                begin += image.size
        np.save(draft / "index.npy", np.array(index, np.int64))

    return load_or_make(folder, lambda: RaggedImages(folder, count), images, write)


def load_or_make(
    folder: Path, load: Callable[[], Product], draw: Callable[[], Content], write: Callable[[Path, Content], None]
) -> Product:
    """Load from `folder`. If it is missing or damaged, one process first draws the content and writes it.

    Raises:
        BadInput: the cache cannot be written or read.
    """
    with suppress(*DAMAGE):
        return load()
    with alone(folder, f"waiting for the process that makes {folder}"):
        is_damaged = os.path.lexists(folder)
        with suppress(*DAMAGE):
            return load()  # another process has made it
        if is_damaged:
            shutil.rmtree(folder, ignore_errors=True)
        content = draw()
        with whole_folder(folder, fix="free space or set cache_dir=FOLDER") as draft:
            write(draft, content)
        try:
            return load()
        except DAMAGE as error:
            raise BadInput(
                f"the cache {folder} cannot be read ({first_line(error)}): delete it or set cache_dir=FOLDER"
            ) from error
