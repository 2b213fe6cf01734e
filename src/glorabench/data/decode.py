"""Decoding: image files to pixels, in threads and in order, counted; a file that is no image is named."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TypeVar

from PIL import Image, ImageFile, UnidentifiedImageError

from glorabench.errors import BadInput, first_line

T = TypeVar("T")
THREADS = min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
_FAULTS = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)  # Pillow's, of a damaged image
_AHEAD = 4 * THREADS  # decoded and not yet taken: bounds the memory
_lock = Lock()
_opened = 0


def opened() -> int:
    """How many image files this process has decoded."""
    return _opened


@contextmanager
def image_in(path: str | Path) -> Iterator[Image.Image]:
    """The image in a file: its header is read, its pixels when the block asks for them.

    Raises:
        BadInput: the file is missing, truncated or no image.
    """
    assert not ImageFile.LOAD_TRUNCATED_IMAGES, "a truncated image would be filled up with grey"
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError:
        raise BadInput(f"no image {path}: unpack the archive again, whole") from None
    except UnidentifiedImageError:
        raise BadInput(f"{path} is no image: fetch it again") from None
    except _FAULTS as error:
        raise BadInput(f"{path} is truncated or damaged ({first_line(error)}): fetch it again") from error


def picture(path: Path) -> Image.Image:
    """The image in a file, whole, as RGB.

    Raises:
        BadInput: the file is missing, truncated or no image.
    """
    global _opened
    with _lock:
        _opened += 1
    with image_in(path) as image:
        return image.convert("RGB")


def in_order(read: Callable[[int], T], count: int, title: str | None = None) -> Iterator[T]:
    """read(0) .. read(count - 1), computed ahead in threads; with a `title` it shows progress on a terminal."""
    numbers: Iterator[int] = iter(range(count))
    if title and sys.stdout.isatty():
        from rich.progress import track

        numbers = iter(track(range(count), description=title, transient=True))
    pool = ThreadPoolExecutor(THREADS)
    ahead: deque[Future[T]] = deque()
    try:
        for number in numbers:
            ahead.append(pool.submit(read, number))
            if len(ahead) > _AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
