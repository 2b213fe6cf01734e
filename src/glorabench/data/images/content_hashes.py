"""Hashes of the contents of image files, so that decoded images of other files are never used.

The name of a cache depends on the contents of all files. To find it again without reading every file, the hashes of the
files are saved beside the caches, under the names, sizes and times of change of the files. Light: no torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from glorabench.data.cache import DAMAGE, load_or_make
from glorabench.data.images import decoding
from glorabench.errors import BadInput
from glorabench.files import check_regular

_CHUNK = 2**20
_FILE = "hashes.txt"


def content_hash(path: str | Path) -> str:
    """The hash of the content of a file.

    Raises:
        BadInput: it is no regular file, or cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    try:
        check_regular(path)
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}): fetch it again") from error
    return digest.hexdigest()


def load_hashes(folder: Path, current: Mapping[int, str]) -> list[str]:
    """The hashes of a split that are saved in `folder`; empty if there are none, or if files have changed.

    Args:
        folder: folder of the hashes.
        current: index of an image -> hash of its file now, for images that a check has read.
    """
    try:
        return _load(folder, current)
    except DAMAGE:
        return []


def load_or_read_hashes(folder: Path, current: Mapping[int, str], read: Callable[[], Sequence[str]]) -> Sequence[str]:
    """The hashes of a split: those that are saved in `folder`, or those from `read`, which are then saved there.

    Raises:
        BadInput: they cannot be written.
    """

    def write(draft: Path, hashes: Sequence[str]) -> None:
        (draft / _FILE).write_text("\n".join(hashes))

    return load_or_make(folder, lambda: _load(folder, current), read, write)


def _load(folder: Path, current: Mapping[int, str]) -> list[str]:
    hashes = (folder / _FILE).read_text().split("\n")
    if any(hashes[index] != current_hash for index, current_hash in current.items()):
        raise ValueError("the images have changed")
    return hashes


def cache_name(hashes: Sequence[str], upright: bool = False) -> str:
    """The name of the cache of images with these hashes; it also depends on how images are decoded."""
    settings = f"decoding {decoding.DECODING_VERSION} {decoding.pixel_limit()}{' upright' * upright}"
    return hashlib.sha256("\n".join([settings, *hashes]).encode()).hexdigest()[:16]
