"""A split of image files on disk, decoded once for all runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from glorabench.data import cache
from glorabench.data.images import content_hashes, decoding
from glorabench.data.images.preprocessing import View, shorter_to
from glorabench.data.suites.listing import Listing
from glorabench.errors import BadInput

SHORTER_SIDE = 512  # longest shorter side of an image in the cache for augmentation, in pixels
_PROBES = 64  # the size of a split is estimated from the headers of so many images
CACHED_TEST_BYTES = 4 * 2**30  # bytes up to which `cache_test: auto` keeps a decoded test split


@dataclass
class FilesOnDisk:
    """A split on disk.

    Args:
        listing: names and labels.
        name: name of the split.
        caches: folder of the caches of this task.
        stamp: identifies the files without reading them, see `image_files.split_stamps`.
        hashes_read: index of an image -> hash of its file, for images that a check has read.
        keep: whether evaluation uses a cache: True, False, or auto (only if it is small).
        upright: turn images as their EXIF data say.
        parts: splits that this one is made of; where they are decoded, their images are copied.
    """

    listing: Listing
    name: str
    caches: Path
    stamp: str
    hashes_read: Mapping[int, str] = field(default_factory=dict, repr=False)
    keep: bool | str = True
    upright: bool = False
    parts: Sequence[FilesOnDisk] = ()
    labels: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.labels = np.array(self.listing.labels, np.int64)

    def has_stills(self, view: View) -> bool:
        """True if this split should be read with `still`: it is decoded already, or small enough to be cached."""
        if self.keep != "auto":
            return bool(self.keep)
        hashes = content_hashes.load_hashes(self._hashes_folder, self.hashes_read)
        is_decoded = (
            bool(hashes) and (self.caches / content_hashes.cache_name(hashes, self.upright) / view.key).is_dir()
        )
        return is_decoded or self._bytes(view) <= min(CACHED_TEST_BYTES, self._free() // 2)

    @cached_property
    def folder(self) -> Path:
        """Folder of the decoded images. Its name depends on the contents of the files, which may have to be read."""
        return self.caches / content_hashes.cache_name(self._hashes, self.upright)

    @cached_property
    def _hashes(self) -> Sequence[str]:
        def read() -> list[str]:
            count = len(self.listing)
            return list(
                decoding.map_in_threads(
                    lambda i: self.hashes_read.get(i) or content_hashes.content_hash(self.listing.path(i)),
                    count,
                    f"reading {self.name}",
                )
            )

        return content_hashes.load_or_read_hashes(self._hashes_folder, self.hashes_read, read)

    @property
    def _hashes_folder(self) -> Path:
        return self.caches / f"{self.stamp[:16]}.hashes"

    def _bytes(self, view: View) -> int:
        return len(self.listing) * 3 * view.size**2

    def _free(self) -> int:
        place = next(parent for parent in self.caches.absolute().parents if parent.is_dir())
        return shutil.disk_usage(place).free

    def still(self, view: View) -> NDArray[np.uint8]:
        """All images as they are evaluated: N x 3 x size x size, decoded once.

        Raises:
            BadInput: an image cannot be decoded, or the cache cannot be written.
        """
        folder, shape = self.folder / view.key, (len(self.listing), 3, view.size, view.size)

        def images() -> Iterator[NDArray[np.uint8]]:
            if self.parts and all((part.folder / view.key).is_dir() for part in self.parts):
                return self._copy_all(view)
            self._announce(folder, self._bytes(view))
            return self._decode_all(view.still)

        return cache.cached_stack(folder, shape, images)

    def _copy_all(self, view: View) -> Iterator[NDArray[np.uint8]]:
        """Every image for a cache, in order, out of the caches of the parts."""
        places = {}
        for part in self.parts:
            stack = part.still(view)
            places |= {part.listing.path(i): (stack, i) for i in range(len(part.listing))}
        for i in range(len(self.listing)):
            stack, place = places[self.listing.path(i)]
            yield stack[place]

    def _decode_all(self, fit: Callable[[Image.Image], NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        """Every image for a cache, in order."""

        def read(index: int) -> NDArray[np.uint8]:
            path = self.listing.path(index)
            image = fit(decoding.decode_for_run(path, self.upright))
            if content_hashes.content_hash(path) != self._hashes[index]:
                raise BadInput(f"{path} was replaced while this run was reading it: start the run again")
            return image

        return decoding.map_in_threads(read, len(self.listing), f"decoding {self.name}")

    def read(self, view: View, index: int) -> NDArray[np.uint8]:
        """One image as it is evaluated, decoded from its file."""
        return view.still(decoding.decode_for_run(self.listing.path(index), self.upright))

    def whole(self) -> cache.RaggedImages:
        """All images uncropped, for augmentation, decoded once; a shorter side above 512 pixels becomes 512.

        Raises:
            BadInput: see `still`.
        """
        folder = self.folder / f"whole_{SHORTER_SIDE}"

        def images() -> Iterator[NDArray[np.uint8]]:
            self._announce(folder, self._bytes_whole())
            return self._decode_all(_shrink)

        return cache.cached_ragged(folder, len(self.listing), images)

    def _bytes_whole(self) -> int:
        """About how many bytes `whole` needs, by the headers of some images."""
        count = len(self.listing)
        probes = min(_PROBES, count)
        return sum(_bytes_in_memory(self.listing.path(i * count // probes)) for i in range(probes)) * count // probes

    def _announce(self, folder: Path, size: int) -> None:
        """Print which images are decoded, and where they are stored.

        Raises:
            BadInput: the disk has no room for them.
        """
        images = f"{len(self.listing):,} images of {self.name}"
        free = self._free()
        if size > free:
            raise BadInput(
                f"{images} take about {_size_text(size)} in {folder}, {_size_text(free)} are free: free space or set "
                "cache_dir=FOLDER"
            )
        print(f"    decoding {images} once into {folder} (about {_size_text(size)})", flush=True)


def _size_text(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


def _bytes_in_memory(path: Path) -> int:
    with decoding.open_image(path) as image:
        width, height = image.size
    return round(3 * width * height * min(1.0, SHORTER_SIDE / min(width, height)) ** 2)


def _shrink(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(
        shorter_to(image, SHORTER_SIDE, Image.Resampling.BICUBIC) if min(image.size) > SHORTER_SIDE else image
    )
