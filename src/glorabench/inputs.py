"""Files of the user that are read: regular ones alone, so that no pipe and no device is waited for. Light: no torch."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from glorabench.errors import BadInput


def check_regular(path: str | Path) -> os.stat_result:
    """What the system says of a file, of which nothing has been read yet.

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
