"""Fingerprints: which images a split is made of, wherever they lie, without reading one. Light: no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from glorabench.data.listing import Listing
from glorabench.data.scan import Status, statuses_of
from glorabench.data.suite import Splits

Statuses = Sequence[Status | None]


def statuses(splits: Splits) -> dict[str, Statuses]:
    """Size and time of change of every image of every split; None where there is none."""
    return {split: statuses_of(str(listing.folder), listing.names) for split, listing in splits.items()}


def of_splits(splits: Splits, of: Mapping[str, Statuses]) -> dict[str, str]:
    """Of each split whose files are all there: sha256 over names, labels and file sizes.

    Args:
        splits: the listings.
        of: what `statuses` says of them.
    """
    return {split: _hash(_lines(splits[split], each)) for split, each in of.items() if None not in each}


def stamps(splits: Splits, of: Mapping[str, Statuses]) -> dict[str, str]:
    """The same with the folder, and with the times at which each file was changed: another one when one is replaced.

    It changes also when files are copied or touched, so it says less than a fingerprint about what a run is of.
    """
    return {
        split: _hash(chain([str(splits[split].folder.absolute())], map(str, each), _lines(splits[split], each)))
        for split, each in of.items()
        if None not in each
    }


def of_task(prints: Mapping[str, str], splits: Splits) -> str | None:
    """Of a task, from those of its splits; None when files are missing."""
    return _hash(f"{split} {prints[split]}" for split in sorted(prints)) if len(prints) == len(splits) else None


def _lines(listing: Listing, each: Statuses) -> Iterator[str]:
    for name, label, status in zip(listing.names, listing.labels, each, strict=True):
        yield f"{name} {label} {status and status.size}"


def _hash(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
