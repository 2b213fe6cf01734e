"""Folders of a cache: made by one process, while the others wait; renamed when whole, so that none is ever half."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from glorabench.errors import BadInput, first_line
from glorabench.files import alone, whole_folder

Loaded = TypeVar("Loaded")
Drawn = TypeVar("Drawn")
DAMAGE = (OSError, ValueError, LookupError, TypeError, EOFError)  # what loading raises where nothing whole is


def once(
    folder: Path, load: Callable[[], Loaded], draw: Callable[[], Drawn], write: Callable[[Path, Drawn], None]
) -> Loaded:
    """What `load` finds in `folder`; where nothing whole is, what is drawn is written there first, by one process.

    Raises:
        BadInput: the cache cannot be written, or not be read back.
    """
    with suppress(*DAMAGE):
        return load()
    with alone(folder, f"waiting for the process that makes {folder}"):
        damaged = os.path.lexists(folder)
        with suppress(*DAMAGE):
            return load()  # another process has made it
        if damaged:
            shutil.rmtree(folder, ignore_errors=True)
        drawn = draw()
        with whole_folder(folder, fix="free space or set cache_dir=FOLDER") as draft:
            write(draft, drawn)
        try:
            return load()
        except DAMAGE as error:
            raise BadInput(
                f"the cache {folder} cannot be read ({first_line(error)}): delete it or set cache_dir=FOLDER"
            ) from error
