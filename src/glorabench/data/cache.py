"""The cache of drawn or decoded splits: made once beside its place, renamed when whole, shared by every run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glorabench.errors import BadInput

Arrays = tuple[NDArray[Any], NDArray[np.int64]]  # inputs and labels of a split


@contextmanager
def built(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of `folder` when the block is through; of a block that fails nothing is left.

    Raises:
        BadInput: it cannot be written.
    """
    draft = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
        draft.chmod(0o755)  # other users of the machine may share the cache
        yield draft
        if folder.exists():  # damaged, or made by another run that was faster: then it is the same
            shutil.rmtree(folder, ignore_errors=True)
        os.replace(draft, folder)
    except OSError as error:
        if not folder.is_dir():
            raise BadInput(
                f"the cache {folder} cannot be written ({error.strerror}): free space or set cache_dir=FOLDER"
            ) from error
    finally:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)


def cached(folder: Path, draw: Callable[[], Mapping[str, Arrays]]) -> tuple[dict[str, Arrays], str]:
    """The splits kept in `folder` as memory-mapped `.npy` files, drawn once if they are not there or damaged.

    Returns:
        The splits and their fingerprint: sha256 over names, images and labels.

    Raises:
        BadInput: the cache cannot be written.
    """
    try:
        return _load(folder)
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        shutil.rmtree(folder, ignore_errors=True)
    splits = draw()
    with built(folder) as draft:
        for name, (images, labels) in splits.items():
            np.save(draft / f"{name}_images.npy", images)
            np.save(draft / f"{name}_labels.npy", labels)
        meta = {"fingerprint": fingerprint(splits), "splits": list(splits)}
        (draft / "meta.json").write_text(json.dumps(meta))
    return _load(folder)


def _load(folder: Path) -> tuple[dict[str, Arrays], str]:
    meta = json.loads((folder / "meta.json").read_text())
    splits = {
        name: (np.load(folder / f"{name}_images.npy", mmap_mode="r"), np.load(folder / f"{name}_labels.npy"))
        for name in meta["splits"]
    }
    if fingerprint(splits) != meta["fingerprint"]:
        raise ValueError(f"{folder} does not hold what its fingerprint says")
    return splits, meta["fingerprint"]


def fingerprint(splits: Mapping[str, Arrays]) -> str:
    """Sha256 over the names, images and labels of all splits."""
    digest = hashlib.sha256()
    for name, (images, labels) in splits.items():
        digest.update(name.encode() + images.tobytes() + labels.tobytes())
    return digest.hexdigest()


def stack(folder: Path, shape: tuple[int, ...], images: Callable[[], Iterable[NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """Images of one shape, kept in `folder` as one memory-mapped array `shape` = (images, channels, height, width)."""
    try:
        return _mapped(folder, shape)
    except (OSError, ValueError, EOFError):
        pass
    with built(folder) as draft:
        path = draft / "images.npy"
        made = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
        with path.open("r+b") as file:  # a full disk is an error here, and a crash when a mapped page meets it
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        for i, image in enumerate(images()):
            made[i] = image
        made.flush()
        del made
    return _mapped(folder, shape)


def _mapped(folder: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    found = np.load(folder / "images.npy", mmap_mode="r")
    if found.shape != shape:
        raise ValueError(f"{folder} holds {found.shape}, not {shape}")
    return found


class Ragged:
    """Images of different sizes in one memory-mapped file: `ragged[i]` is height x width x 3."""

    def __init__(self, folder: Path, count: int) -> None:
        self.index = np.load(folder / "index.npy")  # begin, height, width of each
        if len(self.index) != count:
            raise ValueError(f"{folder} holds {len(self.index)} images, not {count}")
        self.pixels = np.memmap(folder / "pixels.bin", np.uint8, "r", shape=(int(self._end(-1)),))

    def _end(self, i: int) -> int:
        begin, height, width = self.index[i]
        return begin + height * width * 3

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> NDArray[np.uint8]:
        begin, height, width = self.index[i]
        return self.pixels[begin : self._end(i)].reshape(height, width, 3)


def ragged(folder: Path, count: int, images: Callable[[], Iterable[NDArray[np.uint8]]]) -> Ragged:
    """`count` images (height x width x 3) of any sizes, kept in `folder`."""
    try:
        return Ragged(folder, count)
    except (OSError, ValueError, EOFError):
        pass
    with built(folder) as draft:
        index, begin = [], 0
        with (draft / "pixels.bin").open("wb") as file:
            for image in images():
                file.write(image.tobytes())
                index.append((begin, *image.shape[:2]))
                begin += image.size
        np.save(draft / "index.npy", np.array(index, np.int64))
    return Ragged(folder, count)
