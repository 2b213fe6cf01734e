"""ImageNet-1k with some images for each class, tested on its val and on V2, Sketch, A and R. Light: no torch.

Further test sets are labelled by the names of their class folders.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from glorabench.data.suites import fake as faking
from glorabench.data.suites.listing import Listing, draw, from_folders, from_text, per_class
from glorabench.data.suites.suite import Options, Row, Splits, Suite
from glorabench.errors import BadInput, one_of, whole


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


def _shipped(name: str) -> tuple[str, ...]:
    """The lines of one of timm's lists, read without importing timm."""
    spec = find_spec("timm")
    for place in (spec and spec.submodule_search_locations) or ():
        path = Path(place, "data", "_info", name)
        if path.is_file():
            return tuple(path.read_text(encoding="utf-8").split())
    raise BadInput(f"timm's list {name} is not there: install timm again")


RANKS: Final = {wnid: rank for rank, wnid in enumerate(_shipped("imagenet_synsets.txt"))}  # sorted wnids
ALL: Final = tuple(RANKS.values())
_V2_INNER: Final = "imagenetv2-matched-frequency-format-val"


def _number(name: str) -> int | None:
    return int(name) if name.isdecimal() and int(name) < len(RANKS) else None


A: Final = tuple(map(int, _shipped("imagenet_a_indices.txt")))  # the 200 classes of ImageNet-A


def _rank_in(kept: tuple[int, ...]) -> Callable[[str], int | None]:
    wnids = list(RANKS)
    return {wnids[label]: label for label in kept}.get


R: Final = tuple(map(int, _shipped("imagenet_r_indices.txt")))  # and of ImageNet-R; 86 are in both
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

OPTIONS: Final[Options] = {"shots": 16, "split_seed": 0, "shifts": " ".join(SHIFTS)}
VAL_SHOTS: Final = 4  # images of each class in a val that is drawn
LISTS: Final = "https://github.com/ZhangYuanhan-AI/NOAH, data/few-shot/imagenet/annotations (MIT)"
SEARCHED: Final = "unofficial_val_list_4_shot16seed0"  # NOAH's val

ROW: Final = Row(
    "imagenet", "imagenet", len(RANKS), {"test": (50_000,), **{s.name: (s.size,) for s in SHIFTS.values()}},
    ("imagenet", "imagenet-1k", "imagenet1k", "ILSVRC2012", "ImageNet"), ("imagenet-1k", "imagenet1k"),
    "ILSVRC2012_img_train.tar (138 GB) and _val.tar (6.3 GB): image-net.org, for research, after registration",
)  # fmt: skip


def _shifts(options: Options) -> tuple[str, ...]:
    keys = tuple(str(options.get("shifts", OPTIONS["shifts"])).split())
    for key in keys:
        one_of("data.shifts", key, SHIFTS)
    return keys


def sizes(row: Row, options: Options) -> Mapping[str, tuple[int, ...]]:
    """Numbers of images; val has no fixed one: NOAH's list without what is trained on, or VAL_SHOTS of each class."""
    train = ({**OPTIONS, **options}["shots"] * row.classes,)
    kept = {"test", *(SHIFTS[key].name for key in _shifts(options))}
    return {"train": train, "trainval": train, **{name: size for name, size in row.sizes.items() if name in kept}}


class _Lists:
    """Where NOAH's lists may lie, and the folders below which images may."""

    def __init__(self, folder: Path) -> None:
        root = folder.parent
        self.folder = folder
        self.places = [folder / "annotations"]
        self.places += [root / "few-shot" / name / "annotations" for name in ROW.folders]

    def find(self, name: str) -> Path | None:
        """The list of that name, if there is one."""
        return next((place / name for place in self.places if (place / name).is_file()), None)

    def images(self, part: str) -> Path:
        """The folder of train or val images."""
        places = [self.folder / part, self.folder / "images" / part]
        for place in places:
            if place.is_dir():
                return place
        raise BadInput(f"no folder {places[0]} or {places[1]}: unpack ImageNet's {part} images there. {ROW.obtain}")

    @cached_property
    def pool(self) -> Listing:
        """All training images."""
        return from_folders(self.images("train"), RANKS.get)


def read(_task: Row, folder: Path, options: Options) -> Splits:
    """Train (by NOAH's list, or drawn), val, test (ImageNet's val) and the further test sets.

    Raises:
        BadInput: an option is none, or a set is not there or not what it should be.
    """
    asked = {**OPTIONS, **options}
    shots, seed = asked["shots"], asked["split_seed"]
    whole("data.shots", shots)
    whole("data.split_seed", seed, 0)
    further = _shifts(asked)
    lists = _Lists(folder)
    train = _train(lists, shots, seed)
    return {
        "train": train,
        "val": _val(lists, train, seed),
        "trainval": train,  # the protocol trains on the shots and on nothing else
        "test": _test(lists),
        **{SHIFTS[key].name: read_shift(key, folder.parent) for key in further},
    }


