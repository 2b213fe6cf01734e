"""The test sets beside ImageNet: V2, Sketch, A and R, labelled by the names of their class folders. Light: no torch.

A label is always the rank of the wnid among ImageNet's 1,000, or for V2 the folder's name as a number: never the place
of a folder in a listing, which a missing folder or a sort as strings (0, 1, 10, 100, 101, ...) would shift.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from glorabench.data import fake as faking
from glorabench.data.listing import Listing, from_folders, from_text, per_class
from glorabench.errors import BadInput


def _shipped(name: str) -> tuple[str, ...]:
    """The lines of one of timm's lists, read without importing timm."""
    spec = find_spec("timm")
    for place in (spec and spec.submodule_search_locations) or ():
        path = Path(place, "data", "_info", name)
        if path.is_file():
            return tuple(path.read_text(encoding="utf-8").split())
    raise BadInput(f"timm's list {name} is not there: install timm again")


RANKS: Final = {wnid: rank for rank, wnid in enumerate(_shipped("imagenet_synsets.txt"))}  # sorted wnids
A: Final = tuple(map(int, _shipped("imagenet_a_indices.txt")))  # the 200 classes of ImageNet-A
R: Final = tuple(map(int, _shipped("imagenet_r_indices.txt")))  # and of ImageNet-R; 86 are in both


def _rank_in(kept: tuple[int, ...]) -> Callable[[str], int | None]:
    wnids = list(RANKS)
    return {wnids[label]: label for label in kept}.get


def _number(name: str) -> int | None:
    return int(name) if name.isdecimal() and int(name) < len(RANKS) else None


@dataclass(frozen=True)
class Shift:
    """One further test set.

    Args:
        name: of its split.
        size: its number of images.
        classes: those that occur in it.
        folders: names of its folder, the one of NOAH and CoOp first; `inner` ones hold the class folders.
        inner: see folders.
        label_of: name of a class folder -> label, or None.
        obtain: where people get it.
        each: images of every class, if that is one number.
    """

    name: str
    size: int
    classes: tuple[int, ...]
    folders: tuple[str, ...]
    inner: tuple[str, ...]
    label_of: Callable[[str], int | None]
    obtain: str
    each: int | None = None


_V2_INNER: Final = "imagenetv2-matched-frequency-format-val"
ALL: Final = tuple(RANKS.values())
SHIFTS: Final = {
    "v2": Shift("imagenetv2", 10_000, ALL, ("imagenetv2", "imagenet-v2", "ImageNetV2", _V2_INNER),
                (_V2_INNER, "imagenetv2-matched-frequency", ""), _number,
                "imagenetv2-matched-frequency.tar.gz (1.3 GB): Hugging Face, vaishaal/ImageNetV2", each=10),
    "sketch": Shift("imagenet_sketch", 50_889, ALL, ("imagenet-sketch", "ImageNet-Sketch", "imagenet_sketch", "sketch"),
                    ("images", "sketch", ""), RANKS.get,
                    "ImageNet-Sketch.zip (8 GB): github.com/HaohanWang/ImageNet-Sketch"),
    "a": Shift("imagenet_a", 7_500, A, ("imagenet-adversarial", "imagenet-a", "imagenet_a", "ImageNet-A"),
               ("imagenet-a", ""), _rank_in(A), "imagenet-a.tar (690 MB): github.com/hendrycks/natural-adv-examples"),
    "r": Shift("imagenet_r", 30_000, R, ("imagenet-rendition", "imagenet-r", "imagenet_r", "ImageNet-R"),
               ("imagenet-r", ""), _rank_in(R), "imagenet-r.tar (2.2 GB): github.com/hendrycks/imagenet-r"),
}  # fmt: skip


