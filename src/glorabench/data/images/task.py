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
        """True if the split should be read with `still`; otherwise images are read one by one."""
        ...

    def still(self, view: View) -> NDArray[np.uint8]:
        """All images as they are evaluated, N x 3 x height x width."""
        ...

    def read(self, view: View, index: int) -> NDArray[np.uint8]:
        """One image as it is evaluated, 3 x height x width."""
        ...

    def whole(self) -> Pictures:
        """All images uncropped, for augmentation."""
        ...


class ArraySplit(NamedTuple):
    """A split in memory: images N x 3 x H x W, labels (N,). Images are resized for the backbone on the device."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]  # type: ignore[assignment] - the protocol has a property

    def has_stills(self, view: View) -> bool:
        """True: all images are in memory."""
        return True

    def still(self, view: View) -> NDArray[np.uint8]:
        """The images."""
        return self.images

    def read(self, view: View, index: int) -> NDArray[np.uint8]:
        """One image."""
        return self.images[index]

    def whole(self) -> Pictures:
        """The images, channels last."""
        return self.images.transpose(0, 2, 3, 1)


def concatenate(first: ArraySplit, second: ArraySplit) -> ArraySplit:
    """The examples of the first split, then those of the second."""
    return ArraySplit(np.concatenate([first.images, second.images]), np.concatenate([first.labels, second.labels]))


@dataclass(frozen=True)
class ImageTask:
    """A task of images with one label each.

    Args:
        suite, name: names of the suite and of the task.
        group: the group of tasks over which a mean is taken.
        classes: number of classes.
        splits: train, val, trainval, test, and further test sets.
        fingerprint: fingerprint of the data.
        geometry: how the suite's protocol resizes images; None resizes them on the device.
        preprocess: a preprocessing id, or None for that of the checkpoint.
        facts: further facts about the data for the record.
        scorings: test set -> {name: classes that may be predicted, None for all}. Other test sets are scored once, as
            top1.
        balanced_metric: also report the macro accuracy of the report split.
    """

    reads: ClassVar[str] = "images"

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

    @property
    def kind(self) -> str:
        """Image classification."""
        return "image_classification"

    def split(self, name: str) -> Split:
        """Train, val or trainval.

        Raises:
            LeakError: a test set is asked for, which only the final test step may read.
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
        """How the images become inputs of a backbone that was trained with these values."""
        if self.geometry is None:
            return View(size, mean, std, interpolation)
        return view(self.geometry, self.preprocess, size, mean, std, interpolation)
