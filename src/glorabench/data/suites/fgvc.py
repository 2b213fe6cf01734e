"""VPT's FGVC: five whole data sets, their splits in train.json, val.json and test.json. Light: no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from glorabench.data.suites import fake as faking
from glorabench.data.suites.listing import from_json, located
from glorabench.data.suites.suite import Options, Row, Splits, Suite

SPLITS: Final = ("train", "val", "test")
PREFIXES: Final = ("images", "Images", "")  # what a path may follow: CUB and NABirds, Dogs, Cars and Flowers


def _row(name: str, classes: int, sizes: tuple[int, int, int], folders: str, aliases: str, obtain: str) -> Row:
    counts = {split: (size,) for split, size in zip(SPLITS, sizes, strict=True)}
    counts["trainval"] = counts["train"]
    return Row(name, "fgvc", classes, counts, tuple(folders.split()), tuple(aliases.split()), obtain)


_JSON: Final = "train.json, val.json and test.json: VPT's README, or json.zip of XiN0919/FGVC at Hugging Face"
# Counts of train and val: VPT's paper; they sum to the official ones. Folders: VPT's, then V-PETL's and others, but
# none that few-shot sets and VTAB-1k use, which may lie below the same root.
ROWS: Final = (
    _row("cub", 200, (5394, 600, 5794), "CUB CUB_200_2011 cub", "cub200 cub-200-2011 cub_200_2011",
         f"Images (1.1 GB): data.caltech.edu/records/65de6-vp158. {_JSON}"),
    _row("nabirds", 555, (21536, 2393, 24633), "nabirds NABirds", "",
         f"Images (9 GB, on request): dl.allaboutbirds.org/nabirds. {_JSON}"),
    _row("flowers", 102, (1020, 1020, 6149), "OxfordFlowers OxfordFlower", "oxford_flowers",
         f"Images (330 MB): www.robots.ox.ac.uk/~vgg/data/flowers/102. {_JSON}"),
    _row("dogs", 120, (10800, 1200, 8580), "StanfordDogs stanford_dogs", "stanford_dogs",
         f"Images (760 MB, from ImageNet's train): vision.stanford.edu/aditya86/ImageNetDogs. {_JSON}"),
    _row("cars", 196, (7329, 815, 8041), "StanfordCars", "stanford_cars",
         f"Images (2 GB): the official address is gone; mirrored at Kaggle. {_JSON}"),
)  # fmt: skip


def read(_task: Row, folder: Path, _options: Options) -> Splits:
    """The splits of one data set.

    VPT tunes on val and trains on train alone, the final model included (its train.py adds val for VTAB only; there is
    no such split for these sets). So trainval is train here: with val the figures would not be comparable with VPT's.

    Raises:
        BadInput: a file is missing or no such object, or the images are nowhere.
    """
    found = {split: located(from_json(folder / f"{split}.json"), [folder], PREFIXES) for split in SPLITS}
    return {**found, "trainval": found["train"]}


def _holds(folder: Path) -> bool:
    return (folder / "train.json").is_file()


SUITE: Final = Suite(
    "fgvc", "VPT's FGVC", ROWS, "fgvc", ("", "fgvc", "FGVC"), read, obtain=f"Five image archives; {_JSON}",
    holds=_holds,
    complete=True,  # ids are ranks within a split's own file, so a split without a class would be mislabelled
)  # fmt: skip

_NAMES: Final = {"cub": "images", "nabirds": "images", "dogs": "Images", "flowers": "jpg", "cars": "cars"}


def fake(root: Path, full: bool) -> list[bool]:
    """The five sets in the true layout below `root`/fgvc; each split has one image of each class, unless `full`.

    Returns:
        Of each set whether it was made here, and not found.
    """
    return [fake_row(row, root, full) for row in ROWS]


def fake_row(row: Row, root: Path, full: bool) -> bool:
    """One set of `fake`; ids start at 1, as in the official files."""
    sizes = {split: row.sizes[split][0] if full else row.classes for split in SPLITS}
    marked = {**sizes, "trainval": sizes["train"]}
    return faking.build(root / "fgvc" / row.folders[0], SUITE.name, marked, partial(_fill, row, sizes))


def _fill(row: Row, sizes: Mapping[str, int], folder: Path) -> None:
    """The files and images of a set."""
    below = _NAMES[row.name]
    for part, (split, size) in enumerate(sizes.items()):
        ids = {}
        for index in range(size):
            label, number = index % row.classes, part * 100_000 + index
            name = f"{label + 1:03d}.class/{number:06d}.jpg"
            faking.draw(folder / below / name, label, number, (40, 30))
            ids[name if below.lower() == "images" else f"{below}/{name}"] = label + 1
        (folder / f"{split}.json").write_text(json.dumps(ids), encoding="utf-8")
