"""Write files and folders whole, and read only regular files. No torch.

A file is written beside its place, flushed, and then renamed. So a kill, a full disk or a read-only folder never
damages the old file. The next process that writes into the same folder removes what a dead process left behind.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from glorabench.errors import BadInput

FREE_SPACE = "free space, or choose another place"
_HOST = re.sub(r"[^A-Za-z0-9]", "", socket.gethostname())[:24] or "host"
_DRAFT = re.compile(r"\..*\.(?P<host>[A-Za-z0-9]+)-(?P<pid>\d+)\.tmp")
_DAY = 86_400.0  # seconds after which a draft of another machine counts as left behind
_SWEPT: set[Path] = set()


@contextmanager
def whole_file(path: Path, fix: str = FREE_SPACE) -> Iterator[Path]:
    """A path to write to; when the block ends, it takes the place of `path`. A block that fails changes nothing.

    The permissions of a file that is replaced are kept, and a link stays a link.

    Args:
        path: of the file; its folder is made.
        fix: what the user can do where it cannot be written.

    Raises:
        BadInput: the folder is not writable, the disk is full, or `path` is no regular file.
    """
    with _draft_of(path, fix) as (target, draft):
        if target.exists() and not target.is_file():
            raise OSError(errno.EINVAL, "it is no regular file")
        if target.exists() and not os.access(target, os.W_OK):
            raise OSError(errno.EACCES, "it is read-only")
        yield draft
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, draft)
        draft.replace(target)
        _flush_folder(target.parent)


@contextmanager
def whole_folder(path: Path, fix: str = FREE_SPACE, flush: bool = True) -> Iterator[Path]:
    """A new folder to fill; when the block ends, it becomes `path`. A block that fails leaves nothing.

    If another process has made `path` in the meantime, its folder stays and this one is dropped.

    Args:
        path: of the folder; the folder that it lies in is made.
        fix: what the user can do where it cannot be written.
        flush: wait until the files are on the disk, so that they survive a power cut too.

    Raises:
        BadInput: the folder is not writable or the disk is full.
    """
    with _draft_of(path, fix) as (target, draft):
        draft.mkdir()
        yield draft
        for file in draft.rglob("*") if flush else ():
            if file.is_file():
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
        try:
            draft.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        _flush_folder(target.parent)


def write_text(path: Path, text: str, fix: str = FREE_SPACE) -> None:
    """Write a text file whole, in UTF-8 with the line ends that `text` has.

    Raises:
        BadInput: see `whole_file`.
    """
    with whole_file(path, fix) as draft:
        draft.write_text(text, encoding="utf-8", newline="")


def check_writable(folder: Path, fix: str = FREE_SPACE, problem: str = "") -> None:
    """Make a folder and try to write into it, before work whose result belongs there begins.

    Args:
        folder: to write into.
        fix: what the user can do where that fails.
        problem: the message in that case; by default, that the folder cannot be written.

    Raises:
        BadInput: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        probe = folder / f".writable.{_HOST}-{os.getpid()}.tmp"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise BadInput(f"{problem or f'{folder} cannot be written'} ({error.strerror or error}): {fix}") from error


@contextmanager
def alone(path: Path, message: str) -> Iterator[None]:
    """One process at a time is inside the block of a `path`; the others print `message` and wait.

    The lock is the file `path.lock` beside it. It ends with its process, however that ends. Where the file system knows
    no locks, every process goes on.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path.with_name(f"{path.name}.lock"))
    with suppress(OSError, NotImplementedError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"    {message}", flush=True)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def is_taken(path: Path) -> bool:
    """True while another process is inside the block of `alone` for `path`."""
    from filelock import FileLock, Timeout

    if not path.parent.is_dir():
        return False
    lock = FileLock(path.with_name(f"{path.name}.lock"))
    with suppress(OSError, NotImplementedError):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
    return False


def safe_name(text: str) -> str:
    """A label as part of a file name: letters, digits and `._=+@-`; anything else, and a leading dot, becomes `_`.

    Letters of any language stay. At most 100 bytes are kept.
    """
    name = _shorten(re.sub(r"[^\w.=+@-]", "_", text), 100)
    return re.sub(r"^\.+", "_", name) or "_"


def _shorten(text: str, limit: int) -> str:
    """As many whole characters as fit into `limit` bytes: a file name has 255."""
    return text.encode(errors="replace")[:limit].decode(errors="ignore")


def sweep(folder: Path) -> None:
    """Remove the drafts in `folder` whose process has ended; of another machine, those older than a day."""
    with suppress(OSError):
        for entry in os.scandir(folder):
            match = _DRAFT.fullmatch(entry.name)
            if match and _is_left_behind(entry, match["host"], int(match["pid"])):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    with suppress(OSError):
                        os.unlink(entry.path)


def _is_left_behind(entry: os.DirEntry[str], host: str, pid: int) -> bool:
    if host != _HOST:
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > _DAY
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False  # alive, and somebody else's
    return False


@contextmanager
def _draft_of(path: Path, fix: str) -> Iterator[tuple[Path, Path]]:
    """The real place of `path` and a free name beside it; an OSError in the block becomes a BadInput with the `fix`."""
    draft = None
    try:
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.parent not in _SWEPT:
            _SWEPT.add(target.parent)
            sweep(target.parent)
        draft = target.with_name(f".{_shorten(target.name, 150)}.{_HOST}-{os.getpid()}.tmp")
        yield target, draft
    except OSError as error:
        raise BadInput(f"{path} cannot be written ({error.strerror or error}): {fix}") from error
    finally:
        if draft is not None:
            _remove(draft)


def _remove(draft: Path) -> None:
    with suppress(OSError):
        if stat.S_ISDIR(draft.lstat().st_mode):
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink()


def _flush_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def check_regular(path: str | Path) -> os.stat_result:
    """The status of a file, before anything is read from it.

    Raises:
        BadInput: it is a pipe, a device or a socket, or a link to one.
        OSError: there is no such file.
    """
    status = os.stat(path)
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise BadInput(f"{path} is a pipe, a device or a socket: a regular file is needed")
    return status


def read_text(path: Path) -> str:
    """The text of a regular file, in UTF-8.

    Raises:
        BadInput: as `check_regular`.
        OSError: it cannot be read.
        UnicodeDecodeError: it is no UTF-8.
    """
    check_regular(path)
    return path.read_text(encoding="utf-8")
