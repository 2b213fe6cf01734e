"""Check a task on disk: each fault is one line that names the file and the fix. Light: no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from glorabench.data.checks import image_files, overlap
from glorabench.data.checks.image_files import FileReport, FileStatuses, check_image_files
from glorabench.data.suites import fake
from glorabench.data.suites.listing import Listing, count_per_class
from glorabench.data.suites.suite import Options, Splits, Suite, SuiteTask
from glorabench.errors import BadInput
from glorabench.files import read_text

OnProgress = Callable[[int, int], None]
FileReports = dict[tuple[str, bool], FileReport]

SAMPLE = 20  # images of each split that are decoded in any case
_MOST_NAMES = 5  # unreadable images of a split that are named; further ones are counted


@dataclass(frozen=True)
class Report:
    """The result of a check of a task.

    Args:
        task: its name.
        splits: its listings; none if they could not be read.
        problems: one line for each; a run is possible if there are none.
        extraction: jpeg or lossless, from the checked images.
        fake: True if `glorabench data fake` made the images.
        fingerprint: sha256 over names, labels and file sizes of all splits; None if files are missing.
        fingerprints: the same for each split whose files are all there.
        stamps: like `fingerprints`, but with the times of change. Caches on this machine are found by it.
        digests: for each split, index of a decoded image -> hash of its file.
        overlaps: one line for each pair of splits that share images by content, but too few for a leak.
        has_no_folder: True if the task has no folder.
    """

    task: str
    splits: Splits
    problems: tuple[str, ...]
    extraction: str | None = None
    fake: bool = False
    fingerprint: str | None = None
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    stamps: Mapping[str, str] = field(default_factory=dict, compare=False)  # they differ between machines
    digests: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    overlaps: tuple[str, ...] = ()
    has_no_folder: bool = False


def inspect_task(
    suite: Suite,
    row: SuiteTask,
    root: Path,
    options: Options,
    *,
    deep: bool = False,
    ends: bool = False,
    on_progress: OnProgress | None = None,
    reports: FileReports | None = None,
) -> Report:
    """Check a task: lists, counts, labels, whether every file exists and lies in one of train, val and test only.

    SAMPLE images of each split are decoded.

    Args:
        suite: of the task.
        row: the task.
        root: folder of the suite.
        options: of the suite; an option that is missing has its default.
        deep: decode every image.
        ends: read the first and last bytes of every image, which show a truncated one.
        on_progress: called with the number of images that are checked, and the number of all.
        reports: reports of earlier checks; these files are not checked again.
    """
    try:
        folder = suite.folder(row, root)
    except BadInput as error:
        return Report(row.name, {}, (str(error),), has_no_folder=True)
    try:
        splits, listing_faults, is_fake = _read_listings(suite, row, root, folder, {**suite.options, **options})
    except BadInput as error:
        return Report(row.name, {}, (str(error),))
    except OSError as error:
        fault = f"{error.filename or folder} cannot be read ({error.strerror}): check its permissions"
        return Report(row.name, {}, (fault,))
    statuses = image_files.split_statuses(splits)
    files = _file_reports(splits, statuses, deep, ends, on_progress, {} if reports is None else reports)
    problems, kinds = _image_faults(suite, row, splits, statuses, files)
    digests = _digests(files)
    leaks, overlaps = overlap.shared_contents(splits, digests) if deep else ([], [])
    fingerprints = image_files.split_fingerprints(splits, statuses)
    return Report(
        row.name,
        splits,
        tuple(dict.fromkeys([*listing_faults, *problems, *overlap.shared_paths(splits), *leaks])),
        extraction=_extraction(kinds),
        fake=is_fake,
        fingerprint=image_files.task_fingerprint(fingerprints, splits),
        fingerprints=fingerprints,
        stamps=image_files.split_stamps(splits, statuses),
        digests=digests,
        overlaps=tuple(overlaps),
    )


def _read_listings(
    suite: Suite, row: SuiteTask, root: Path, folder: Path, options: Options
) -> tuple[Splits, list[str], bool]:
    """The splits of a task, the faults of their listings, and whether the task is fake.

    Raises:
        BadInput: a list is missing or is no list.
        OSError: a file cannot be read.
    """
    splits = suite.read(row, folder, options)
    fake_sizes = _fake_sizes(suite, root, folder, splits)
    faults = list(_listing_faults(suite, row, splits, suite.sizes(row, options), fake_sizes))
    return splits, faults, fake_sizes is not None


def _extraction(kinds: Mapping[str, list[str]]) -> str | None:
    """The kind of most images; jpeg if both are equally frequent, None if there are none."""
    if not kinds:
        return None
    return max(("jpeg", "lossless"), key=lambda kind: len(kinds.get(kind, ())))


def _digests(files: Mapping[str, Mapping[int, FileReport]]) -> dict[str, dict[int, str]]:
    """For each split, index of a decoded image -> hash of its file."""
    return {split: {i: file.digest for i, file in reports.items() if file.digest} for split, reports in files.items()}


def _fake_sizes(suite: Suite, root: Path, folder: Path, splits: Splits) -> dict[str, int] | None:
    """Sizes of the splits of a fake set; None if no marker is in the task folder or between root and the images."""
    places = {folder}
    for listing in splits.values():
        places.add(listing.folder)
    for place in tuple(places):
        places |= {parent for parent in place.parents if parent.is_relative_to(root)}
    fake_sizes = None
    for place in sorted(places):
        sizes = fake.read_marker(place, suite.name)
        if sizes is not None:
            fake_sizes = {**(fake_sizes or {}), **sizes}
    return fake_sizes


def _listing_faults(
    suite: Suite,
    row: SuiteTask,
    splits: Splits,
    expected_sizes: Mapping[str, tuple[int, ...]],
    fake_sizes: Mapping[str, int] | None,
) -> Iterator[str]:
    """Faults that the listings show: counts and labels."""
    for split, listing in splits.items():
        sizes = expected_sizes.get(split, ())
        if fake_sizes is not None:
            sizes = (fake_sizes[split], *sizes) if split in fake_sizes else ()
        if sizes and len(listing) not in sizes:
            sizes_text = " or ".join(f"{size:,}" for size in sizes)
            fix = "fetch the archive again, whole" if fake_sizes is None else "delete this fake task and make it again"
            yield f"{listing.source}: {len(listing):,} images, expected {sizes_text}: truncated or another set; {fix}"
        if wrong := [index for index, label in enumerate(listing.labels) if not 0 <= label < row.classes]:
            further = f" (and {len(wrong) - 1:,} more)" if len(wrong) > 1 else ""
            yield (
                f"{_place(listing, wrong[0])}: label {listing.labels[wrong[0]]}, but {row.name} has {row.classes} "
                f"classes, 0 to {row.classes - 1}{further}: list of another set, or damaged; fetch it again"
            )
        class_count = sum(0 <= label < row.classes for label in count_per_class(listing))
        if suite.complete and class_count != row.classes:
            yield f"{listing.source}: {class_count} of {row.classes} classes occur, all must: damaged; fetch it again"


def _place(listing: Listing, index: int) -> str:
    """Where a listing names an image; its line, when it is a list of lines."""
    name, source = listing.names[index], listing.source
    if source.is_file():
        for number, line in enumerate(read_text(source).splitlines(), 1):
            if line.strip().rpartition(" ")[::2] == (name, str(listing.labels[index])):
                return f"{source}, line {number}"
    return f"{source}, {name}"


def _file_reports(
    splits: Splits,
    statuses: Mapping[str, FileStatuses],
    deep: bool,
    ends: bool,
    on_progress: OnProgress | None,
    reports: FileReports,
) -> dict[str, dict[int, FileReport]]:
    """The reports of the checked files by split and index. New reports are added to `reports`."""
    requests: dict[str, dict[int, tuple[str, bool]]] = {}
    for split, listing in splits.items():
        sample = set(_sample(statuses[split], every=False))
        indices = _sample(statuses[split], every=True) if deep or ends else sorted(sample)
        requests[split] = {i: (f"{listing.folder}/{listing.names[i]}", deep or i in sample) for i in indices}
    new = []
    for by_index in requests.values():
        new += [request for request in by_index.values() if request not in reports]
    count = 0
    for step in check_image_files(new, reports):
        count += step
        if on_progress:
            on_progress(count, len(new))
    return {split: {i: reports[request] for i, request in by_index.items()} for split, by_index in requests.items()}


def _image_faults(
    suite: Suite,
    row: SuiteTask,
    splits: Splits,
    statuses: Mapping[str, FileStatuses],
    files: Mapping[str, Mapping[int, FileReport]],
) -> tuple[list[str], dict[str, list[str]]]:
    """Faults of the image files, and the checked files by kind."""
    problems: list[str] = []
    kinds: dict[str, list[str]] = {}
    for split, listing in splits.items():
        absent = [index for index, status in enumerate(statuses[split]) if status is None]
        if absent:
            problems.append(
                f"{listing.path(absent[0])} is missing or empty ({len(absent):,} of {len(listing):,} images "
                f"that {listing.source} names): unpack the archive again, whole"
            )
        faults = [file.fault for file in files[split].values() if file.fault]
        problems += faults[:_MOST_NAMES]
        if len(faults) > _MOST_NAMES:
            problems.append(f"{listing.source}: {len(faults) - _MOST_NAMES:,} more of its images are no whole images")
        for index, file in files[split].items():
            if file.kind:
                kinds.setdefault(file.kind, []).append(f"{listing.folder}/{listing.names[index]}")
    if suite.alike and len(kinds) > 1:
        problems.append(_mixed_fault(row, kinds))
    return problems, kinds


def _sample(statuses: FileStatuses, every: bool) -> list[int]:
    """Indices of the files to check: every one, or SAMPLE of them from the first to the last."""
    present = [index for index, status in enumerate(statuses) if status is not None]
    if every or len(present) <= SAMPLE:
        return present
    return [present[k * (len(present) - 1) // (SAMPLE - 1)] for k in range(SAMPLE)]


def _mixed_fault(row: SuiteTask, kinds: Mapping[str, list[str]]) -> str:
    fewer = min(kinds, key=lambda kind: len(kinds[kind]))
    return (
        f"{kinds[fewer][0]} is {fewer}, most images of {row.name} are not: two extractions in one folder, whose "
        "accuracies must not be mixed: unpack one archive into an empty folder"
    )
