"""What is wrong with a task on disk: each fault is one line that names the file and the fix. Light: no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from glorabench.data.checks import image_files, overlap
from glorabench.data.checks.image_files import Look, Statuses, look_at
from glorabench.data.suites import fake
from glorabench.data.suites.listing import Listing, per_class
from glorabench.data.suites.suite import Options, Row, Splits, Suite
from glorabench.errors import BadInput
from glorabench.files import read_text

Told = Callable[[int, int], None]
Seen = dict[tuple[str, bool], Look]

SAMPLE = 20  # images of each split that are decoded in any case
_NAMED = 5  # unreadable images of a split that are named; of more, how many there are


@dataclass(frozen=True)
class Report:
    """What a check found.

    Args:
        task: its name.
        splits: its listings; none when they could not be read.
        problems: one line each; a run is possible when there are none.
        extraction: jpeg or lossless, by the images that were looked at.
        fake: made by `glorabench data fake`.
        fingerprint: sha256 over names, labels and file sizes of all splits; None when files are missing.
        fingerprints: the same for each split whose files are all there.
        stamps: the same for each of them, with the times of change; what a cache on this machine is found by.
        digests: of each split, index of an image that was decoded -> hash of what its file holds.
        overlaps: images that two splits share by what they hold, fewer than a leak would have; one line each.
        missing: there is no folder of this task.
    """

    task: str
    splits: Splits
    problems: tuple[str, ...]
    extraction: str | None = None
    fake: bool = False
    fingerprint: str | None = None
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    stamps: Mapping[str, str] = field(default_factory=dict, compare=False)  # of this machine
    digests: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    overlaps: tuple[str, ...] = ()
    missing: bool = False


def inspect(
    suite: Suite,
    row: Row,
    root: Path,
    options: Options,
    *,
    deep: bool = False,
    ends: bool = False,
    told: Told | None = None,
    seen: Seen | None = None,
) -> Report:
    """Look at a task: lists, counts, labels, that every file exists and is in one of train, val and test, and SAMPLE
    images of each split decoded.

    Args:
        suite: of the task.
        row: the task.
        root: folder of the suite.
        options: of the suite; what is not given has its default.
        deep: decode every image.
        ends: look at the first and last bytes of every image, which show a truncated one.
        told: called with (images looked at, of how many).
        seen: what earlier checks have seen of the same files, which are not looked at again.
    """
    try:
        folder = suite.folder(row, root)
    except BadInput as error:
        return Report(row.name, {}, (str(error),), missing=True)
    try:
        options = {**suite.options, **options}
        splits = suite.read(row, folder, options)
        faked = _faked(suite, root, folder, splits)
        sizes = suite.sizes(row, options)
    except BadInput as error:
        return Report(row.name, {}, (str(error),))
    except OSError as error:
        fault = f"{error.filename or folder} cannot be read ({error.strerror}): check its permissions"
        return Report(row.name, {}, (fault,))
    statuses = image_files.statuses(splits)
    looks = _looks(splits, statuses, deep, ends, told, {} if seen is None else seen)
    problems, kinds = _files(splits, statuses, looks)
    if suite.alike and len(kinds) > 1:
        problems.append(_mixed(row, kinds))
    digests = {split: {i: seen.digest for i, seen in each.items() if seen.digest} for split, each in looks.items()}
    leaks, shared = overlap.of_contents(splits, digests) if deep else ([], [])
    problems += [*overlap.of_paths(splits), *leaks]
    prints = image_files.of_splits(splits, statuses)
    return Report(
        row.name,
        splits,
        tuple(dict.fromkeys((*_listed(suite, row, splits, sizes, faked), *problems))),
        extraction=max(("jpeg", "lossless"), key=lambda kind: len(kinds.get(kind, ()))) if kinds else None,
        fake=faked is not None,
        fingerprint=image_files.of_task(prints, splits),
        fingerprints=prints,
        stamps=image_files.stamps(splits, statuses),
        digests=digests,
        overlaps=tuple(shared),
    )


def _faked(suite: Suite, root: Path, folder: Path, splits: Splits) -> dict[str, int] | None:
    """Sizes of the splits of a fake set; None when no marker is in the task folder or between root and the images."""
    places = {folder} | {listing.folder for listing in splits.values()}
    places |= {above for place in places for above in place.parents if above.is_relative_to(root)}
    found = [sizes for place in sorted(places) if (sizes := fake.marked(place, suite.name)) is not None]
    return {split: size for sizes in found for split, size in sizes.items()} if found else None


def _listed(
    suite: Suite, row: Row, splits: Splits, right: Mapping[str, tuple[int, ...]], faked: Mapping[str, int] | None
) -> Iterator[str]:
    """Faults that the listings show: counts and labels."""
    for split, listing in splits.items():
        sizes = right.get(split, ())
        if faked is not None:
            sizes = (faked[split], *sizes) if split in faked else ()
        if sizes and len(listing) not in sizes:
            expected = " or ".join(f"{size:,}" for size in sizes)
            fix = "fetch the archive again, whole" if faked is None else "delete this fake task and make it again"
            yield f"{listing.source}: {len(listing):,} images, expected {expected}: truncated or another set; {fix}"
        if wrong := [index for index, label in enumerate(listing.labels) if not 0 <= label < row.classes]:
            more = f" (and {len(wrong) - 1:,} more)" if len(wrong) > 1 else ""
            yield (
                f"{_place(listing, wrong[0])}: label {listing.labels[wrong[0]]}, but {row.name} has {row.classes} "
                f"classes, 0 to {row.classes - 1}{more}: list of another set, or damaged; fetch it again"
            )
        occurring = sum(0 <= label < row.classes for label in per_class(listing))
        if suite.complete and occurring != row.classes:
            yield f"{listing.source}: {occurring} of {row.classes} classes occur, all must: damaged; fetch it again"


def _place(listing: Listing, index: int) -> str:
    """Where a listing names an image; its line, when it is a list of lines."""
    name, source = listing.names[index], listing.source
    if source.is_file():
        for number, line in enumerate(read_text(source).splitlines(), 1):
            if line.strip().rpartition(" ")[::2] == (name, str(listing.labels[index])):
                return f"{source}, line {number}"
    return f"{source}, {name}"


def _looks(
    splits: Splits, statuses: Mapping[str, Statuses], deep: bool, ends: bool, told: Told | None, seen: Seen
) -> dict[str, dict[int, Look]]:
    """What was seen of the files that are looked at, by split and index."""
    asked: dict[str, dict[int, tuple[str, bool]]] = {}
    for split, listing in splits.items():
        sample = set(_chosen(statuses[split], every=False))
        chosen = _chosen(statuses[split], every=True) if deep or ends else sorted(sample)
        asked[split] = {i: (f"{listing.folder}/{listing.names[i]}", deep or i in sample) for i in chosen}
    done, new = 0, [each for found in asked.values() for each in found.values() if each not in seen]
    for count in look_at(new, seen):
        done += count
        if told:
            told(done, len(new))
    return {split: {i: seen[each] for i, each in found.items()} for split, found in asked.items()}


def _files(
    splits: Splits, statuses: Mapping[str, Statuses], looks: Mapping[str, Mapping[int, Look]]
) -> tuple[list[str], dict[str, list[str]]]:
    """Faults of the image files, and the files that were looked at by kind."""
    problems: list[str] = []
    kinds: dict[str, list[str]] = {}
    for split, listing in splits.items():
        if absent := [index for index, status in enumerate(statuses[split]) if status is None]:
            problems.append(
                f"{listing.path(absent[0])} is missing or empty ({len(absent):,} of {len(listing):,} images "
                f"that {listing.source} names): unpack the archive again, whole"
            )
        faults = [look.fault for look in looks[split].values() if look.fault]
        problems += faults[:_NAMED]
        if len(faults) > _NAMED:
            problems.append(f"{listing.source}: {len(faults) - _NAMED:,} more of its images are no whole images")
        for index, look in looks[split].items():
            if look.kind:
                kinds.setdefault(look.kind, []).append(f"{listing.folder}/{listing.names[index]}")
    return problems, kinds


def _chosen(statuses: Statuses, every: bool) -> list[int]:
    """Indices of the files to look at: every one, or SAMPLE of them from the first to the last."""
    there = [index for index, status in enumerate(statuses) if status is not None]
    if every or len(there) <= SAMPLE:
        return there
    return [there[k * (len(there) - 1) // (SAMPLE - 1)] for k in range(SAMPLE)]


def _mixed(row: Row, kinds: Mapping[str, list[str]]) -> str:
    fewer = min(kinds, key=lambda kind: len(kinds[kind]))
    return (
        f"{kinds[fewer][0]} is {fewer}, most images of {row.name} are not: two extractions in one folder, whose "
        "accuracies must not be mixed: unpack one archive into an empty folder"
    )
