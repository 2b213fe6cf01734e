"""Let signals end a command as Ctrl-C does. No signal is lost. Light: no torch.

SIGINT, SIGTERM and SIGHUP stop the command at once. Slurm can send SIGUSR1 before a job ends (`#SBATCH
--signal=USR1@120`). SIGUSR1 stops the command at the next point from which it can continue exactly: after an epoch,
when the checkpoint is written, or after a candidate of a search.
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
_SIGNAL_NAMES: set[str] = set()


@contextmanager
def handle_signals() -> Iterator[None]:
    """Let signals raise KeyboardInterrupt inside the block. A signal that is ignored, as under nohup, stays ignored."""
    _SIGNAL_NAMES.clear()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in _numbers((*_AT_ONCE, *_SOON))}
    hook, sys.unraisablehook = sys.unraisablehook, _without_interruptions(sys.unraisablehook)
    try:
        for number, handler in handlers.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, _handle)
        yield
    finally:
        _SIGNAL_NAMES.clear()
        sys.unraisablehook = hook
        for number, handler in handlers.items():
            signal.signal(number, handler)


def is_stopping() -> bool:
    """True if a signal asks for the end. The caller should save its work and stop."""
    return bool(_SIGNAL_NAMES)


def is_interrupted() -> bool:
    """True if a signal asks for the end at once, even if some code swallowed the exception."""
    return not _SIGNAL_NAMES.isdisjoint(_AT_ONCE)


def raise_if_stopping() -> None:
    """Stop here if a signal asks for the end.

    Raises:
        KeyboardInterrupt: a signal does.
    """
    if _SIGNAL_NAMES:
        raise KeyboardInterrupt


def _numbers(names: tuple[str, ...]) -> list[signal.Signals]:
    return [signal.Signals[name] for name in names if hasattr(signal, name)]  # Windows has only some of them


def _handle(number: int, _: FrameType | None) -> None:
    _SIGNAL_NAMES.add(name := signal.Signals(number).name)
    if name in _AT_ONCE:
        raise KeyboardInterrupt


def _without_interruptions(hook: Any) -> Any:
    """Wrap Python's hook so that it says nothing about an interrupted destructor.

    Python would print a traceback and go on. `raise_if_stopping` ends the run afterwards.
    """

    def show(unraisable: Any) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            hook(unraisable)

    return show
