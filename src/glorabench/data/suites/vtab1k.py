"""VTAB-1k: 19 tasks of 1,000 training images each, in the layout that NOAH wrote and FacT and GLoRA read.

A task folder holds train800.txt, val200.txt, train800val200.txt and test.txt, with lines `<path> <label>`. The images
of each list are in a folder of their own. The lists of 800 and of 1,000 name separate copies of the images, with their
own numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from glorabench.data.suites import fake as faking
from glorabench.data.suites.layout import Layout, Mean, columns_of, mean_of_groups
from glorabench.data.suites.listing import read_list
from glorabench.data.suites.suite import Options, Splits, Suite, SuiteTask

LIST_NAMES: Final = {"train": "train800", "val": "val200", "trainval": "train800val200", "test": "test"}
_TINY: Final = {"train": 24, "val": 8, "trainval": 32, "test": 16}


def _row(name: str, group: str, classes: int, test: tuple[int, ...], aliases: str, folders: str = "") -> SuiteTask:
    sizes = {"train": (800,), "val": (200,), "trainval": (1000,), "test": test}
    names = aliases.split("|")
    names += [f"vtab-{word}" for word in (name, *names)]  # the names in VPT's code
    return SuiteTask(name, group, classes, sizes, (name, *folders.split()), tuple(names))


# fmt: off
VTAB_TASKS: Final = (
    _row("cifar", "natural", 100, (10_000,), "cifar100|cifar_100|cifar-100|cifar(num_classes=100)", "cifar100"),
    _row("caltech101", "natural", 102, (6_084, 6_085), "caltech-101"),
    _row("dtd", "natural", 47, (1_880,), "describable_textures"),
    _row("oxford_flowers102", "natural", 102, (6_149,), "flowers102"),
    _row("oxford_iiit_pet", "natural", 37, (3_669,), "pets|pet|oxford_pet", "oxford_pet"),
    _row("svhn", "natural", 10, (26_032,), "svhn_cropped"),
    _row("sun397", "natural", 397, (21_750,), "sun"),
    _row("patch_camelyon", "specialized", 2, (32_768,), "camelyon|pcam", "camelyon"),
    _row("eurosat", "specialized", 10, (5_400,), "eurosat/rgb"),
    _row("resisc45", "specialized", 45, (6_300,), "resisc"),
    _row("diabetic_retinopathy", "specialized", 5, (42_670,),
         'retinopathy|diabetic_retinopathy(config="btgraham-300")', "retinopathy"),
    _row("clevr_count", "structured", 8, (15_000,), 'clevr-count|clevr(task="count_all")'),
    _row("clevr_dist", "structured", 6, (15_000,),
         'clevr-dist|clevr_distance|clevr(task="closest_object_distance")'),
    _row("dmlab", "structured", 6, (22_735,), "DMLab"),
    _row("kitti", "structured", 4, (711,), 'kitti_dist|kitti_distance|kitti(task="closest_vehicle_distance")'),
    _row("dsprites_loc", "structured", 16, (73_728,),
         'dsprites_position|dspr-loc|dsprites(predicted_attribute="label_x_position",num_classes=16)'),
    _row("dsprites_ori", "structured", 16, (73_728,),
         'dsprites_orientation|dspr-orient|dsprites(predicted_attribute="label_orientation",num_classes=16)'),
    _row("smallnorb_azi", "structured", 18, (12_150,),
         'smallnorb_azimuth|snorb-azim|smallnorb(predicted_attribute="label_azimuth")'),
    _row("smallnorb_ele", "structured", 9, (12_150,),
         'smallnorb_elevation|snorb-elev|smallnorb(predicted_attribute="label_elevation")'),
)
# fmt: on
VTAB_GROUPS: Final = tuple(dict.fromkeys(row.group for row in VTAB_TASKS))
# (width, height) of the images, at most 64; if it varies, one that occurs
_SIDES: Final = {
    **dict.fromkeys(("cifar", "svhn"), (32, 32)),
    **dict.fromkeys(("caltech101", "dtd", "oxford_flowers102", "oxford_iiit_pet", "sun397", "dmlab"), (64, 48)),
    **dict.fromkeys(("clevr_count", "clevr_dist"), (64, 43)),
    "kitti": (64, 19),
}


def read_vtab1k_splits(_row: SuiteTask, folder: Path, _options: Options) -> Splits:
    """The splits of a task, from its four lists.

    Raises:
        BadInput: a list is missing or is no list.
    """
    return {split: read_list(folder / f"{name}.txt", [folder]) for split, name in LIST_NAMES.items()}


def _holds(folder: Path) -> bool:
    return any((folder / f"{name}.txt").is_file() for name in LIST_NAMES.values())


def _layout() -> Layout:
    shorts = "CIFAR|Calt.|DTD|Flow.|Pets|SVHN|SUN|PCam|Euro.|Resi.|Retin.|CLEVR count|CLEVR dist|DMLab|KITTI"
    shorts += "|dSpr. loc|dSpr. ori|NORB azi|NORB ele"
    columns = columns_of([row.name for row in VTAB_TASKS], shorts)
    groups = {row.name: row.group for row in VTAB_TASKS}
    blocks = []
    for group, short in zip(VTAB_GROUPS, ("nat.", "spec.", "struct."), strict=True):
        members = {task: name for task, name in groups.items() if name == group}
        mean = Mean(f"{group}_mean", f"{short} mean", members)
        blocks.append((*(column for column in columns if column.name in members), mean))
    means = (
        Mean("vtab_mean_groups", "mean groups", groups, mean_of_groups),
        Mean("vtab_mean_19", "mean 19", groups),
    )
    notes = "mean groups: of the means of the three groups, as papers on PEFT print it; mean 19: of all tasks"
    return Layout((*blocks, means), notes)


VTAB1K: Final = Suite(
    name="vtab1k",
    title="VTAB-1k",
    rows=VTAB_TASKS,
    geometry="vtab",
    inside=("", "vtab-1k"),
    read=read_vtab1k_splits,
    alike=True,
    holds=_holds,
    layout=_layout(),
    obtain="vtab-1k.zip (about 4.66 GB, JPEG): Hugging Face dataset repository XiN0919/VTAB-1k, or the links in "
    "the READMEs of RepAdapter (Google Drive) or SSF (OneDrive); unzip it, whole, to ROOT/vtab-1k/<task>. Each task "
    "keeps the terms of its source: docs/data.md.",
)


def write_fake_vtab1k(root: Path, full: bool) -> list[bool]:
    """Write a fake set below `root`/vtab-1k: true names and layout, small pictures.

    Args:
        root: the folder.
        full: write as many images as the true set has, and not 80 for each task.

    Returns:
        For each task whether it is new.

    Raises:
        BadInput: a task folder holds other data, or cannot be written.
    """
    from rich.console import Console
    from rich.progress import track

    sizes = {row.name: {s: row.sizes[s][0] if full else _TINY[s] for s in LIST_NAMES} for row in VTAB_TASKS}
    console = Console(stderr=True)
    if full:
        console.print(f"drawing {sum(sum(counts.values()) for counts in sizes.values()):,} small files: some minutes")
    rows = track(VTAB_TASKS, "drawing", console=console, transient=True, disable=not sys.stderr.isatty())
    fills = {row.name: partial(_fill, row, sizes[row.name], row.classes if full else 4) for row in VTAB_TASKS}
    return [
        faking.build_fake_task(root / "vtab-1k" / row.name, VTAB1K.name, sizes[row.name], fills[row.name])
        for row in rows
    ]


def _fill(row: SuiteTask, sizes: Mapping[str, int], classes: int, folder: Path) -> None:
    """Write all lists and images of a task. Trainval repeats the pictures of train and val, as in the true set."""
    for split, size in sizes.items():
        first = {"val": sizes["train"], "test": 10_000}.get(split, 0)
        _write(row, folder, split, range(first, first + size), classes)


def _write(row: SuiteTask, folder: Path, split: str, numbers: range, classes: int) -> None:
    """Write one list and its images."""
    box = _SIDES.get(row.name, (64, 64))
    lines = []
    for index, number in enumerate(numbers):
        name, label = f"images/{LIST_NAMES[split]}/{index:06d}.jpg", faking.fake_label(number, row.classes, classes)
        faking.draw_fake_image(folder / name, label, number, box)
        lines.append(f"{name} {label}\n")
    (folder / f"{LIST_NAMES[split]}.txt").write_text("".join(lines), encoding="utf-8")
