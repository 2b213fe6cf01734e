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
from glorabench.data.suites.listing import Listing, draw, from_text, located, per_class, without_repeats
from glorabench.data.suites.suite import Options, Row, Splits, Suite
from glorabench.errors import BadInput, whole

SHOTS: Final = (1, 2, 4, 8, 16)
SEEDS: Final = (0, 1, 2)
INSIDE: Final = ("", "few-shot", "few_shot", "fewshot")
PREFIXES: Final = ("images", "jpg", "data/images", "")  # what a path of a list may follow
OPTIONS: Final[Options] = {"shots": 1, "split_seed": 0, "val_shots": 4, "noah_compat": False}
LISTS: Final = "the lists are in https://github.com/ZhangYuanhan-AI/NOAH, data/few-shot (MIT)"


def _row(name: str, classes: int, val: int, test: int, folders: str, aliases: str, obtain: str) -> Row:
    return Row(
        name, "fewshot", classes, {"val": (val,), "test": (test,)}, tuple(folders.split()), tuple(aliases.split()),
        f"{obtain}; {LISTS}",
    )  # fmt: skip


# Folders: as NOAH's scripts call it, NOAH's folder of lists (its spelling), torchvision's and other names.
ROWS: Final = (
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


def sizes(row: Row, options: Options) -> Mapping[str, tuple[int, ...]]:
    """Numbers of images: `shots` for each class, twice that for a 1-shot list of Pets as NOAH ships it."""
    asked = {**OPTIONS, **options}
    twice = row.name == "oxford_pets" and asked["shots"] == 1 and asked["noah_compat"]
    train = (asked["shots"] * row.classes * (2 if twice else 1),)
    found = {"train": train, "trainval": train, "test": row.sizes["test"]}
    if asked["val_shots"] is None:
        found["val"] = row.sizes["val"]
    elif asked["val_shots"] <= 4:  # every class of every val list has that many
        found["val"] = (asked["val_shots"] * row.classes,)
    return found


def read(row: Row, folder: Path, options: Options) -> Splits:
    """The splits of one task, number of shots and split seed.

    Raises:
        BadInput: an option is none, there is no such list, or its images are nowhere.
    """
    asked = {**OPTIONS, **options}
    whole("data.shots", asked["shots"])
    whole("data.split_seed", asked["split_seed"], 0)
    if asked["val_shots"] is not None:
        whole("data.val_shots", asked["val_shots"])
    if not isinstance(asked["noah_compat"], bool):
        raise BadInput(f"data.noah_compat must be true or false, got {asked['noah_compat']!r}")
    places = list(_places(row, folder))
    lists = _lists(places)
    train = _listing(_chosen(lists, asked["shots"], asked["split_seed"]), places)
    once = without_repeats(train)
    for label, count in sorted(per_class(once).items()):
        if count != asked["shots"]:
            raise BadInput(
                f"{train.source}: class {label} has {count} images, not {asked['shots']}: fetch the list again"
            )
    if len(once) < len(train) and not asked["noah_compat"]:
        train = once.noted(f"{len(train) - len(once)} repeated lines removed (data.noah_compat=true keeps them)")
    val = _listing(lists / "val_meta.list", places)
    if asked["val_shots"] is not None:
        val = draw(val, asked["val_shots"], asked["split_seed"])
    test = _listing(lists / "test_meta.list", places)
    # The protocol trains on the shots and on nothing else: with val added, one shot would be five or five hundred.
    return {"train": train, "val": val, "trainval": train, "test": test}


def _places(row: Row, folder: Path) -> Iterator[Path]:
    """The folders of the task: `folder`, and those by its other names, below the same root, which has the rest."""
    yield folder
    root = folder.parent.parent if folder.parent.name in INSIDE else folder.parent
    others = (root / inside / name for inside in INSIDE for name in row.folders)
    yield from (place for place in others if place != folder and place.is_dir())


def _holds(folder: Path) -> bool:
    return any((folder / "annotations").glob("train_meta.list.num_shot_*"))


def _lists(places: list[Path]) -> Path:
    for place in filter(_holds, places):
        return place / "annotations"
    tried = " or ".join(str(place / "annotations") for place in places)
    raise BadInput(f"no list train_meta.list.num_shot_K.seed_S in {tried}: {LISTS}")


def _chosen(lists: Path, shots: int, seed: int) -> Path:
    """The list of so many shots and that seed; BadInput, which names those that there are, if there is none."""
    path = lists / f"train_meta.list.num_shot_{shots}.seed_{seed}"
    if path.is_file():
        return path
    there = [re.fullmatch(r"train_meta\.list\.num_shot_(\d+)\.seed_(\d+)", entry.name) for entry in lists.iterdir()]
    known: dict[int, list[int]] = {}
    for k, s in sorted((int(match[1]), int(match[2])) for match in there if match):
        known.setdefault(k, []).append(s)
    if shots in known:
        fix = f"of {shots} shots there are seeds {', '.join(map(str, known[shots]))}: set data.split_seed"
    else:
        fix = f"there are lists of {', '.join(map(str, known))} shots: set data.shots"
    raise BadInput(f"no list {path}: {fix}, or fetch it ({LISTS})")


def _listing(source: Path, places: list[Path]) -> Listing:
    return located(from_text(source, places), places, PREFIXES)


SUITE: Final = Suite(
    "fewshot", "few-shot FGVC (NOAH's lists)", ROWS, "fewshot", INSIDE, read, OPTIONS,
    obtain="Images as CoOp's DATASETS.md tells; " + LISTS, sizes=sizes, holds=_holds,
    variants=tuple({"shots": k, "split_seed": seed, "val_shots": None} for k in SHOTS for seed in SEEDS),
)  # fmt: skip

_NAMES: Final = {  # folder and names of the images, as the real ones are called
    "food101": ("images", "dish_{label:03d}/{number}.jpg"),
    "stanford_cars": ("", "cars_{part}/{number:05d}.jpg"),
    "flowers102": ("jpg", "image_{number:05d}.jpg"),
    "fgvc_aircraft": ("images", "{number:07d}.jpg"),
    "oxford_pets": ("images", "breed_{label}_{number}.jpg"),
}


def fake(root: Path, full: bool) -> list[bool]:
    """The five sets in the true layout below `root`/few-shot, with all 75 lists; of eight classes, unless `full`.

    Returns:
        Of each set whether it was made here, and not found.
    """
    return [fake_row(row, root, full) for row in ROWS]


def fake_row(row: Row, root: Path, full: bool) -> bool:
    """One set of `fake`: 16 images of each class that occurs are the shots of all its lists."""
    kept = row.classes if full else 8
    val, test = (row.sizes[split][0] if full else 4 * kept for split in ("val", "test"))
    fill = partial(_fill, row, kept, val, test)
    return faking.build(root / "few-shot" / row.folders[0], SUITE.name, {"test": test}, fill)


def _fill(row: Row, kept: int, val: int, test: int, folder: Path) -> None:
    """The lists and images of a set of `kept` classes."""
    (folder / "annotations").mkdir()
    prefix, form = _NAMES[row.name]

    def write(name: str, part: str, images: Iterable[tuple[int, int]]) -> None:
        lines = []
        for label, n in images:
            image = form.format(label=label, number=label * 10000 + n, part=part)
            if not (path := folder / prefix / image).exists():
                faking.draw(path, label, n, (64, 48))
            lines.append(f"{image} {label}\n")
        (folder / "annotations" / name).write_text("".join(lines))

    def round_robin(start: int, size: int) -> list[tuple[int, int]]:
        return [(faking.spread(i, row.classes, kept), start + i // kept) for i in range(size)]

    for shots, seed in product(SHOTS, SEEDS):
        numbers = np.random.default_rng([seed, shots]).permutation(max(SHOTS))[:shots]
        repeats = 2 if row.name == "oxford_pets" and shots == 1 else 1  # as NOAH ships them
        chosen = [(faking.spread(c, row.classes, kept), int(n)) for c in range(kept) for n in numbers]
        write(f"train_meta.list.num_shot_{shots}.seed_{seed}", "train", [i for i in chosen for _ in range(repeats)])
    write("val_meta.list", "train", round_robin(100, val))
    write("test_meta.list", "test", round_robin(1000, test))
