"""Where the files of each split lie below a root."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from glorabench.data.folders.examples import SPLIT_NAMES
from glorabench.data.text.files.reading import TEXT_SUFFIXES, saved_folders
from glorabench.errors import BadInput

SplitFiles = dict[str, list[Path]]  # by split; the empty name is one file or folder without splits


def find_places(root: str | None, option: str, stems: Mapping[str, tuple[str, ...]], as_one: bool) -> SplitFiles:
    """The files of each split.

    Args:
        root: a file, or a folder.
        option: the name of the option in conf/data, for messages.
        stems: split -> the usual places of its file below the root, without an ending; the first that exists counts.
        as_one: where no file is named after a split, all files are one text.

    Raises:
        BadInput: nothing is there, or no file is of train.
    """
    path = _existing(root, option)
    if path.is_file():
        return {"": [path]}
    if (saved := saved_folders(path)) is not None:
        return {split: [folder] for split, folder in saved.items()}
    places: SplitFiles = {}
    for split, names in stems.items():
        files = next((files for name in names if (files := _files_of_stem(path, name))), None)
        places |= {split: files} if files else {}
    for split, files in _named_after_splits(path).items():
        places.setdefault(split, files)
        if not as_one and len({file.suffix for file in files}) > 1:
            names = " and ".join(file.name for file in files[:3])
            raise BadInput(f"{path} has several files of {split}, {names}: keep one of them")
    if "train" in places:
        return places
    every = [file for file in _files(path, deep=as_one) if file.name != "FAKE.json"]
    if not places and (len(every) == 1 or (as_one and every)):
        return {"": every}
    there = ", ".join(sorted(item.name for item in path.iterdir())[:8]) or "nothing"
    wanted = stems["train"][0] if "train" in stems else "train"
    raise BadInput(
        f"{path} has no {wanted}.json, .jsonl, .csv or .parquet: it holds {there}. docs/text.md has the layout"
    )


def _existing(root: str | None, option: str) -> Path:
    """The root.

    Raises:
        BadInput: none is given, or it is not there. Only local files are read.
    """
    how = "only local files are read; to save one of the hub: datasets.load_dataset(NAME).save_to_disk(FOLDER)"
    if not root:
        raise BadInput(f"data={option} needs data.root=FILE_OR_FOLDER: {how}")
    path = Path(root).expanduser()
    if not path.exists():
        raise BadInput(f"data.root: there is no file or folder {path}: {how}")
    return path


def _files(folder: Path, deep: bool = False) -> list[Path]:
    items: Iterable[Path] = folder.rglob("*") if deep else folder.iterdir()
    return sorted(item for item in items if item.suffix.lower() in TEXT_SUFFIXES and item.is_file())


def _files_of_stem(root: Path, stem: str) -> list[Path]:
    """The file `stem` with any ending, or its parts, such as `train-00000-of-00002.parquet`."""
    folder, name = (root / stem).parent, Path(stem).name
    if not folder.is_dir():
        return []
    parts = re.compile(rf"{re.escape(name)}(-\d+-of-\d+)?")
    return [file for file in _files(folder) if parts.fullmatch(file.name.removesuffix(file.suffix))]


def _named_after_splits(root: Path) -> SplitFiles:
    """Files `train.*`, `train-00000-of-00001.*`, files in a folder `train`, and the same below a folder `data`."""
    places: SplitFiles = {}
    for folder in (root, root / "data"):
        for item in sorted(folder.iterdir()) if folder.is_dir() else ():
            split = SPLIT_NAMES.get(re.split(r"[-_.]", item.name.lower())[0])
            if split is not None and item.is_dir() and item.name.lower() in SPLIT_NAMES:
                places.setdefault(split, []).extend(_files(item, deep=True))
            elif split is not None and item.is_file() and item.suffix.lower() in TEXT_SUFFIXES:
                places.setdefault(split, []).append(item)
        if places:
            break
    return {split: files for split, files in places.items() if files}
