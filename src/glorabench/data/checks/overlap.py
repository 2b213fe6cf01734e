"""Find images that are in several splits, by their paths or by the contents of their files. Light: no torch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from glorabench.data.suites.suite import Splits

TRAINING_SPLITS = ("train", "val", "trainval")  # trainval may hold train and val
LEAK_SHARE = 0.02  # of the smaller split: some shared sets hold a few images twice, which is no leak


def shared_paths(splits: Splits) -> Iterator[str]:
    """One line for each pair of splits that name one file."""
    paths = {split: _paths(splits, split) for split in splits}
    for one, two in _pairs(splits):
        among = set(paths[one])
        if shared := [path for path in paths[two] if path in among]:
            yield (
                f"{splits[two].source}: {len(shared):,} of its {len(paths[two]):,} images are also in {one} (first: "
                f"{shared[0]}): {two} must hold others; fetch the lists again"
            )


def _pairs(splits: Splits) -> Iterator[tuple[str, str]]:
    """Pairs of splits that must not share an image."""
    fitted = [split for split in TRAINING_SPLITS if split in splits]
    if splits.get("trainval") is splits.get("train"):
        fitted.remove("trainval")
    if "train" in splits and "val" in splits:
        yield "train", "val"
    yield from ((one, two) for one in fitted for two in splits if two not in TRAINING_SPLITS)


def _paths(splits: Splits, split: str) -> list[str]:
    return [os.path.normpath(f"{splits[split].folder}/{name}") for name in splits[split].names]


def shared_contents(splits: Splits, digests: Mapping[str, Mapping[int, str]]) -> tuple[list[str], list[str]]:
    """Pairs of splits that share images by content: leaks, and notes on smaller overlaps; one line each.

    Args:
        splits: the listings.
        digests: for each split, index of an image -> hash of its file.
    """
    leaks: list[str] = []
    notes: list[str] = []
    for one, two in _pairs(splits):
        among, first = set(_paths(splits, one)), {hashed: index for index, hashed in digests[one].items()}
        paths = _paths(splits, two)
        shared = [i for i, hashed in digests[two].items() if hashed in first and paths[i] not in among]
        if not shared:
            continue
        twin = splits[one].path(first[digests[two][shared[0]]])
        line = (
            f"{splits[two].source}: {len(shared):,} of its {len(paths):,} images are also in {one} under other names "
            f"(first: {paths[shared[0]]} is {twin})"
        )
        if len(shared) > LEAK_SHARE * min(len(splits[one]), len(splits[two])):
            leaks.append(f"{line}: {two} must hold others; fetch the archive again")
        else:
            notes.append(f"{line}: a few, as in some sets in circulation")
    return leaks, notes
