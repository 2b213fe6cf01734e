"""Standard output and error, which may be closed or full, or which nobody may read. Light: no torch."""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

_PLAIN = {"…": "...", "±": "+-", "×": "x", "–": "-", "²": "^2", "→": "->", "≥": ">=", "≤": "<="}  # noqa: RUF001
_STRICT = (None, "strict", "surrogateescape")  # the last is that of the C locale
_NO_READER = (errno.EPIPE, errno.EBADF, errno.ECONNRESET)  # nobody reads any more


class ReaderLeft(Exception):
    """Nobody reads the output of a command that does nothing but print."""


@contextmanager
def tolerate_broken_streams() -> Iterator[None]:
    """Inside the block, text that cannot be printed is dropped; a full disk is named once."""
    _open_descriptors()
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_wrap, streams)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, ReaderLeft):
                stream.flush()
        sys.stdout, sys.stderr = streams


def show_start() -> None:
    """Say on a terminal that the command has begun: what it imports takes seconds."""
    if sys.stderr.isatty():
        print("starting", file=sys.stderr, flush=True)


def end_with_reader() -> None:
    """From now on ReaderLeft is raised if the reader of standard output leaves: the command does nothing but print."""
    descriptor = _descriptor()
    if descriptor:
        descriptor.raises = True


def raise_if_reader_left() -> None:
    """Stop a long computation whose result nobody reads.

    Raises:
        ReaderLeft: the reader has left, and `end_with_reader` was called.
    """
    descriptor = _descriptor()
    if descriptor and descriptor.raises and descriptor.is_left():
        raise ReaderLeft


def _descriptor() -> _Descriptor | None:
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw if isinstance(raw, _Descriptor) else None


def _open_descriptors() -> None:
    """Open closed standard descriptors to nowhere, so that no file that is opened later gets their numbers."""
    number = os.open(os.devnull, os.O_RDWR)
    while number < 3:
        os.set_inheritable(number, True)
        number = os.open(os.devnull, os.O_RDWR)
    os.close(number)


def _wrap(stream: TextIO | None) -> TextIO:
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")
    try:
        number = stream.fileno()
        stream.flush()
    except (OSError, ValueError, AttributeError):  # no file, as in a notebook
        return stream
    binary, line_buffering = io.BufferedWriter(_Descriptor(number)), bool(getattr(stream, "line_buffering", False))
    errors = "glorabench.plain" if stream.errors in _STRICT else stream.errors
    return io.TextIOWrapper(binary, stream.encoding, errors, line_buffering=line_buffering)


def _to_plain(error: UnicodeError) -> tuple[str, int]:
    """Plain characters for those that an encoding lacks, such as ASCII under LC_ALL=C."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(_PLAIN.get(letter, "?") for letter in letters), error.end


codecs.register_error("glorabench.plain", _to_plain)


class _Descriptor(io.FileIO):
    """Drops text that cannot be written, and everything after it."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)
        self.is_broken = self.raises = False

    def write(self, data: Any, /) -> int | None:
        """Write, or count as written."""
        if not self.is_broken:
            try:
                return super().write(data)
            except OSError as error:
                self.is_broken = True
                self._lose(error)
        return memoryview(data).nbytes

    def _lose(self, error: OSError) -> None:
        if error.errno not in _NO_READER and self.fileno() != 2:
            print(f"warning: standard output cannot be written ({error.strerror})", file=sys.stderr)
        if self.raises:
            raise ReaderLeft

    def is_left(self) -> bool:
        """True when it is a pipe without a reader."""
        if self.is_broken or not hasattr(select, "poll"):
            return self.is_broken
        poll = select.poll()
        poll.register(self.fileno(), 0)
        return any(events & select.POLLERR for _, events in poll.poll(0))
