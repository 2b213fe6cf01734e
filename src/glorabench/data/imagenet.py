"""ImageNet-1k with some images for each class, tested on its val and on V2, Sketch, A and R. Light: no torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Final

from glorabench.data import fake as faking
from glorabench.data import shifts
from glorabench.data.listing import Listing, draw, from_folders, from_text, per_class
from glorabench.data.shifts import RANKS, SHIFTS
from glorabench.data.suite import Options, Row, Splits, Suite
from glorabench.errors import BadInput, one_of, whole

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
        **{SHIFTS[key].name: shifts.read(key, folder.parent) for key in further},
    }


def _train(lists: _Lists, shots: int, seed: int) -> Listing:
    source = lists.find(f"train_meta.list.num_shot_{shots}.seed_{seed}")
    if source is None:
        train = draw(lists.pool, shots, seed).noted(f"train is {shots} images of each class drawn with seed {seed}")
    else:
        train = shifts.agreeing(from_text(source, [lists.images("train")]), RANKS.get)
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
    val = shifts.agreeing(from_text(source, [lists.images("train")]), RANKS.get)
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


SUITE: Final = Suite(
    "imagenet", "ImageNet and its shifts", (ROW,), "imagenet", ("",), read, OPTIONS,
    obtain=f"{ROW.obtain}. Lists: {LISTS}. " + ". ".join(s.obtain for s in SHIFTS.values()), sizes=sizes,
    scorings={
        "imagenet_a": {"top1_200": shifts.A, "top1_1000": None},
        "imagenet_r": {"top1_200": shifts.R, "top1_1000": None},
    },
    variants=tuple({"shots": 16, "split_seed": seed} for seed in (0, 1, 2)),
)  # fmt: skip


def fake(root: Path, full: bool) -> list[bool]:
    """ImageNet and the four sets beside it, of ten classes; with `full` of all, the test sets in their true sizes.

    Returns:
        Of each set whether it was made here, and not found.
    """
    a, r = set(shifts.A), set(shifts.R)
    few = {0, 3, 10, 100, 998, 999, min(a & r), max(a & r), min(a - r), max(r - a)}
    classes = shifts.ALL if full else tuple(sorted(few))
    size = 50 * len(classes) if full else 2 * len(classes)
    made = faking.build(root / ROW.folders[0], SUITE.name, {"test": size}, partial(_fill, classes, size))
    return [made, *shifts.fake(root, classes, full)]


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
