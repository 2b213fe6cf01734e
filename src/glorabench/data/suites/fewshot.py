"""Few-shot FGVC: NOAH's lists of K images for each class, and the image folders of five data sets. Light: no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np

from glorabench.data.suites import fake as faking
from glorabench.data.suites.layout import columns_of, layout_with_mean
from glorabench.data.suites.listing import (
    Listing,
    count_per_class,
    draw_shots,
    locate_images,
    read_list,
    without_repeats,
)
from glorabench.data.suites.suite import Options, Splits, Suite, SuiteTask
from glorabench.errors import BadInput, check_whole_number

SHOTS: Final = (1, 2, 4, 8, 16)
SEEDS: Final = (0, 1, 2)
INSIDE: Final = ("", "few-shot", "few_shot", "fewshot")
FEWSHOT_PREFIXES: Final = ("images", "jpg", "data/images", "")  # the paths of a list may be relative to these folders
FEWSHOT_OPTIONS: Final[Options] = {"shots": 1, "split_seed": 0, "val_shots": 4, "noah_compat": False}
NOAH_LISTS: Final = "the lists are in https://github.com/ZhangYuanhan-AI/NOAH, data/few-shot (MIT)"


def _row(name: str, classes: int, val: int, test: int, folders: str, aliases: str, obtain: str) -> SuiteTask:
    return SuiteTask(
        name, "fewshot", classes, {"val": (val,), "test": (test,)}, tuple(folders.split()), tuple(aliases.split()),
        f"{obtain}; {NOAH_LISTS}",
    )  # fmt: skip


# Folders: the name in NOAH's scripts, NOAH's folder of lists in its spelling, then torchvision's and other names.
FEWSHOT_TASKS: Final = (
    _row("food101", 101, 20200, 30300, "food-101 food101 Food101", "food-101 food",
         "Images (5 GB): data.vision.ee.ethz.ch/cvl/datasets_extra/food-101"),
    _row("stanford_cars", 196, 1635, 8041,
         "stanford_cars standford-cars stanford-cars StanfordCars cars", "stanford-cars cars",
         "Images (2 GB): the official address is gone; cars_train and cars_test are mirrored at Kaggle"),
    _row("flowers102", 102, 1633, 2463,
         "oxford_flowers oxford-flowers102 oxford_flowers102 flowers-102 flowers102 Flowers102",
         "oxford_flowers oxford_flowers102 flowers",
         "Images (330 MB): www.robots.ox.ac.uk/~vgg/data/flowers/102"),
    _row("fgvc_aircraft", 100, 3333, 3333,
         "fgvc_aircraft fgvc-aircraft fgvc-aircraft-2013b FGVCAircraft", "fgvc-aircraft aircraft",
         "Images (2.6 GB): www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft"),
    _row("oxford_pets", 37, 736, 3669,
         "oxford_pets oxford-pets oxford-iiit-pet oxford_pet OxfordPets", "oxford_pet oxford-pets pets",
         "Images (800 MB): www.robots.ox.ac.uk/~vgg/data/pets"),
)  # fmt: skip


def fewshot_sizes(row: SuiteTask, options: Options) -> Mapping[str, tuple[int, ...]]:
    """Numbers of images: `shots` for each class, but twice as many for a 1-shot list of Pets as NOAH ships it."""
    settings = {**FEWSHOT_OPTIONS, **options}
    twice = row.name == "oxford_pets" and settings["shots"] == 1 and settings["noah_compat"]
    train = (settings["shots"] * row.classes * (2 if twice else 1),)
    sizes = {"train": train, "trainval": train, "test": row.sizes["test"]}
    if settings["val_shots"] is None:
        sizes["val"] = row.sizes["val"]
    elif settings["val_shots"] <= 4:  # every class of every val list has so many images
        sizes["val"] = (settings["val_shots"] * row.classes,)
    return sizes


def read_fewshot_splits(row: SuiteTask, folder: Path, options: Options) -> Splits:
    """The splits of one task, number of shots and split seed.

    Raises:
        BadInput: an option has a wrong value, there is no such list, or its images are missing.
    """
    settings = {**FEWSHOT_OPTIONS, **options}
    check_whole_number("data.shots", settings["shots"])
    check_whole_number("data.split_seed", settings["split_seed"], 0)
    if settings["val_shots"] is not None:
        check_whole_number("data.val_shots", settings["val_shots"])
    if not isinstance(settings["noah_compat"], bool):
        raise BadInput(f"data.noah_compat must be true or false, got {settings['noah_compat']!r}")
    places = list(_places(row, folder))
    lists = _lists(places)
    train = _listing(_shot_list(lists, settings["shots"], settings["split_seed"]), places)
    unique = without_repeats(train)
    for label, count in sorted(count_per_class(unique).items()):
        if count != settings["shots"]:
            raise BadInput(
                f"{train.source}: class {label} has {count} images, not {settings['shots']}: fetch the list again"
            )
    if len(unique) < len(train) and not settings["noah_compat"]:
        train = unique.with_note(
            f"{len(train) - len(unique)} repeated lines removed (data.noah_compat=true keeps them)"
        )
    val = _listing(lists / "val_meta.list", places)
    if settings["val_shots"] is not None:
        val = draw_shots(val, settings["val_shots"], settings["split_seed"])
    test = _listing(lists / "test_meta.list", places)
    # The protocol trains only on the shots. With val, one shot would become five or five hundred.
    return {"train": train, "val": val, "trainval": train, "test": test}


def _places(row: SuiteTask, folder: Path) -> Iterator[Path]:
    """The folders of the task: `folder`, and those with its other names below the same root."""
    yield folder
    root = folder.parent.parent if folder.parent.name in INSIDE else folder.parent
    for inside in INSIDE:
        for name in row.folders:
            place = root / inside / name
            if place != folder and place.is_dir():
                yield place


def _holds(folder: Path) -> bool:
    return any((folder / "annotations").glob("train_meta.list.num_shot_*"))


def _lists(places: list[Path]) -> Path:
    for place in filter(_holds, places):
        return place / "annotations"
    places_text = " or ".join(str(place / "annotations") for place in places)
    raise BadInput(f"no list train_meta.list.num_shot_K.seed_S in {places_text}: {NOAH_LISTS}")


def _shot_list(lists: Path, shots: int, seed: int) -> Path:
    """The list of this number of shots and this seed.

    Raises:
        BadInput: there is no such list; the message names those that exist.
    """
    path = lists / f"train_meta.list.num_shot_{shots}.seed_{seed}"
    if path.is_file():
        return path
    pairs = []
    for entry in lists.iterdir():
        match = re.fullmatch(r"train_meta\.list\.num_shot_(\d+)\.seed_(\d+)", entry.name)
        if match:
            pairs.append((int(match[1]), int(match[2])))
    seeds: dict[int, list[int]] = {}
    for count, split_seed in sorted(pairs):
        seeds.setdefault(count, []).append(split_seed)
    if shots in seeds:
        fix = f"of {shots} shots there are seeds {', '.join(map(str, seeds[shots]))}: set data.split_seed"
    else:
        fix = f"there are lists of {', '.join(map(str, seeds))} shots: set data.shots"
    raise BadInput(f"no list {path}: {fix}, or fetch it ({NOAH_LISTS})")


def _listing(source: Path, places: list[Path]) -> Listing:
    return locate_images(read_list(source, places), places, FEWSHOT_PREFIXES)


_COLUMNS = columns_of([row.name for row in FEWSHOT_TASKS], "Food|Cars|Flow.|Aircr.|Pets")
FEWSHOT: Final = Suite(
    "fewshot", "few-shot FGVC (NOAH's lists)", FEWSHOT_TASKS, "fewshot", INSIDE, read_fewshot_splits, FEWSHOT_OPTIONS,
    obtain="Images as CoOp's DATASETS.md tells; " + NOAH_LISTS, sizes=fewshot_sizes, holds=_holds,
    layout=layout_with_mean("fewshot", _COLUMNS, "data sets", row_keys=("shots",)),
    variants=tuple({"shots": k, "split_seed": seed, "val_shots": None} for k in SHOTS for seed in SEEDS),
)  # fmt: skip

_NAMES: Final = {  # folder and names of the images, as in the real sets
    "food101": ("images", "dish_{label:03d}/{number}.jpg"),
    "stanford_cars": ("", "cars_{part}/{number:05d}.jpg"),
    "flowers102": ("jpg", "image_{number:05d}.jpg"),
    "fgvc_aircraft": ("images", "{number:07d}.jpg"),
    "oxford_pets": ("images", "breed_{label}_{number}.jpg"),
}


def write_fake_fewshot(root: Path, full: bool) -> list[bool]:
    """Write the five sets in the true layout below `root`/few-shot, with all 75 lists; eight classes, unless `full`.

    Returns:
        For each set whether it is new.
    """
    return [write_fake_fewshot_task(row, root, full) for row in FEWSHOT_TASKS]


def write_fake_fewshot_task(row: SuiteTask, root: Path, full: bool) -> bool:
    """Write one set. The shots of all its lists are the same 16 images of each class that it uses."""
    classes = row.classes if full else 8
    val, test = (row.sizes[split][0] if full else 4 * classes for split in ("val", "test"))
    fill = partial(_fill, row, classes, val, test)
    return faking.build_fake_task(root / "few-shot" / row.folders[0], FEWSHOT.name, {"test": test}, fill)


def _fill(row: SuiteTask, classes: int, val: int, test: int, folder: Path) -> None:
    """The lists and images of a set that uses some of its classes."""
    (folder / "annotations").mkdir()
    prefix, form = _NAMES[row.name]

    def write(name: str, part: str, images: Iterable[tuple[int, int]]) -> None:
        lines = []
        for label, n in images:
            image = form.format(label=label, number=label * 10000 + n, part=part)
            if not (path := folder / prefix / image).exists():
                faking.draw_fake_image(path, label, n, (64, 48))
            lines.append(f"{image} {label}\n")
        (folder / "annotations" / name).write_text("".join(lines))

    def round_robin(start: int, size: int) -> list[tuple[int, int]]:
        return [(faking.fake_label(i, row.classes, classes), start + i // classes) for i in range(size)]

    for shots, seed in product(SHOTS, SEEDS):
        numbers = np.random.default_rng([seed, shots]).permutation(max(SHOTS))[:shots]
        repeats = 2 if row.name == "oxford_pets" and shots == 1 else 1  # as NOAH ships them
        images = []
        for index in range(classes):
            label = faking.fake_label(index, row.classes, classes)
            for number in numbers:
                images += [(label, int(number))] * repeats
        write(f"train_meta.list.num_shot_{shots}.seed_{seed}", "train", images)
    write("val_meta.list", "train", round_robin(100, val))
    write("test_meta.list", "test", round_robin(1000, test))
