"""Read a data set that Hugging Face `datasets` has saved with `save_to_disk`. Its images are written to files once.

Such a folder holds `dataset_info.json`, which names the columns, and `state.json`, which names the Arrow files of the
rows. A folder of several splits has `dataset_dict.json` and such a folder for each split. pyarrow reads the rows.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from glorabench.data.cache import load_or_make
from glorabench.data.folders.examples import MULTI_LABEL, SPLIT_NAMES, Example, Examples, collect_examples
from glorabench.errors import BadInput, first_line
from glorabench.files import read_text

_INDEX = "images.json"
_SUFFIXES = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"GIF8": ".gif", b"RIFF": ".webp", b"BM": ".bmp"}


class _Columns(NamedTuple):
    """The columns of images and of classes, and the names of the classes."""

    image: str
    label: str
    classes: list[str]


def is_saved_dataset(root: Path) -> bool:
    """True for a folder that `save_to_disk` has written."""
    is_one = (root / "dataset_info.json").is_file() and (root / "state.json").is_file()
    return is_one or (root / "dataset_dict.json").is_file()


def read_saved_dataset(root: Path, exports: Path) -> Examples:
    """The examples of a saved data set, whose images are written below `exports` on first use.

    Raises:
        BadInput: pyarrow is not installed, the folder is damaged, or it has no column of images or of classes.
    """
    parts = saved_splits(root)
    columns = [_columns(folder) for folder in parts.values()]
    if any(part_columns != columns[0] for part_columns in columns):
        raise BadInput(f"{root}: the columns of its splits differ: save them with the same features")
    place = exports / _key(parts)

    def write(draft: Path, _: None) -> None:
        rows = [row for split, folder in parts.items() for row in _write_images(folder, split, columns[0], draft)]
        (draft / _INDEX).write_text(json.dumps(rows), encoding="utf-8")

    rows = load_or_make(place, lambda: json.loads((place / _INDEX).read_text(encoding="utf-8")), lambda: None, write)
    return collect_examples(root, place, [Example(*row) for row in rows])


def saved_splits(root: Path) -> dict[str, Path]:
    """The folder of each split. A data set without splits has the empty name.

    Raises:
        BadInput: a split has an unknown name.
    """
    if not (root / "dataset_dict.json").is_file():
        return {"": root}
    names = _json(root / "dataset_dict.json").get("splits")
    if not isinstance(names, list) or not names:
        raise BadInput(f"{root / 'dataset_dict.json'} names no splits: save the data set again")
    if len(names) == 1:
        return {"": root / str(names[0])}
    for name in names:
        if str(name).lower() not in SPLIT_NAMES:
            raise BadInput(f"{root}: the split '{name}' is none of train, val and test: save those splits alone")
    return {SPLIT_NAMES[str(name).lower()]: root / str(name) for name in names}


def _json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path} cannot be read ({first_line(error)}): save the data set again") from error
    if not isinstance(content, dict):
        raise BadInput(f"{path} is no JSON object: save the data set again")
    return content


def _columns(folder: Path) -> _Columns:
    """The first column of images, and the first of classes.

    Raises:
        BadInput: one of the two is missing.
    """
    features = _json(folder / "dataset_info.json").get("features")
    kinds = {str(name): column for name, column in (features or {}).items() if isinstance(column, dict)}
    images = [name for name, column in kinds.items() if column.get("_type") == "Image"]
    classes = [name for name, column in kinds.items() if column.get("_type") == "ClassLabel" and column.get("names")]
    if not images or not classes:
        noun = "images (Image)" if not images else "classes (ClassLabel)"
        lists = [name for name, column in kinds.items() if column.get("_type") in ("Sequence", "List", "LargeList")]
        hint = f"; {MULTI_LABEL}" if lists and images else ""
        columns = ", ".join(kinds) or "none"
        raise BadInput(f"{folder} has no column of {noun}; its columns are {columns}{hint}: cast one and save again")
    return _Columns(images[0], classes[0], [str(name) for name in kinds[classes[0]]["names"]])


def arrow_files(folder: Path) -> list[Path]:
    """The Arrow files of a split."""
    entries = _json(folder / "state.json").get("_data_files") or []
    files = [folder / str(entry.get("filename")) for entry in entries if isinstance(entry, dict)]
    if not files or not all(file.is_file() for file in files):
        raise BadInput(f"{folder}: the Arrow files that state.json names are not all there: save the data set again")
    return files


def _key(parts: Mapping[str, Path]) -> str:
    """A name for the files of a data set; it changes if they change."""
    states = [
        (split, str(file.absolute()), file.stat().st_size, file.stat().st_mtime_ns)
        for split, folder in parts.items()
        for file in arrow_files(folder)
    ]
    return hashlib.sha256(json.dumps(states).encode()).hexdigest()[:16]


def _write_images(folder: Path, split: str, columns: _Columns, target: Path) -> Iterator[Example]:
    """Write every image of a split to a file, with its original bytes.

    Raises:
        BadInput: see `_rows`, or a row has no image or no class.
    """
    for number, (image, label) in enumerate(_rows(folder, columns)):
        yield _write_image(folder, split, number, image, label, columns, target)


def _rows(folder: Path, columns: _Columns) -> Iterator[tuple[Any, Any]]:
    """The image and the class of every row, as they are stored.

    Raises:
        BadInput: pyarrow is not installed, or a file is damaged.
    """
    try:
        import pyarrow  # type: ignore[import-not-found] - optional
        from pyarrow import ipc  # type: ignore[import-not-found]
    except ImportError:
        raise BadInput(
            f"{folder} is a data set of Hugging Face `datasets`, which pyarrow reads: pip install pyarrow, or save the "
            "images into a folder for each class"
        ) from None
    for file in arrow_files(folder):
        try:
            with pyarrow.memory_map(str(file)) as source, ipc.open_stream(source) as batches:
                for batch in batches:
                    for row in batch.select([columns.image, columns.label]).to_pylist():
                        yield row[columns.image], row[columns.label]
        except (pyarrow.ArrowException, OSError) as error:  # a file that was cut is an OSError
            raise BadInput(f"{file} cannot be read ({first_line(error)}): save the data set again") from error


def _write_image(
    folder: Path, split: str, number: int, image: Any, label: Any, columns: _Columns, target: Path
) -> Example:
    place = f"{folder}, row {number}"
    if not isinstance(label, int) or not 0 <= label < len(columns.classes):
        raise BadInput(f"{place}: {columns.label} is {label!r}, which is none of its {len(columns.classes)} classes")
    content = image.get("bytes") if isinstance(image, dict) else None
    if content is None and isinstance(image, dict) and image.get("path") and os.path.isfile(image["path"]):
        content = Path(image["path"]).read_bytes()
    if not content:
        raise BadInput(f"{place}: there is no image in {columns.image}: save the data set with its images")
    suffix = next((end for start, end in _SUFFIXES.items() if content.startswith(start)), ".tif")
    name = "/".join(filter(None, (split, f"{number:08d}{suffix}")))
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    (target / name).write_bytes(content)
    return Example(name, columns.classes[label], split)
