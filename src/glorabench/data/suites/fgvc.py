"""VPT's FGVC: five whole data sets, their splits in train.json, val.json and test.json. Light: no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from glorabench.data.suites import fake as faking
from glorabench.data.suites.layout import columns_of, layout_with_mean
from glorabench.data.suites.listing import locate_images, read_json_list
from glorabench.data.suites.suite import Options, Splits, Suite, SuiteTask

SPLITS: Final = ("train", "val", "test")
FGVC_PREFIXES: Final = ("images", "Images", "")  # folders of the images: CUB and NABirds, Dogs, Cars and Flowers


def _row(name: str, classes: int, sizes: tuple[int, int, int], folders: str, aliases: str, obtain: str) -> SuiteTask:
    counts = {split: (size,) for split, size in zip(SPLITS, sizes, strict=True)}
    counts["trainval"] = counts["train"]
    return SuiteTask(name, "fgvc", classes, counts, tuple(folders.split()), tuple(aliases.split()), obtain)


_JSON: Final = "train.json, val.json and test.json: VPT's README, or json.zip of XiN0919/FGVC at Hugging Face"
# The counts of train and val are those of VPT's paper; their sums are the official counts. The folders are VPT's, then
# V-PETL's and others. Names that few-shot sets or VTAB-1k use are left out, as these may lie below the same root.
FGVC_TASKS: Final = (
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


def read_fgvc_splits(_task: SuiteTask, folder: Path, _options: Options) -> Splits:
    """The splits of one data set.

    VPT tunes on val and also trains its final model only on train (its train.py adds val for VTAB only). So trainval is
    train here. With val, results would not be comparable with VPT's.

    Raises:
        BadInput: a file is missing or holds something else, or the images are missing.
    """
    splits = {
        split: locate_images(read_json_list(folder / f"{split}.json"), [folder], FGVC_PREFIXES) for split in SPLITS
    }
    return {**splits, "trainval": splits["train"]}


def _holds(folder: Path) -> bool:
    return (folder / "train.json").is_file()


FGVC: Final = Suite(
    "fgvc", "VPT's FGVC", FGVC_TASKS, "fgvc", ("", "fgvc", "FGVC"), read_fgvc_splits,
    obtain=f"Five image archives; {_JSON}", holds=_holds, layout=layout_with_mean(
        "fgvc", columns_of([row.name for row in FGVC_TASKS], "CUB|NABir.|Flow.|Dogs|Cars"), "data sets"
    ),
    complete=True,  # ids are ranks within the file of a split, so a split without a class would get wrong labels
)  # fmt: skip

_NAMES: Final = {"cub": "images", "nabirds": "images", "dogs": "Images", "flowers": "jpg", "cars": "cars"}


def write_fake_fgvc(root: Path, full: bool) -> list[bool]:
    """Write the five sets in the true layout below `root`/fgvc; one image for each class and split, unless `full`.

    Returns:
        For each set whether it is new.
    """
    return [write_fake_fgvc_task(row, root, full) for row in FGVC_TASKS]


def write_fake_fgvc_task(row: SuiteTask, root: Path, full: bool) -> bool:
    """Write one set; ids start at 1, as in the official files."""
    sizes = {split: row.sizes[split][0] if full else row.classes for split in SPLITS}
    sizes_of_marker = {**sizes, "trainval": sizes["train"]}
    return faking.build_fake_task(
        root / "fgvc" / row.folders[0], FGVC.name, sizes_of_marker, partial(_fill, row, sizes)
    )


def _fill(row: SuiteTask, sizes: Mapping[str, int], folder: Path) -> None:
    """The files and images of a set."""
    images_folder = _NAMES[row.name]
    for part, (split, size) in enumerate(sizes.items()):
        ids = {}
        for index in range(size):
            label, number = index % row.classes, part * 100_000 + index
            name = f"{label + 1:03d}.class/{number:06d}.jpg"
            faking.draw_fake_image(folder / images_folder / name, label, number, (40, 30))
            ids[name if images_folder.lower() == "images" else f"{images_folder}/{name}"] = label + 1
        (folder / f"{split}.json").write_text(json.dumps(ids), encoding="utf-8")
