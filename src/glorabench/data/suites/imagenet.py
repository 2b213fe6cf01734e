"""ImageNet-1k with a few images for each class, tested on its val and on V2, Sketch, A and R. Light: no torch.

The labels of these further test sets come from the names of their class folders.
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
from glorabench.data.suites.layout import Column, Layout, Mean
from glorabench.data.suites.listing import Listing, count_per_class, draw_shots, list_folders, read_list
from glorabench.data.suites.suite import Options, Splits, Suite, SuiteTask
from glorabench.errors import BadInput, check_whole_number, one_of


@dataclass(frozen=True)
class Shift:
    """One further test set.

    Args:
        name: name of its split.
        size: its number of images.
        classes: the classes that occur in it.
        folders: names of its folder; the first is that of NOAH and CoOp.
        inner: names of the folder inside it that holds the class folders.
        label_of: name of a class folder -> label, or None.
        obtain: where to get it.
        images_per_class: of every class, if this is one number.
    """

    name: str
    size: int
    classes: tuple[int, ...]
    folders: tuple[str, ...]
    inner: tuple[str, ...]
    label_of: Callable[[str], int | None]
    obtain: str
    images_per_class: int | None = None


def _timm_list(name: str) -> tuple[str, ...]:
    """The lines of one of timm's lists, read without importing timm."""
    spec = find_spec("timm")
    for place in (spec and spec.submodule_search_locations) or ():
        path = Path(place, "data", "_info", name)
        if path.is_file():
            return tuple(path.read_text(encoding="utf-8").split())
    raise BadInput(f"timm's list {name} is not there: install timm again")


WNID_RANKS: Final = {wnid: rank for rank, wnid in enumerate(_timm_list("imagenet_synsets.txt"))}  # sorted wnids
IMAGENET_CLASSES: Final = tuple(WNID_RANKS.values())
_V2_INNER: Final = "imagenetv2-matched-frequency-format-val"


def _number(name: str) -> int | None:
    return int(name) if name.isdecimal() and int(name) < len(WNID_RANKS) else None


IMAGENET_A_CLASSES: Final = tuple(map(int, _timm_list("imagenet_a_indices.txt")))  # the 200 classes of ImageNet-A


def _rank_in(labels: tuple[int, ...]) -> Callable[[str], int | None]:
    wnids = list(WNID_RANKS)
    return {wnids[label]: label for label in labels}.get


IMAGENET_R_CLASSES: Final = tuple(map(int, _timm_list("imagenet_r_indices.txt")))  # those of ImageNet-R; 86 are in both
SHIFTS: Final = {
    "v2": Shift(
        "imagenetv2",
        10_000,
        IMAGENET_CLASSES,
        ("imagenetv2", "imagenet-v2", "ImageNetV2", _V2_INNER),
        (_V2_INNER, "imagenetv2-matched-frequency", ""),
        _number,
        "imagenetv2-matched-frequency.tar.gz (1.3 GB): Hugging Face, vaishaal/ImageNetV2",
        images_per_class=10,
    ),
    "sketch": Shift(
        "imagenet_sketch",
        50_889,
        IMAGENET_CLASSES,
        ("imagenet-sketch", "ImageNet-Sketch", "imagenet_sketch", "sketch"),
        ("images", "sketch", ""),
        WNID_RANKS.get,
        "ImageNet-Sketch.zip (8 GB): github.com/HaohanWang/ImageNet-Sketch",
    ),
    "a": Shift(
        "imagenet_a",
        7_500,
        IMAGENET_A_CLASSES,
        ("imagenet-adversarial", "imagenet-a", "imagenet_a", "ImageNet-A"),
        ("imagenet-a", ""),
        _rank_in(IMAGENET_A_CLASSES),
        "imagenet-a.tar (690 MB): github.com/hendrycks/natural-adv-examples",
    ),
    "r": Shift(
        "imagenet_r",
        30_000,
        IMAGENET_R_CLASSES,
        ("imagenet-rendition", "imagenet-r", "imagenet_r", "ImageNet-R"),
        ("imagenet-r", ""),
        _rank_in(IMAGENET_R_CLASSES),
        "imagenet-r.tar (2.2 GB): github.com/hendrycks/imagenet-r",
    ),
}

