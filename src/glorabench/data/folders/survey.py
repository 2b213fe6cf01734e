"""A survey of image files: the hash of each content, its kind, and whether its EXIF data turn it. Light: no torch.

All files are read once. The survey is saved under their names, sizes and times of change. While these stay the same,
the saved survey is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from glorabench.data.cache import load_or_make
from glorabench.data.checks import image_files
from glorabench.data.checks.image_files import check_image_file
from glorabench.data.images import decoding
from glorabench.data.images.content_hashes import content_hash
from glorabench.data.suites.listing import Listing
from glorabench.errors import BadInput

_FILE = "survey.txt"


@dataclass(frozen=True)
class Survey:
    """The survey of the files of a listing.

    Args:
        hashes: the hash of each file's content.
        kinds: the kind of each file: jpeg or lossless.
        turn_count: number of files whose EXIF data turn the image.
    """

    hashes: tuple[str, ...]
    kinds: tuple[str, ...]
    turn_count: int


class UnreadableImages(BadInput):
    """Some files are no whole images; `faults` has a line for each."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        further = f" ({len(faults) - 1:,} more cannot be read)" if len(faults) > 1 else ""
        super().__init__(f"{faults[0]}{further}")


def survey_images(listing: Listing, surveys: Path) -> Survey:
    """The survey of all files of a listing.

    Args:
        listing: the files.
        surveys: the folder of the surveys of this data set.

    Raises:
        UnreadableImages: naming each file that is missing, empty or no whole image.
        BadInput: the survey cannot be saved.
    """
    statuses = image_files.split_statuses({"all": listing})
    if absent := [i for i, status in enumerate(statuses["all"]) if status is None]:
        raise UnreadableImages([f"{listing.path(i)} is empty or no regular file: replace or remove it" for i in absent])
    folder = surveys / f"{image_files.split_stamps({'all': listing}, statuses)['all'][:16]}.survey"

    def write(draft: Path, lines: Sequence[str]) -> None:
        (draft / _FILE).write_text("\n".join(lines))

    return load_or_make(folder, lambda: _load(folder, len(listing)), lambda: _read(listing), write)


def _load(folder: Path, count: int) -> Survey:
    rows = [line.split(" ") for line in (folder / _FILE).read_text().split("\n")]
    hashes, kinds, turns = zip(*rows, strict=True)
    if len(rows) != count:
        raise ValueError(f"{folder} holds {len(rows)} files, not {count}")
    return Survey(hashes, kinds, turns.count("turned"))


def _read(listing: Listing) -> list[str]:
    """A line for each file: hash, kind, and whether it is turned.

    Raises:
        UnreadableImages: see `survey_images`.
    """

    def look(index: int) -> tuple[str, str]:
        path = listing.path(index)
        report = check_image_file(str(path), whole=False)
        if report.fault:
            return "", report.fault
        try:
            with decoding.open_image(path) as image:
                is_turned = decoding.turn_of(image) is not None
            return f"{content_hash(path)} {report.kind} {'turned' if is_turned else 'upright'}", ""
        except BadInput as error:
            return "", str(error)

    looks = list(decoding.map_in_threads(look, len(listing), f"reading {len(listing):,} images"))
    if faults := [fault for _, fault in looks if fault]:
        raise UnreadableImages(faults)
    return [line for line, _ in looks]
