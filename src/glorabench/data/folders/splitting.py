"""Divide images into train, val and test, and draw a part of train. Light: no torch.

Each class is divided on its own. Its images are sorted by name and put in the order of numpy's
`default_rng([split_seed, class]).permutation`. The first of them are test, the next val, and the rest train: as many as
the share says, rounded, but at least one of each. Files with the same content count as one image and stay together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from glorabench.data.folders.examples import Examples
from glorabench.data.suites.listing import Listing, count_per_class, draw_shots
from glorabench.errors import BadInput, check_whole_number


@dataclass(frozen=True)
class SplitOptions:
    """How images are divided, and which part of train is used.

    Args:
        val_share, test_share: share of the images that val and test get when they are drawn.
        shots: exact number of images of each class in train; None for all.
        per_class: largest number of images of each class in train; None for all.
        fraction: share of each class in train, rounded, at least one image; None for all.
        split_seed: seed of every draw.
        allow_duplicates: accept one image in two splits.
    """

    val_share: float = 0.2
    test_share: float = 0.2
    shots: int | None = None
    per_class: int | None = None
    fraction: float | None = None
    split_seed: int = 0
    allow_duplicates: bool = False

    def __post_init__(self) -> None:
        """Raise BadInput if a value is not possible; the message names the key."""
        for key in ("val_share", "test_share"):
            _check_share(f"data.{key}", getattr(self, key), below_one=True)
        if self.val_share + self.test_share >= 1:
            raise BadInput(
                f"data.val_share={self.val_share} and data.test_share={self.test_share} leave nothing to train on: "
                "their sum must be below 1"
            )
        for key in ("shots", "per_class"):
            if getattr(self, key) is not None:
                check_whole_number(f"data.{key}", getattr(self, key))
        if self.fraction is not None:
            _check_share("data.fraction", self.fraction, below_one=False)
        check_whole_number("data.split_seed", self.split_seed, 0)
        if type(self.allow_duplicates) is not bool:
            raise BadInput(f"data.allow_duplicates must be true or false, got {self.allow_duplicates!r}")
        if len(self.subset) > 1:
            first, second = list(self.subset)[:2]
            raise BadInput(f"data.{first} and data.{second} both draw a part of train: give one of them")

    @property
    def subset(self) -> dict[str, float]:
        """The option that draws a part of train, if any."""
        options = {"shots": self.shots, "per_class": self.per_class, "fraction": self.fraction}
        return {key: value for key, value in options.items() if value is not None}


def _check_share(key: str, value: object, below_one: bool) -> None:
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not (0 < number < 1 or (number == 1 and not below_one)):
        raise BadInput(f"{key} must be a number above 0 and {'below' if below_one else 'at most'} 1, got {value!r}")


def split_examples(examples: Examples, hashes: Sequence[str], options: SplitOptions) -> tuple[dict[str, Listing], str]:
    """The splits train, val, trainval and test, and a text on where they come from.

    Trainval is train and val together. If a part of train is drawn, trainval is only that part.

    Args:
        examples: the examples of the data set.
        hashes: the hash of each file's content.
        options: how the images are divided.

    Raises:
        BadInput: a class has too few images.
    """
    places = {
        split: [i for i, name in enumerate(examples.splits) if name == split] for split in ("train", "val", "test")
    }
    parts_to_draw = [split for split in ("test", "val") if not places[split]]
    pool = places["train"] or [i for i, name in enumerate(examples.splits) if not name]
    if parts_to_draw:
        shares = {"val": options.val_share, "test": options.test_share}
        parts = _draw_parts(
            examples, hashes, pool, {split: shares[split] for split in parts_to_draw}, options.split_seed
        )
        places |= parts
    splits = {split: examples.listing(indices) for split, indices in places.items()}
    whole = splits["train"]
    splits["train"] = _draw_subset(examples, whole, options)
    indices = sorted([*places["train"], *places["val"]])
    splits["trainval"] = splits["train"] if options.subset else examples.listing(indices)
    return splits, _describe(examples, parts_to_draw, len(whole), splits, options)


def _draw_parts(
    examples: Examples, hashes: Sequence[str], pool: Sequence[int], shares: Mapping[str, float], seed: int
) -> dict[str, list[int]]:
    """Divide the pool by the rule of this module: the parts that `shares` names, and train."""
    parts: dict[str, list[int]] = {split: [] for split in (*shares, "train")}
    of_class: dict[int, dict[str, list[int]]] = {}
    for index in pool:  # in the order of names
        of_class.setdefault(examples.labels[index], {}).setdefault(hashes[index], []).append(index)
    for label, images in of_class.items():
        if len(images) < len(parts):
            raise BadInput(
                f"{examples.source}: class '{examples.classes[label]}' has {_images(len(images))}, at least "
                f"{len(parts)} are needed to draw {' and '.join(shares)} from them: add images, or remove the class"
            )
        copies = list(images.values())
        order = [copies[i] for i in np.random.default_rng([seed, label]).permutation(len(copies))]
        start = 0
        for split, size in _sizes(len(copies), shares).items():
            parts[split] += [index for group in order[start : start + size] for index in group]
            start += size
    return {split: sorted(indices) for split, indices in parts.items()}


def _images(count: int) -> str:
    return f"{count:,} image{'s' * (count > 1)}"


def _sizes(count: int, shares: Mapping[str, float]) -> dict[str, int]:
    """How many of `count` images each part and train get. Halves are rounded up, and each gets at least one image."""
    sizes = {split: max(1, math.floor(count * share + 0.5)) for split, share in shares.items()}
    while sum(sizes.values()) >= count:
        sizes[max(sizes, key=lambda split: sizes[split])] -= 1
    return {**sizes, "train": count - sum(sizes.values())}


def _draw_subset(examples: Examples, train: Listing, options: SplitOptions) -> Listing:
    """The part of train that the options name.

    Raises:
        BadInput: a class has fewer images than shots.
    """
    counts = count_per_class(train)
    if options.shots is not None:
        least = min(counts, key=lambda label: (counts[label], label))
        if counts[least] < options.shots:
            raise BadInput(
                f"data.shots={options.shots}, but class '{examples.classes[least]}' has {_images(counts[least])} in "
                f"train: give data.shots={counts[least]} or less, or data.per_class={options.shots}, which takes what "
                "is there"
            )
        return draw_shots(train, options.shots, options.split_seed)
    if options.per_class is not None:
        return draw_shots(train, options.per_class, options.split_seed)
    if options.fraction is None:
        return train
    subset: list[int] = []
    for label, count in counts.items():
        of_class = [i for i, number in enumerate(train.labels) if number == label]
        size = max(1, math.floor(count * options.fraction + 0.5))
        shots = set(draw_shots(train.take(of_class), size, options.split_seed).names)
        subset += [i for i in of_class if train.names[i] in shots]
    return train.take(sorted(subset))


def _describe(
    examples: Examples, parts_to_draw: Sequence[str], whole: int, splits: Mapping[str, Listing], options: SplitOptions
) -> str:
    """Where the splits come from, in words."""
    names = [split for split in ("train", "val", "test") if split in examples.splits]
    words = [f"{' and '.join(names)} as given"] if names else []
    if parts_to_draw:
        shares = ", ".join(f"{split} {getattr(options, f'{split}_share'):g}" for split in sorted(parts_to_draw))
        words.append(
            f"{' and '.join(sorted(parts_to_draw))} drawn by class with split_seed={options.split_seed} ({shares})"
        )
    for key, value in options.subset.items():
        words.append(f"train is {len(splits['train']):,} of {whole:,} images ({key}={value:g})")
    return "; ".join(words)