def _train(lists: _Lists, shots: int, seed: int) -> Listing:
    source = lists.find(f"train_meta.list.num_shot_{shots}.seed_{seed}")
    if source is None:
        train = draw(lists.pool, shots, seed).noted(f"train is {shots} images of each class drawn with seed {seed}")
    else:
        train = agreeing(from_text(source, [lists.images("train")]), RANKS.get)
    for label, count in sorted(per_class(train).items()):
        if count != shots:
            raise BadInput(
                f"{train.source}: class {list(RANKS)[label]} has {count} images, not {shots}: half unpacked? Unpack or "
                "fetch it again"
            )
    return train


def _val(lists: _Lists, train: Listing, seed: int) -> Listing:
    """What a search scores on: never an image that is trained on."""
    trained = set(train.names)
    source = lists.find(SEARCHED)
    if source is None:
        val = draw(lists.pool, VAL_SHOTS, seed, without=trained)
        if not val:
            raise BadInput(f"{train.folder}: no image is left for val: unpack ImageNet's train images whole")
        return val.noted(f"val is {VAL_SHOTS} images of each class drawn with seed {seed}")
    val = agreeing(from_text(source, [lists.images("train")]), RANKS.get)
    fresh = [index for index, name in enumerate(val.names) if name not in trained]
    if len(fresh) == len(val):
        return val
    gone = len(val) - len(fresh)
    return val.take(fresh).noted(f"{gone} images that are trained on removed from val: its list is for seed 0")


def _test(lists: _Lists) -> Listing:
    """ImageNet's val, in folders of wnids or flat with NOAH's list."""
    folder = lists.images("val")
    if any(entry.name in RANKS for entry in folder.iterdir()):
        return from_folders(folder, RANKS.get)
    source = lists.find("val_meta.list")
    if source is None:
        raise BadInput(
            f"{folder} has no class folders, so the labels need {lists.places[0] / 'val_meta.list'}: fetch it from "
            f"{LISTS}, or sort the images into folders of wnids"
        )
    return from_text(source, [folder])


def read_shift(key: str, root: Path) -> Listing:
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


@cache
def _as_strings() -> dict[str, int]:
    return {name: rank for rank, name in enumerate(sorted(map(str, ALL)))}


SUITE: Final = Suite(
    "imagenet", "ImageNet and its shifts", (ROW,), "imagenet", ("",), read, OPTIONS,
    obtain=f"{ROW.obtain}. Lists: {LISTS}. " + ". ".join(s.obtain for s in SHIFTS.values()), sizes=sizes,
    scorings={
        "imagenet_a": {"top1_200": A, "top1_1000": None},
        "imagenet_r": {"top1_200": R, "top1_1000": None},
    },
    variants=tuple({"shots": 16, "split_seed": seed} for seed in (0, 1, 2)),
)  # fmt: skip


def fake(root: Path, full: bool) -> list[bool]:
    """ImageNet and the four sets beside it, of ten classes; with `full` of all, the test sets in their true sizes.

    Returns:
        Of each set whether it was made here, and not found.
    """
    a, r = set(A), set(R)
    few = {0, 3, 10, 100, 998, 999, min(a & r), max(a & r), min(a - r), max(r - a)}
    classes = ALL if full else tuple(sorted(few))
    size = 50 * len(classes) if full else 2 * len(classes)
    made = faking.build(root / ROW.folders[0], SUITE.name, {"test": size}, partial(_fill, classes, size))
    return [made, *fake_shifts(root, classes, full)]


def _fill(classes: tuple[int, ...], size: int, folder: Path) -> None:
    """Training images in folders of wnids, and `size` test images with their list."""
    wnids = list(RANKS)
    for label in classes:
        for number in range(24):
            name = f"{wnids[label]}/{wnids[label]}_{number}.JPEG"
            faking.draw(folder / "train" / name, label, number, (64, 48))
    lines = []
    for index in range(size):
        label, name = classes[index * 7 % len(classes)], f"ILSVRC2012_val_{index + 1:08d}.JPEG"
        faking.draw(folder / "val" / name, label, 100 + index, (64, 48))
        lines.append(f"{name} {label}\n")
    (folder / "annotations").mkdir()
    (folder / "annotations" / "val_meta.list").write_text("".join(lines), encoding="utf-8")


def fake_shifts(root: Path, classes: tuple[int, ...], full: bool) -> list[bool]:
    """The four sets, of `classes`; V2 with ten images of each class, as it is, the others with three, unless `full`.

    Returns:
        Of each set whether it was made here, and not found.
    """
    made = []
    for shift in SHIFTS.values():
        kept = [label for label in shift.classes if label in classes]
        size = shift.size if full else (shift.each or 3) * len(kept)
        fill = partial(_fill_shift, shift, kept, size)
        made.append(faking.build(root / shift.folders[0], "imagenet", {shift.name: size}, fill))
    return made


def _fill_shift(shift: Shift, kept: Sequence[int], size: int, folder: Path) -> None:
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
