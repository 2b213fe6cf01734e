"""Find images that are in several splits, by their paths or by the contents of their files. Light: no torch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from glorabench.data.suites.suite import Splits

TRAINING_SPLITS = ("train", "val", "trainval")  # trainval may hold train and val
LEAK_SHARE = 0.02  # share of the smaller split; some public sets hold a few images twice, which is no leak


def shared_paths(splits: Splits) -> Iterator[str]:
    """One line for each pair of splits that name one file."""
    paths = {split: _paths(splits, split) for split in splits}
    for first, second in _pairs(splits):
        among = set(paths[first])
        if shared := [path for path in paths[second] if path in among]:
            yield (
                f"{splits[second].source}: {len(shared):,} of its {len(paths[second]):,} images are also in {first} "
                f"(first: {shared[0]}): {second} must hold others; fetch the lists again"
            )


def _pairs(splits: Splits) -> Iterator[tuple[str, str]]:
    """Pairs of splits that must not share an image."""
    splits_to_fit = [split for split in TRAINING_SPLITS if split in splits]
    if splits.get("trainval") is splits.get("train"):
        splits_to_fit.remove("trainval")
    if "train" in splits and "val" in splits:
        yield "train", "val"
    yield from ((first, second) for first in splits_to_fit for second in splits if second not in TRAINING_SPLITS)


def _paths(splits: Splits, split: str) -> list[str]:
    return [os.path.normpath(f"{splits[split].folder}/{name}") for name in splits[split].names]


def shared_contents(splits: Splits, digests: Mapping[str, Mapping[int, str]]) -> tuple[list[str], list[str]]:
    """Pairs of splits that share images by content: one line for each leak, and one for each smaller overlap.

    Args:
        splits: the listings.
        digests: for each split, index of an image -> hash of its file.
    """
    leaks: list[str] = []
    notes: list[str] = []
    for first, second in _pairs(splits):
        among, index_of = set(_paths(splits, first)), {digest: index for index, digest in digests[first].items()}
        paths = _paths(splits, second)
        shared = [i for i, digest in digests[second].items() if digest in index_of and paths[i] not in among]
        if not shared:
            continue
        twin = splits[first].path(index_of[digests[second][shared[0]]])
        line = (
            f"{splits[second].source}: {len(shared):,} of its {len(paths):,} images are also in {first} under "
            f"other names (first: {paths[shared[0]]} is {twin})"
        )
        if len(shared) > LEAK_SHARE * min(len(splits[first]), len(splits[second])):
            leaks.append(f"{line}: {second} must hold others; fetch the archive again")
        else:
            notes.append(f"{line}: a few, as in some sets in circulation")
    return leaks, notes
