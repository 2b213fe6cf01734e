"""Decode image files to RGB pixels, in threads and in order. An image that cannot be decoded is named.

Values of 16 bits are scaled to 8. The range of 32-bit integers and floats is not known, so they are refused. Rotation
by EXIF is applied only if it is asked for. Published suites do not ask for it, like the code of their papers.
"""

from __future__ import annotations

import os
import struct
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from glorabench.errors import BadInput, first_line
from glorabench.files import check_regular

T = TypeVar("T")
DECODING_VERSION = 2  # raise this if the same file may give other pixels; the names of caches depend on it
THREADS = min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
PIXEL_LIMIT_VARIABLE = "GLORABENCH_MAX_PIXELS"
DEFAULT_PIXEL_LIMIT = 178_956_970  # pixels of one image; above this Pillow refuses it as a decompression bomb
Image.MAX_IMAGE_PIXELS = None  # Pillow's limit is off: `open_image` has its own, whose message names the fix
_FAULTS = (OSError, ValueError, SyntaxError, EOFError)  # what Pillow raises for a damaged image
_AHEAD = 4 * THREADS  # most images that are decoded ahead, to bound the memory
_BITS, _PHOTOMETRIC = 258, 262  # tags of TIFF
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # value of EXIF's Orientation -> the turn that makes the image upright
_lock = Lock()
_images_decoded = 0


def images_decoded() -> int:
    """How many image files this process has decoded for runs."""
    return _images_decoded


def pixel_limit() -> int:
    """The most pixels that an image may have: `GLORABENCH_MAX_PIXELS`, or DEFAULT_PIXEL_LIMIT.

    Raises:
        BadInput: the variable is no whole number of at least 1.
    """
    text = os.environ.get(PIXEL_LIMIT_VARIABLE, "").replace("_", "")
    if text and not (text.isdecimal() and int(text) > 0):
        raise BadInput(
            f"{PIXEL_LIMIT_VARIABLE}={os.environ[PIXEL_LIMIT_VARIABLE]} must be a whole number of at least 1"
        )
    return int(text or DEFAULT_PIXEL_LIMIT)


@contextmanager
def open_image(path: str | Path) -> Iterator[Image.Image]:
    """The image in a file. Only its header is read, until the block needs its pixels.

    A JPEG with more pixels than `pixel_limit` is decoded at a half, a quarter or an eighth of its size.

    Raises:
        BadInput: the file is missing, truncated, no image or no regular file, or has too many pixels.
    """
    assert not ImageFile.LOAD_TRUNCATED_IMAGES, "a truncated image would be filled up with grey"
    try:
        check_regular(path)
        with Image.open(path) as image:
            _limit_pixels(image, path)
            yield image
    except BadInput:
        raise
    except FileNotFoundError:
        raise BadInput(f"no image {path}: unpack the archive again, whole") from None
    except UnidentifiedImageError:
        raise BadInput(f"{path} is no image: fetch it again") from None
    except _FAULTS as error:
        raise BadInput(f"{path} is truncated or damaged ({first_line(error)}): fetch it again") from error


def _limit_pixels(image: Image.Image, path: str | Path) -> None:
    """Reduce an image that is too large, or refuse it."""
    limit, (width, height) = pixel_limit(), image.size
    if width * height > limit:
        factor = 2
        while factor < 8 and width * height > limit * factor**2:
            factor *= 2
        image.draft(None, (width // factor, height // factor))  # has no effect on other formats
    if image.width * image.height > limit:
        raise BadInput(
            f"{path} has {width:,} x {height:,} pixels, more than the {limit:,} that an image may have: make it "
            f"smaller, or set {PIXEL_LIMIT_VARIABLE}={width * height}"
        )


def decode(path: str | Path, upright: bool = False) -> Image.Image:
    """The whole image in a file as RGB, for checks and runs alike. Of an animation it is the first frame.

    Args:
        path: path of the file.
        upright: turn the image as its EXIF data say.

    Raises:
        BadInput: see `open_image`; also if the range of the values is not known.
    """
    with open_image(path) as image:
        rgb = to_rgb(image, path)
        turn = turn_of(image) if upright else None
        return rgb if turn is None else rgb.transpose(turn)


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """The turn or mirroring that the EXIF data of an open image ask for. Damaged EXIF data are ignored.

    Pillow turns a TIFF itself when it reads the pixels, and from then on nothing is left to turn.
    """
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except (*_FAULTS, struct.error, TypeError, LookupError):
        return None


def decode_for_run(path: Path, upright: bool = False) -> Image.Image:
    """Decode an image, and count it for `images_decoded`."""
    global _images_decoded
    with _lock:
        _images_decoded += 1
    return decode(path, upright)


def to_rgb(image: Image.Image, path: str | Path) -> Image.Image:
    """An image of any mode as RGB; transparency is ignored.

    Raises:
        BadInput: its values are 32-bit integers or floats.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return _from_16_bits(image).convert("RGB")
    if image.mode in ("I", "F"):
        kind = "32-bit integers" if image.mode == "I" else "floats"
        raise BadInput(
            f"{path} holds {kind} (Pillow's mode {image.mode}), whose range is not known: save it with 8 or 16 bits"
        )
    if image.mode == "La":
        image = image.convert("LA")
    return image.convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    """Grey values scaled by 1/257 and rounded: 65,535 becomes 255. In a TIFF of 12 bits, 4,095 becomes 255."""
    tags = getattr(image, "tag_v2", {})
    top = 4095 if tags.get(_BITS) == (12,) else 65535
    grey = (np.asarray(image).astype(np.int64).clip(0, top) * 255 + top // 2) // top
    return Image.fromarray((255 - grey if tags.get(_PHOTOMETRIC) == 0 else grey).astype(np.uint8))


def map_in_threads(read: Callable[[int], T], count: int, title: str | None = None) -> Iterator[T]:
    """read(0) .. read(count - 1), computed ahead in threads. A `title` shows progress on a terminal."""
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
