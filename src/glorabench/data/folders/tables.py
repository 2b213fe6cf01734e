"""Read a list of images: CSV (commas, semicolons or tabs) or JSON lines, with a column of paths and one of labels."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from glorabench.data.folders.examples import MULTI_LABEL, SPLIT_NAMES, Example, Examples, collect_examples
from glorabench.errors import BadInput, first_line
from glorabench.files import read_text

_JSON = (".jsonl", ".ndjson", ".json")
TABLE_SUFFIXES = (".csv", ".tsv", *_JSON)
_PATHS = ("path", "image_path", "file_path", "filepath", "img_path", "file_name", "filename", "file", "image", "img")
_LABELS = ("label", "class", "target", "category", "class_name", "label_name", "labels")
_SPLITS = ("split", "subset", "partition", "set")
_MARKS = ("|", ";")  # marks between several labels; few names of classes contain them

Cells = Mapping[str, Any]


class _Row(NamedTuple):
    """A line of a list: its number, and its cells by column."""

    line: int
    cells: Cells


class _Columns(NamedTuple):
    """The names of the columns of a list."""

    path: str
    label: str
    split: str | None


def read_table(source: Path) -> Examples:
    """The examples that a list names; paths are relative to the list.

    Raises:
        BadInput: the file is no such list, a column or images are missing, or labels are no classes.
    """
    rows = list(_rows(source))
    if not rows:
        raise BadInput(f"{source} lists no images: it needs a line of column names and a line for each image")
    columns = _columns(source, list(dict.fromkeys(name for row in rows for name in row.cells)))
    examples = [_example(source, row, columns) for row in rows]
    lines = [row.line for row in rows]
    _refuse_missing(source, examples, lines)
    unique, repeats = _without_repeats(source, examples, lines)
    _refuse_several_labels(source, examples, lines)
    notes = [
        f"{source}: the columns are {columns.path} and {columns.label}{f', {columns.split}' if columns.split else ''}"
    ]
    if repeats:
        notes.append(f"{source}: {repeats:,} lines repeat an earlier one: not used")
    return collect_examples(source, source.parent, unique, notes)


def _rows(source: Path) -> Iterator[_Row]:
    """The lines of a list.

    Raises:
        BadInput: it is no text, or a line has another form.
    """
    if source.suffix.lower() not in TABLE_SUFFIXES:
        raise BadInput(f"data.root={source} is a file: give a folder, or a list that ends with .csv, .tsv or .jsonl")
    try:
        text = read_text(source).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise BadInput(f"{source} is no text in UTF-8 ({error.reason}): save it as UTF-8") from error
    return _json_rows(source, text) if source.suffix.lower() in _JSON else _csv_rows(source, text)


def _csv_rows(source: Path, text: str) -> Iterator[_Row]:
    mark = max(",;\t", key=text.partition("\n")[0].count)
    for number, cells in csv_cells(source, text, mark, "name"):
        yield _Row(number, cells)


def csv_cells(source: Path, text: str, mark: str, noun: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The number of the line and the cells of each row of a CSV file, whose first line names the columns.

    Args:
        source: of the text, for messages.
        text: of the file.
        mark: what divides cells.
        noun: what a cell holds, for the message.

    Raises:
        BadInput: a row cannot be read; naming its line.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    try:
        for cells in reader:
            if None in cells:
                raise BadInput(
                    f"{source}, line {reader.line_num}: more cells than the first line has columns: put a {noun} that "
                    f"holds '{mark}' between quotes"
                )
            yield reader.line_num, {str(key): value for key, value in cells.items()}
    except csv.Error as error:
        raise BadInput(f"{source}, line {reader.line_num}: no CSV ({first_line(error)})") from error


def _json_rows(source: Path, text: str) -> Iterator[_Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            cells = json.loads(line)
        except (ValueError, RecursionError):
            cells = None
        if not isinstance(cells, dict):
            raise BadInput(
                f"{source}, line {number}: no JSON object: each line must be one, such as "
                '{"path": "a.jpg", "label": "cat"}'
            )
        yield _Row(number, cells)


def _columns(source: Path, names: Sequence[str]) -> _Columns:
    """The columns of path, label and split. If several fit, the first of the known names wins.

    Raises:
        BadInput: there is no column of paths or of labels.
    """
    plain = {re.sub(r"[\s-]+", "_", name.strip().lower()): name for name in reversed(names)}

    def column(words: Iterable[str]) -> str | None:
        return next((plain[name] for name in words if name in plain), None)

    path, label = column(_PATHS), column(_LABELS)
    if path is None or label is None:
        noun, words = ("paths", _PATHS) if path is None else ("labels", _LABELS)
        columns = ", ".join(f"'{name}'" for name in names[:8])
        raise BadInput(
            f"{source} has no column of {noun}: its columns are {columns}; call one of them {' or '.join(words[:6])} "
            "(the first line of a CSV file must name the columns)"
        )
    return _Columns(path, label, column(_SPLITS))


def _example(source: Path, row: _Row, columns: _Columns) -> Example:
    """The example of a line, its path relative to the folder of the list.

    Raises:
        BadInput: a cell is empty or no text, or the split is none.
    """
    path, label = row.cells.get(columns.path), row.cells.get(columns.label)
    location = f"{source}, line {row.line}"
    if isinstance(label, list) and len(label) == 1:
        label = label[0]
    if isinstance(label, list | dict):
        raise BadInput(f"{location}: {columns.label} holds {len(label)} values: {MULTI_LABEL}")
    if not isinstance(path, str) or not path.strip():
        raise BadInput(f"{location}: no path in the column {columns.path}")
    text = "" if label is None else str(label).lower() if isinstance(label, bool) else str(label).strip()
    if not text:
        raise BadInput(f"{location}: no label in the column {columns.label}")
    split = ""
    if columns.split is not None:
        split_name = str(row.cells.get(columns.split) or "").strip()
        if split_name.lower() not in SPLIT_NAMES:
            raise BadInput(f"{location}: {columns.split} is '{split_name}': it must be train, val or test")
        split = SPLIT_NAMES[split_name.lower()]
    place = source.parent / Path(path.strip()).expanduser()
    return Example(os.path.relpath(place, source.parent).replace(os.sep, "/"), text, split)


def _refuse_missing(source: Path, examples: Sequence[Example], lines: Sequence[int]) -> None:
    """Refuse a list that names missing images."""
    absent = [i for i, example in enumerate(examples) if not _exists(f"{source.parent}/{example.name}")]
    if absent:
        further = f" ({len(absent):,} of {len(examples):,} images are missing)" if len(absent) > 1 else ""
        raise BadInput(
            f"{source}, line {lines[absent[0]]}: no image {examples[absent[0]].name}{further}: paths are relative to "
            "the folder of the list"
        )


def _exists(path: str) -> bool:
    return "\0" not in path and os.path.isfile(path)


def _without_repeats(source: Path, examples: Sequence[Example], lines: Sequence[int]) -> tuple[list[Example], int]:
    """Each example once, and how many repeats there are.

    Raises:
        BadInput: a path has several labels.
    """
    first: dict[str, int] = {}
    for index, example in enumerate(examples):
        earlier = first.setdefault(example.name, index)
        if examples[earlier].label != example.label:
            raise BadInput(
                f"{source}, lines {lines[earlier]} and {lines[index]}: {example.name} has the labels "
                f"'{examples[earlier].label}' and '{example.label}': {MULTI_LABEL}"
            )
    unique = list(dict.fromkeys(examples))
    return unique, len(examples) - len(unique)


def _refuse_several_labels(source: Path, examples: Sequence[Example], lines: Sequence[int]) -> None:
    """Refuse cells with several labels: with one of _MARKS between them, or with commas between known classes."""
    counts = Counter(example.label for example in examples)
    for line, example in zip(lines, examples, strict=True):
        parts = [part.strip() for part in example.label.split(",")]
        if any(mark in example.label for mark in _MARKS) or (len(parts) > 1 and all(part in counts for part in parts)):
            raise BadInput(f"{source}, line {line}: the label is '{example.label}': {MULTI_LABEL}")