IMAGENET_OPTIONS: Final[Options] = {"shots": 16, "split_seed": 0, "shifts": " ".join(SHIFTS)}
VAL_SHOTS: Final = 4  # images of each class, if val is drawn
NOAH_IMAGENET_LISTS: Final = "https://github.com/ZhangYuanhan-AI/NOAH, data/few-shot/imagenet/annotations (MIT)"
NOAH_VAL_LIST: Final = "unofficial_val_list_4_shot16seed0"  # NOAH's val

IMAGENET_TASK: Final = SuiteTask(
    "imagenet", "imagenet", len(WNID_RANKS), {"test": (50_000,), **{s.name: (s.size,) for s in SHIFTS.values()}},
    ("imagenet", "imagenet-1k", "imagenet1k", "ILSVRC2012", "ImageNet"), ("imagenet-1k", "imagenet1k"),
    "ILSVRC2012_img_train.tar (138 GB) and _val.tar (6.3 GB): image-net.org, for research, after registration",
)  # fmt: skip


def _shifts(options: Options) -> tuple[str, ...]:
    keys = tuple(str(options.get("shifts", IMAGENET_OPTIONS["shifts"])).split())
    for key in keys:
        one_of("data.shifts", key, SHIFTS)
    return keys


def imagenet_sizes(row: SuiteTask, options: Options) -> Mapping[str, tuple[int, ...]]:
    """The numbers of images. That of val varies: NOAH's list without training images, or VAL_SHOTS of each class."""
    train = ({**IMAGENET_OPTIONS, **options}["shots"] * row.classes,)
    names = {"test", *(SHIFTS[key].name for key in _shifts(options))}
    return {"train": train, "trainval": train, **{name: size for name, size in row.sizes.items() if name in names}}


class _Lists:
    """The places of NOAH's lists and of the images."""

    def __init__(self, folder: Path) -> None:
        root = folder.parent
        self.folder = folder
        self.places = [folder / "annotations"]
        self.places += [root / "few-shot" / name / "annotations" for name in IMAGENET_TASK.folders]

    def find(self, name: str) -> Path | None:
        """The list of that name, if there is one."""
        return next((place / name for place in self.places if (place / name).is_file()), None)

    def images(self, part: str) -> Path:
        """The folder of train or val images."""
        places = [self.folder / part, self.folder / "images" / part]
        for place in places:
            if place.is_dir():
                return place
        raise BadInput(
            f"no folder {places[0]} or {places[1]}: unpack ImageNet's {part} images there. {IMAGENET_TASK.obtain}"
        )

    @cached_property
    def pool(self) -> Listing:
        """All training images."""
        return list_folders(self.images("train"), WNID_RANKS.get)


def read_imagenet_splits(_task: SuiteTask, folder: Path, options: Options) -> Splits:
    """Train (by NOAH's list, or drawn), val, test (ImageNet's val) and the further test sets.

    Raises:
        BadInput: an option has a wrong value, or a set is missing or another one.
    """
    settings = {**IMAGENET_OPTIONS, **options}
    shots, seed = settings["shots"], settings["split_seed"]
    check_whole_number("data.shots", shots)
    check_whole_number("data.split_seed", seed, 0)
    shifts = _shifts(settings)
    lists = _Lists(folder)
    train = _train(lists, shots, seed)
    return {
        "train": train,
        "val": _val(lists, train, seed),
        "trainval": train,  # the protocol trains only on the shots
        "test": _test(lists),
        **{SHIFTS[key].name: read_shift(key, folder.parent) for key in shifts},
    }


def _train(lists: _Lists, shots: int, seed: int) -> Listing:
    source = lists.find(f"train_meta.list.num_shot_{shots}.seed_{seed}")
    if source is None:
        train = draw_shots(lists.pool, shots, seed).with_note(
            f"train is {shots} images of each class drawn with seed {seed}"
        )
    else:
        train = check_labels(read_list(source, [lists.images("train")]), WNID_RANKS.get)
    for label, count in sorted(count_per_class(train).items()):
        if count != shots:
            raise BadInput(
                f"{train.source}: class {list(WNID_RANKS)[label]} has {count} images, not {shots}: half unpacked? "
                "Unpack or fetch it again"
            )
    return train


def _val(lists: _Lists, train: Listing, seed: int) -> Listing:
    """The split on which a search scores: it shares no image with train."""
    training_names = set(train.names)
    source = lists.find(NOAH_VAL_LIST)
    if source is None:
        val = draw_shots(lists.pool, VAL_SHOTS, seed, without=training_names)
        if not val:
            raise BadInput(f"{train.folder}: no image is left for val: unpack ImageNet's train images whole")
        return val.with_note(f"val is {VAL_SHOTS} images of each class drawn with seed {seed}")
    val = check_labels(read_list(source, [lists.images("train")]), WNID_RANKS.get)
    indices = [index for index, name in enumerate(val.names) if name not in training_names]
    if len(indices) == len(val):
        return val
    overlap = len(val) - len(indices)
    return val.take(indices).with_note(f"{overlap} images that are trained on removed from val: its list is for seed 0")


