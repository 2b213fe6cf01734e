"""Image tasks: their splits, in memory or on disk, and test splits that open once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from glorabench.data.images.preprocessing import View, view
from glorabench.data.task import LeakError


class Pictures(Protocol):
    """Images of any sizes, each height x width x 3."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]: ...


class Split(Protocol):
    """The images of a split, which may lie in memory or on a disk."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,)."""
        ...

    def has_stills(self, view: View) -> bool:
        """Whether `still` is the way to read it; otherwise images are read one by one."""
        ...

    def still(self, view: View) -> NDArray[np.uint8]:
        """All images as they are evaluated, N x 3 x height x width."""
        ...

    def read(self, view: View, index: int) -> NDArray[np.uint8]:
        """One of them."""
        ...

    def whole(self) -> Pictures:
        """All images uncropped, for augmentation."""
        ...


class ArraySplit(NamedTuple):
    """A split in memory: images N x 3 x H x W, labels (N,); a backbone's size is met on the device."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]  # type: ignore[assignment] - a field is a property that can be read

    def has_stills(self, view: View) -> bool:
        """Always."""
        return True

    def still(self, view: View) -> NDArray[np.uint8]:
        """The images."""
        return self.images

    def read(self, view: View, index: int) -> NDArray[np.uint8]:
        """One of them."""
        return self.images[index]

    def whole(self) -> Pictures:
        """The images, channels last."""
        return self.images.transpose(0, 2, 3, 1)


def concatenate(first: ArraySplit, second: ArraySplit) -> ArraySplit:
    """One split and then the other."""
    return ArraySplit(np.concatenate([first.images, second.images]), np.concatenate([first.labels, second.labels]))


@dataclass(frozen=True)
class ImageTask:
    """What a task is.

    Args:
        suite, name, group: what it is called and what its mean is part of.
        classes: number of classes.
        splits: train, val, trainval, test, and further test sets.
        fingerprint: of the data.
        geometry: how the suite's protocol makes images fit; None resizes them on the device.
        preprocess: a preprocessing id, or None for what the checkpoint was trained with.
        facts: what else a record says of the data.
        scorings: test set -> {name: classes that may be answered, None for all}; others are scored once, as top1.
        balanced_metric: report the macro accuracy of the report split beside top-1.
    """

    reads: ClassVar[str] = "images"
    kind: ClassVar[str] = "image_classification"

    suite: str
    name: str
    group: str
    classes: int
    splits: Mapping[str, Split]
    fingerprint: str
    geometry: str | None = None
    preprocess: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    scorings: Mapping[str, Mapping[str, Sequence[int] | None]] = field(default_factory=dict)
    balanced_metric: bool = False

    def split(self, name: str) -> Split:
        """Train, val or trainval.

        Raises:
            LeakError: asked for a test set, which only the final test step opens.
        """
        if name not in ("train", "val", "trainval"):
            raise LeakError("test labels are read by the final test step only")
        return self.splits[name]

    @property
    def tests(self) -> list[str]:
        """The test sets: `test`, then further ones."""
        further_tests = [name for name in self.splits if name not in ("train", "val", "trainval", "test")]
        return ["test", *further_tests]

    def view(self, size: int, mean: tuple[float, ...], std: tuple[float, ...], interpolation: str) -> View:
        """How its images come to a backbone that was trained with these."""
        if self.geometry is None:
            return View(size, mean, std, interpolation)
        return view(self.geometry, self.preprocess, size, mean, std, interpolation)