def read(key: str, root: Path) -> Listing:
    """One further test set below `root`, by NOAH's list if it is there, else by its folders.

    Raises:
        BadInput: it is not there, or is another version, or the list labels it otherwise than its folders do.
    """
    shift = SHIFTS[key]
    there = [root / name for name in shift.folders if (root / name).is_dir()]
    lists = [place / name for place in (root, root / "domain-generalization") for name in shift.folders]
    source = next((path for folder in lists if (path := folder / "annotations" / "val_meta.list").is_file()), None)
    if source is not None and there:
        found = agreeing(from_text(source, [*there, root]), shift.label_of)
    else:
        found = from_folders(_classes(shift, there, root), shift.label_of)
    if shift.each and (uneven := {n for n in per_class(found).values() if n != shift.each}):
        raise BadInput(
            f"{found.source}: {len(found):,} images, {max(uneven)} of a class, not {shift.each}: half unpacked or "
            f"another version of {shift.name}; fetch {shift.obtain}"
        )
    return found


def _classes(shift: Shift, there: list[Path], root: Path) -> Path:
    """The folder that holds the class folders."""
    places = [place / inner for place in there for inner in shift.inner]
    for place in places:
        names = [entry.name for entry in os.scandir(place) if entry.is_dir()] if place.is_dir() else []
        if shift.label_of is _number and any(name in RANKS for name in names):
            raise BadInput(
                f"{place}: its folders are wnids; those of the version in use are numbers: fetch {shift.obtain}"
            )
        if any(name in RANKS or _number(name) is not None for name in names):
            return place
    tried = " or ".join(map(str, places or [root / name for name in shift.folders]))
    raise BadInput(
        f"{shift.name} is missing: no class folders in {tried}. Get {shift.obtain}; or leave it out of data.shifts"
    )


def agreeing(listing: Listing, label_of: Callable[[str], int | None]) -> Listing:
    """A list whose every label is that of the image's class folder.

    Raises:
        BadInput: a label is another one.
    """
    for name, label in zip(listing.names, listing.labels, strict=True):
        folder = name.split("/")[-2] if "/" in name else ""
        right = label_of(folder)
        if right is None:
            raise BadInput(f"{listing.source}: '{name}' lies in no class folder of this set: fetch the list again")
        if label != right:
            sort = label_of is _number and label == _as_strings()[str(right)]
            why = "folders sorted as strings, so 988 of 1,000 classes are wrong" if sort else "another order of classes"
            raise BadInput(f"{listing.source}: '{name}' has label {label}, not {right}: {why}; use NOAH's list or none")
    return listing


@cache
def _as_strings() -> dict[str, int]:
    return {name: rank for rank, name in enumerate(sorted(map(str, ALL)))}


def fake(root: Path, classes: tuple[int, ...], full: bool) -> list[bool]:
    """The four sets, of `classes`; V2 with ten images of each class, as it is, the others with three, unless `full`.

    Returns:
        Of each set whether it was made here, and not found.
    """
    made = []
    for shift in SHIFTS.values():
        kept = [label for label in shift.classes if label in classes]
        size = shift.size if full else (shift.each or 3) * len(kept)
        fill = partial(_fill, shift, kept, size)
        made.append(faking.build(root / shift.folders[0], "imagenet", {shift.name: size}, fill))
    return made


def _fill(shift: Shift, kept: Sequence[int], size: int, folder: Path) -> None:
    """The images of one set, of the `kept` classes."""
    wnids = list(RANKS)
    for index in range(size):
        label, number = kept[index % len(kept)], index // len(kept)
        parent = str(label) if shift.label_of is _number else wnids[label]
        faking.draw(folder / shift.inner[0] / parent / _name(shift, number), label, 1_000_000 + index, (64, 48))


def _name(shift: Shift, number: int) -> str:
    names = {"imagenetv2": f"{number:040x}.jpeg", "imagenet_sketch": f"sketch_{number}.JPEG"}
    names["imagenet_a"] = f"0.{number:06d}_soap dispenser _ soap dispenser_0.28588653.jpg"  # spaces, as all have
    return names.get(shift.name, f"cartoon_{number}.jpg")