def _test(lists: _Lists) -> Listing:
    """ImageNet's val, in folders of wnids or flat with NOAH's list."""
    folder = lists.images("val")
    if any(entry.name in WNID_RANKS for entry in folder.iterdir()):
        return list_folders(folder, WNID_RANKS.get)
    source = lists.find("val_meta.list")
    if source is None:
        raise BadInput(
            f"{folder} has no class folders, so the labels need {lists.places[0] / 'val_meta.list'}: fetch it from "
            f"{NOAH_IMAGENET_LISTS}, or sort the images into folders of wnids"
        )
    return read_list(source, [folder])


def read_shift(key: str, root: Path) -> Listing:
    """One further test set below `root`, from NOAH's list if it is there, otherwise from its folders.

    Raises:
        BadInput: the set is missing or is another version, or its list and its folders have different labels.
    """
    shift = SHIFTS[key]
    folders = [root / name for name in shift.folders if (root / name).is_dir()]
    lists = [place / name for place in (root, root / "domain-generalization") for name in shift.folders]
    source = next((path for folder in lists if (path := folder / "annotations" / "val_meta.list").is_file()), None)
    if source is not None and folders:
        listing = check_labels(read_list(source, [*folders, root]), shift.label_of)
    else:
        listing = list_folders(_classes(shift, folders, root), shift.label_of)
    wrong_counts = {count for count in count_per_class(listing).values() if count != shift.images_per_class}
    if shift.images_per_class and wrong_counts:
        raise BadInput(
            f"{listing.source}: {len(listing):,} images, {max(wrong_counts)} of a class, not {shift.images_per_class}: "
            f"half unpacked or another version of {shift.name}; fetch {shift.obtain}"
        )
    return listing


def check_labels(listing: Listing, label_of: Callable[[str], int | None]) -> Listing:
    """The list, if every label is that of the class folder of the image.

    Raises:
        BadInput: a label differs.
    """
    for name, label in zip(listing.names, listing.labels, strict=True):
        folder = name.split("/")[-2] if "/" in name else ""
        folder_label = label_of(folder)
        if folder_label is None:
            raise BadInput(f"{listing.source}: '{name}' lies in no class folder of this set: fetch the list again")
        if label != folder_label:
            sort = label_of is _number and label == _as_strings()[str(folder_label)]
            cause = "folders sorted as strings, so 988 of 1,000 classes are wrong" if sort else "another class order"
            raise BadInput(
                f"{listing.source}: '{name}' has label {label}, not {folder_label}: {cause}; use NOAH's list or none"
            )
    return listing


def _classes(shift: Shift, folders: list[Path], root: Path) -> Path:
    """The folder that holds the class folders."""
    places = [place / inner for place in folders for inner in shift.inner]
    for place in places:
        names = [entry.name for entry in os.scandir(place) if entry.is_dir()] if place.is_dir() else []
        if shift.label_of is _number and any(name in WNID_RANKS for name in names):
            raise BadInput(
                f"{place}: its folders are wnids; those of the version in use are numbers: fetch {shift.obtain}"
            )
        if any(name in WNID_RANKS or _number(name) is not None for name in names):
            return place
    paths = " or ".join(map(str, places or [root / name for name in shift.folders]))
    raise BadInput(
        f"{shift.name} is missing: no class folders in {paths}. Get {shift.obtain}; or leave it out of data.shifts"
    )


@cache
def _as_strings() -> dict[str, int]:
    return {name: rank for rank, name in enumerate(sorted(map(str, IMAGENET_CLASSES)))}


