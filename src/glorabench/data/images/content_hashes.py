"""Hashes of what the images of a split hold, so that a cache of decoded ones is never read for others.

The name of a cache says what its images hold. To find that name every file would have to be read, so the hashes of
the files are kept beside the caches, under the names, sizes and times of change of the files. Light: no torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from glorabench.data.cache import DAMAGE, once
from glorabench.data.images import decoding
from glorabench.errors import BadInput
from glorabench.files import check_regular

_CHUNK = 2**20
_FILE = "hashes.txt"


def digest(path: str | Path) -> str:
    """The hash of what a file holds.

    Raises:
        BadInput: it is no regular file, or cannot be read.
    """
    hashed = hashlib.blake2b(digest_size=16)
    try:
        check_regular(path)
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                hashed.update(chunk)
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}): fetch it again") from error
    return hashed.hexdigest()


def remembered(folder: Path, looked: Mapping[int, str]) -> list[str]:
    """The hashes of a split that `folder` keeps; none where it keeps none, or the files are others by now.

    Args:
        folder: of the hashes.
        looked: index of an image -> hash of what its file holds now, of those images that a check has read.
    """
    try:
        return _load(folder, looked)
    except DAMAGE:
        return []


def hashes(folder: Path, looked: Mapping[int, str], read: Callable[[], Sequence[str]]) -> Sequence[str]:
    """The hashes of a split: those that `folder` keeps, or what `read` finds, which is then kept there.

    Raises:
        BadInput: they cannot be written.
    """

    def write(draft: Path, found: Sequence[str]) -> None:
        (draft / _FILE).write_text("\n".join(found))

    return once(folder, lambda: _load(folder, looked), read, write)


def _load(folder: Path, looked: Mapping[int, str]) -> list[str]:
    found = (folder / _FILE).read_text().split("\n")
    if any(found[index] != now for index, now in looked.items()):
        raise ValueError("the images have changed")
    return found


def name_of(found: Sequence[str]) -> str:
    """The name of what images with these hashes are decoded to; it changes with the way they are decoded."""
    return hashlib.sha256(
        "\n".join([f"decoding {decoding.VERSION} {decoding.pixel_limit()}", *found]).encode()
    ).hexdigest()[:16]
