"""Signals that end a command: all of them as Ctrl-C does, and none is lost. Light: no torch.

SIGINT, SIGTERM and SIGHUP stop at once. SIGUSR1, by which Slurm announces the end (`#SBATCH --signal=USR1@120`), stops
at the next point from which the run goes on exactly: the end of an epoch, with a checkpoint, or of a candidate.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_AT_ONCE = ("SIGINT", "SIGTERM", "SIGHUP")
_SOON = ("SIGUSR1",)
_HEARD: set[str] = set()


@contextmanager
def listening() -> Iterator[None]:
    """Inside the block the signals raise KeyboardInterrupt; one that is ignored, as under nohup, stays ignored."""
    _HEARD.clear()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _numbers((*_AT_ONCE, *_SOON))}
    hook, sys.unraisablehook = sys.unraisablehook, _quiet(sys.unraisablehook)
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, _hear)
        yield
    finally:
        _HEARD.clear()
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


def stopping() -> bool:
    """True when a signal has asked for the end: what is done next should be to keep what there is."""
    return bool(_HEARD)


def interrupted() -> bool:
    """True when a signal has asked for the end at once, even if the code that it met swallowed the exception."""
    return not _HEARD.isdisjoint(_AT_ONCE)


def check() -> None:
    """Stop here if a signal has asked for it.

    Raises:
        KeyboardInterrupt: it has.
    """
    if _HEARD:
        raise KeyboardInterrupt


def _numbers(names: tuple[str, ...]) -> list[signal.Signals]:
    return [signal.Signals[name] for name in names if hasattr(signal, name)]  # Windows lacks some


def _hear(number: int, _: FrameType | None) -> None:
    _HEARD.add(name := signal.Signals(number).name)
    if name in _AT_ONCE:
        raise KeyboardInterrupt


def _quiet(hook: Any) -> Any:
    """A destructor cannot be interrupted: Python would print a traceback and go on; `check` stops instead."""

    def show(unraisable: Any) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            hook(unraisable)

    return show
