"""Image files: their kind, whether each is whole, and which images a split is made of. Light: no torch.

Files are looked at in threads. A split is told by names, labels and file sizes, without reading one.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import NamedTuple

from glorabench.data.images.content_hashes import digest
from glorabench.data.images.decoding import decoded
from glorabench.data.suites.listing import Listing
from glorabench.data.suites.suite import Splits
from glorabench.errors import BadInput
from glorabench.files import check_regular

_LOOKERS = 16  # they mostly wait: for the disk or, while an image is decoded, outside of Python
_CHUNK = 64
_JPEG = b"\xff\xd8\xff"
_LOSSY = (_JPEG, b"RIFF")  # RIFF is WebP
_ENDS = {_JPEG: b"\xff\xd9", b"\x89PNG\r\n\x1a\n": b"IEND\xaeB`\x82"}


class Look(NamedTuple):
    """What a file is: `kind` jpeg or lossless, None when it is no whole image; what is wrong with it; and, where all
    of it was decoded, the hash of what it holds."""

    kind: str | None
    fault: str = ""
    digest: str | None = None


class Status(NamedTuple):
    """Of a file: its size in bytes, and when its content and the file itself were changed, in nanoseconds."""

    size: int
    modified: int
    changed: int


def statuses_of(folder: str, names: Iterable[str]) -> list[Status | None]:
    """Of the files below a folder; None where there is none, or it is empty or no regular file."""
    return [_status(f"{folder}/{name}") for name in names]


def _status(path: str) -> Status | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # a name may hold what no path can
        return None
    whole = stat.S_ISREG(found.st_mode) and found.st_size
    return Status(found.st_size, found.st_mtime_ns, found.st_ctime_ns) if whole else None


def look(path: str, decode: bool) -> Look:
    """One file by its first and last bytes; all of it is decoded when asked, or when they leave a doubt.

    JPEG files in circulation may go on after their end, so an unusual end alone is no fault.
    """
    try:
        check_regular(path)
        with open(path, "rb") as file:
            head = file.read(12)
            file.seek(-min(12, file.seek(0, 2)), 2)
            tail = file.read()
        whole = any(head.startswith(start) and tail.endswith(end) for start, end in _ENDS.items())
        if decode or not whole:
            decoded(path)
        return Look("jpeg" if head.startswith(_LOSSY) else "lossless", digest=digest(path) if decode else None)
    except BadInput as error:
        return Look(None, str(error))
    except OSError as error:
        return Look(None, f"{path} cannot be read ({error.strerror}): check its permissions, or fetch it again")


def look_at(paths: Sequence[tuple[str, bool]], seen: dict[tuple[str, bool], Look]) -> Iterator[int]:
    """`look` at every (path, whether to decode it), in threads, and add what it is to `seen`.

    Yields:
        How many files have been looked at since the last time.
    """
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    pool = ThreadPoolExecutor(_LOOKERS)
    try:
        for chunk, found in zip(chunks, pool.map(lambda chunk: [look(*each) for each in chunk], chunks), strict=True):
            seen.update(zip(chunk, found, strict=True))
            yield len(found)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


Statuses = Sequence[Status | None]


def statuses(splits: Splits) -> dict[str, Statuses]:
    """Size and time of change of every image of every split; None where there is none."""
    return {split: statuses_of(str(listing.folder), listing.names) for split, listing in splits.items()}


def of_splits(splits: Splits, of: Mapping[str, Statuses]) -> dict[str, str]:
    """Of each split whose files are all there: sha256 over names, labels and file sizes.

    Args:
        splits: the listings.
        of: what `statuses` says of them.
    """
    return {split: _hash(_lines(splits[split], each)) for split, each in of.items() if None not in each}


def stamps(splits: Splits, of: Mapping[str, Statuses]) -> dict[str, str]:
    """The same with the folder, and with the times at which each file was changed: another one when one is replaced.

    It changes also when files are copied or touched, so it says less than a fingerprint about what a run is of.
    """
    return {
        split: _hash(chain([str(splits[split].folder.absolute())], map(str, each), _lines(splits[split], each)))
        for split, each in of.items()
        if None not in each
    }


def of_task(prints: Mapping[str, str], splits: Splits) -> str | None:
    """Of a task, from those of its splits; None when files are missing."""
    return _hash(f"{split} {prints[split]}" for split in sorted(prints)) if len(prints) == len(splits) else None


def _lines(listing: Listing, each: Statuses) -> Iterator[str]:
    for name, label, status in zip(listing.names, listing.labels, each, strict=True):
        yield f"{name} {label} {status and status.size}"


def _hash(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
