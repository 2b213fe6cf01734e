"""Check image files: their kind, whether each is whole, and fingerprints of splits. Light: no torch.

Files are checked in threads. The fingerprint of a split needs names, labels and file sizes, so no file is read for it.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import NamedTuple

from glorabench.data.images.content_hashes import content_hash
from glorabench.data.images.decoding import decode
from glorabench.data.suites.listing import Listing
from glorabench.data.suites.suite import Splits
from glorabench.errors import BadInput
from glorabench.files import check_regular

_THREADS = 16  # threads mostly wait for the disk, or decode outside of Python
_CHUNK = 64
_JPEG = b"\xff\xd8\xff"
_LOSSY = (_JPEG, b"RIFF")  # RIFF is WebP
_ENDS = {_JPEG: b"\xff\xd9", b"\x89PNG\r\n\x1a\n": b"IEND\xaeB`\x82"}


class FileReport(NamedTuple):
    """The result of a check: the `kind` (jpeg, lossless, or None if it is no whole image), the fault, and, if all of
    the file was decoded, the hash of its content."""

    kind: str | None
    fault: str = ""
    digest: str | None = None


class FileStatus(NamedTuple):
    """The size of a file in bytes, and the times of the last change of content and file, in nanoseconds."""

    size: int
    mtime: int
    ctime: int


def file_statuses(folder: str, names: Iterable[str]) -> list[FileStatus | None]:
    """The status of files below a folder; None if a file is missing, empty or no regular file."""
    return [_status(f"{folder}/{name}") for name in names]


def _status(path: str) -> FileStatus | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # a name may hold what no path can
        return None
    is_file_with_content = stat.S_ISREG(status.st_mode) and status.st_size
    return FileStatus(status.st_size, status.st_mtime_ns, status.st_ctime_ns) if is_file_with_content else None


def check_image_file(path: str, whole: bool) -> FileReport:
    """Check a file by its first and last bytes. All of it is decoded if `whole`, or if the bytes leave a doubt.

    Some JPEG files have extra bytes after their end, so an unusual end alone is no fault.
    """
    try:
        check_regular(path)
        with open(path, "rb") as file:
            head = file.read(12)
            file.seek(-min(12, file.seek(0, 2)), 2)
            tail = file.read()
        is_whole = any(head.startswith(start) and tail.endswith(end) for start, end in _ENDS.items())
        if whole or not is_whole:
            decode(path)
        return FileReport(
            "jpeg" if head.startswith(_LOSSY) else "lossless", digest=content_hash(path) if whole else None
        )
    except BadInput as error:
        return FileReport(None, str(error))
    except OSError as error:
        return FileReport(None, f"{path} cannot be read ({error.strerror}): check its permissions, or fetch it again")


def check_image_files(paths: Sequence[tuple[str, bool]], reports: dict[tuple[str, bool], FileReport]) -> Iterator[int]:
    """Check every (path, whether to decode all of it) in threads, and add what each file is to `reports`.

    Yields:
        How many files were checked since the last time.
    """
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    pool = ThreadPoolExecutor(_THREADS)
    try:
        for chunk, chunk_reports in zip(
            chunks, pool.map(lambda chunk: [check_image_file(*item) for item in chunk], chunks), strict=True
        ):
            reports.update(zip(chunk, chunk_reports, strict=True))
            yield len(chunk_reports)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


FileStatuses = Sequence[FileStatus | None]


def split_statuses(splits: Splits) -> dict[str, FileStatuses]:
    """The status of every image of every split; None for a missing one."""
    return {split: file_statuses(str(listing.folder), listing.names) for split, listing in splits.items()}


def split_fingerprints(splits: Splits, statuses: Mapping[str, FileStatuses]) -> dict[str, str]:
    """For each split whose files are all there: sha256 over names, labels and file sizes.

    Args:
        splits: the listings.
        statuses: of their files, see `split_statuses`.
    """
    return {split: _hash(_lines(splits[split], files)) for split, files in statuses.items() if None not in files}


def split_stamps(splits: Splits, statuses: Mapping[str, FileStatuses]) -> dict[str, str]:
    """Like `split_fingerprints`, but also over the folder and the times of change, so that a replaced file changes it.

    It also changes if files are copied or touched. So it identifies files on this machine, and not the data of a run.
    """
    return {
        split: _hash(chain([str(splits[split].folder.absolute())], map(str, files), _lines(splits[split], files)))
        for split, files in statuses.items()
        if None not in files
    }


def task_fingerprint(fingerprints: Mapping[str, str], splits: Splits) -> str | None:
    """The fingerprint of a task, from those of its splits; None if files are missing."""
    return (
        _hash(f"{split} {fingerprints[split]}" for split in sorted(fingerprints))
        if len(fingerprints) == len(splits)
        else None
    )


def _lines(listing: Listing, statuses: FileStatuses) -> Iterator[str]:
    for name, label, status in zip(listing.names, listing.labels, statuses, strict=True):
        yield f"{name} {label} {status and status.size}"


def _hash(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
