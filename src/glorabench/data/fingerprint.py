"""Fingerprints: which images a split is made of, wherever they lie, without reading one. Light: no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from glorabench.data.listing import Listing
from glorabench.data.scan import sizes_of
from glorabench.data.suite import Splits

Sizes = Sequence[int | None]


def sizes(splits: Splits) -> dict[str, Sizes]:
    """Size in bytes of every image of every split; None where there is none."""
    return {split: sizes_of(str(found.folder), found.names) for split, found in splits.items()}


def of_splits(splits: Splits, of: Mapping[str, Sizes]) -> dict[str, str]:
    """Of each split whose files are all there: sha256 over names, labels and file sizes.

    Args:
        splits: the listings.
        of: what `sizes` says of them.
    """
    return {split: _of(splits[split], each) for split, each in of.items() if None not in each}


def of_task(prints: Mapping[str, str], splits: Splits) -> str | None:
    """Of a task, from those of its splits; None when files are missing."""
    return _hash(f"{split} {prints[split]}" for split in sorted(prints)) if len(prints) == len(splits) else None


def _of(listing: Listing, each: Sizes) -> str:
    return _hash(f"{n} {label} {size}" for n, label, size in zip(listing.names, listing.labels, each, strict=True))


def _hash(lines: Iterator[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