def _layout() -> Layout:
    shorts = {"imagenetv2/top1": "V2", "imagenet_sketch/top1": "Sketch"}
    for name, letter in (("imagenet_a", "A"), ("imagenet_r", "R")):
        shorts |= {f"{name}/top1_{count}": f"{letter} ({count})" for count in (200, 1000)}
    val = Column("imagenet", "val", "imagenet")
    shifts = [Column(name, short, "imagenet", name) for name, short in shorts.items()]

    def members(columns: list[Column], left_out: str) -> dict[str, str]:
        return {column.name: "imagenet" for column in columns if not column.name.endswith(left_out)}

    means = (
        Mean("shift_mean_4_200", "shifts (200)", members(shifts, "_1000")),
        Mean("imagenet_mean_5_1000", "all five (1000)", members([val, *shifts], "_200")),
    )
    notes = "(200), (1000): the answer is one of the test set's 200 classes, or of all 1,000; shifts: mean of the four"
    return Layout(((val, *shifts, *means),), notes, ("shots",))


IMAGENET: Final = Suite(
    "imagenet", "ImageNet and its shifts", (IMAGENET_TASK,), "imagenet", ("",), read_imagenet_splits, IMAGENET_OPTIONS,
    obtain=f"{IMAGENET_TASK.obtain}. Lists: {NOAH_IMAGENET_LISTS}. " + ". ".join(s.obtain for s in SHIFTS.values()),
    sizes=imagenet_sizes,
    scorings={
        "imagenet_a": {"top1_200": IMAGENET_A_CLASSES, "top1_1000": None},
        "imagenet_r": {"top1_200": IMAGENET_R_CLASSES, "top1_1000": None},
    },
    variants=tuple({"shots": 16, "split_seed": seed} for seed in (0, 1, 2)),
    layout=_layout(),
)  # fmt: skip


def write_fake_imagenet(root: Path, full: bool) -> list[bool]:
    """Write ImageNet and the four further sets with ten classes; with `full` all classes and test sets of true size.

    Returns:
        For each set whether it is new.
    """
    a, r = set(IMAGENET_A_CLASSES), set(IMAGENET_R_CLASSES)
    few = {0, 3, 10, 100, 998, 999, min(a & r), max(a & r), min(a - r), max(r - a)}
    classes = IMAGENET_CLASSES if full else tuple(sorted(few))
    size = 50 * len(classes) if full else 2 * len(classes)
    is_new = faking.build_fake_task(
        root / IMAGENET_TASK.folders[0], IMAGENET.name, {"test": size}, partial(_fill, classes, size)
    )
    return [is_new, *write_fake_shifts(root, classes, full)]


def _fill(classes: tuple[int, ...], size: int, folder: Path) -> None:
    """Training images in folders of wnids, and `size` test images with their list."""
    wnids = list(WNID_RANKS)
    for label in classes:
        for number in range(24):
            name = f"{wnids[label]}/{wnids[label]}_{number}.JPEG"
            faking.draw_fake_image(folder / "train" / name, label, number, (64, 48))
    lines = []
    for index in range(size):
        label, name = classes[index * 7 % len(classes)], f"ILSVRC2012_val_{index + 1:08d}.JPEG"
        faking.draw_fake_image(folder / "val" / name, label, 100 + index, (64, 48))
        lines.append(f"{name} {label}\n")
    (folder / "annotations").mkdir()
    (folder / "annotations" / "val_meta.list").write_text("".join(lines), encoding="utf-8")


def write_fake_shifts(root: Path, classes: tuple[int, ...], full: bool) -> list[bool]:
    """Write the four sets with `classes`: V2 has ten images for each class, the others three, unless `full`.

    Returns:
        For each set whether it is new.
    """
    results = []
    for shift in SHIFTS.values():
        labels = [label for label in shift.classes if label in classes]
        size = shift.size if full else (shift.images_per_class or 3) * len(labels)
        fill = partial(_fill_shift, shift, labels, size)
        results.append(faking.build_fake_task(root / shift.folders[0], "imagenet", {shift.name: size}, fill))
    return results


def _fill_shift(shift: Shift, labels: Sequence[int], size: int, folder: Path) -> None:
    """The images of one set with the classes `labels`."""
    wnids = list(WNID_RANKS)
    for index in range(size):
        label, number = labels[index % len(labels)], index // len(labels)
        parent = str(label) if shift.label_of is _number else wnids[label]
        faking.draw_fake_image(
            folder / shift.inner[0] / parent / _name(shift, number), label, 1_000_000 + index, (64, 48)
        )


def _name(shift: Shift, number: int) -> str:
    names = {"imagenetv2": f"{number:040x}.jpeg", "imagenet_sketch": f"sketch_{number}.JPEG"}
    names["imagenet_a"] = f"0.{number:06d}_soap dispenser _ soap dispenser_0.28588653.jpg"  # spaces, as all have
    return names.get(shift.name, f"cartoon_{number}.jpg")
