"""Folders of a cache: made by one process, while the others wait; renamed when whole, so that none is ever half."""

from __future__ import annotations

import errno
import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from glorabench.errors import BadInput, first_line

try:
    import fcntl
except ImportError:  # Windows: whoever finds nothing makes it, and the first is kept
    fcntl = None

Found = TypeVar("Found")
Made = TypeVar("Made")
_DAMAGE = (OSError, ValueError, LookupError, TypeError, EOFError)  # what loading raises where nothing whole is


def once(
    folder: Path, load: Callable[[], Found], draw: Callable[[], Made], write: Callable[[Path, Made], None]
) -> Found:
    """What `load` finds in `folder`; where nothing whole is, what is drawn is written there first, by one process.

    Raises:
        BadInput: the cache cannot be written, or not be read back.
    """
    with suppress(*_DAMAGE):
        return load()
    with _alone(folder):
        damaged = os.path.lexists(folder)
        with suppress(*_DAMAGE):
            return load()  # another process has made it
        if damaged:
            shutil.rmtree(folder, ignore_errors=True)
        drawn = draw()
        with _built(folder) as draft:
            write(draft, drawn)
        try:
            return load()
        except _DAMAGE as error:
            raise BadInput(
                f"the cache {folder} cannot be read ({first_line(error)}): delete it or set cache_dir=FOLDER"
            ) from error


@contextmanager
def _built(folder: Path) -> Iterator[Path]:
    """A new folder that becomes `folder`, if there is none, when the block is through; one that fails leaves nothing.

    Raises:
        BadInput: it cannot be written.
    """
    draft = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
        draft.chmod(0o755)  # other users of the machine may share the cache
        yield draft
        try:
            os.replace(draft, folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # then another run was faster: it is the same
                raise
    except OSError as error:
        raise BadInput(
            f"the cache {folder} cannot be written ({error.strerror or error}): free space or set cache_dir=FOLDER"
        ) from error
    finally:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time makes `folder`, and removes what killed makers left; where no file can be locked, any."""
    with ExitStack() as held:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            file = held.enter_context(folder.with_name(f"{folder.name}.lock").open("ab"))
            if fcntl is not None:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    print(f"    waiting for the process that makes {folder}", flush=True)
                    fcntl.flock(file, fcntl.LOCK_EX)
                for draft in folder.parent.glob(f"{glob.escape(folder.name)}.????????"):
                    shutil.rmtree(draft, ignore_errors=True)
        except BrokenPipeError:  # of the line above
            raise
        except OSError:
            pass
        yield
