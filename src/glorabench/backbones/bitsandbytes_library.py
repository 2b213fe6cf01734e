"""Import bitsandbytes, an optional package: quietly, and without a download."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from types import ModuleType

from glorabench.errors import BadInput, first_line

_HUB = "kernels"  # a package with which bitsandbytes fetches a kernel from a hub when it is imported


def import_bitsandbytes(key: str) -> ModuleType:
    """The package.

    Args:
        key: the word of a command that needs it, for the message.

    Raises:
        BadInput: it is not there, or cannot be loaded.
    """
    try:
        return _import()
    except Exception as error:  # its libraries say in many ways that they do not fit the machine
        reason = "" if isinstance(error, ModuleNotFoundError) else f" ({first_line(error)})"
        raise BadInput(
            f"{key} needs the package bitsandbytes{reason}: install it with pip install 'glorabench[quant]'"
        ) from error


def preload_bitsandbytes() -> None:
    """Import the package where it is there, before another library does so without care: peft does."""
    if find_spec("bitsandbytes") is not None:
        with suppress(Exception):  # whoever needs it will say what is wrong with it
            _import()


@cache
def _import() -> ModuleType:
    level, hub = logging.getLogger("bitsandbytes").level, sys.modules.get(_HUB)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    sys.modules[_HUB] = None  # type: ignore[assignment]  # which means: there is no such package
    try:
        import bitsandbytes
    finally:
        logging.getLogger("bitsandbytes").setLevel(level)
        del sys.modules[_HUB]
        if hub is not None:
            sys.modules[_HUB] = hub
    return bitsandbytes
