"""Read rows of text from files: JSON, JSON lines, CSV, parquet, plain text, and what `datasets` has saved.

Nothing is downloaded. A row knows its place, so that a message can name it.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from glorabench.data.folders.arrow import arrow_files, is_saved_dataset, saved_splits
from glorabench.data.folders.tables import csv_cells
from glorabench.errors import BadInput, first_line
from glorabench.files import check_regular

JSON_SUFFIXES: Final = (".json", ".jsonl", ".ndjson")
PLAIN_SUFFIXES: Final = (".txt", ".md")
TEXT_SUFFIXES: Final = (*JSON_SUFFIXES, ".csv", ".tsv", ".parquet", *PLAIN_SUFFIXES)
UNITS: Final = ("file", "paragraph", "line")


class TextRow(NamedTuple):
    """A row: its place in words, and its cells by name."""

    place: str
    cells: Mapping[str, Any]


def read_rows(path: Path, unit: str) -> Iterator[TextRow]:
    """The rows of a file, or of a folder that `save_to_disk` has written.

    Args:
        path: of the file or folder.
        unit: what a row of plain text is: file, paragraph (blank lines divide them) or line.

    Raises:
        BadInput: it is no such file, has no rows, or a row has another form.
    """
    if path.is_dir():
        rows = _saved_rows(path)
    elif path.suffix.lower() not in TEXT_SUFFIXES:
        raise BadInput(f"{path} is no file of texts: its name must end with {', '.join(TEXT_SUFFIXES)}")
    elif path.suffix.lower() == ".parquet":
        rows = _parquet_rows(path)
    else:
        rows = _text_rows(path, unit)
    is_empty = True
    for row in rows:
        is_empty = False
        yield row
    if is_empty:
        raise BadInput(f"{path} is empty: it has no rows")


def _text_rows(path: Path, unit: str) -> Iterator[TextRow]:
    text = _read(path)
    suffix = path.suffix.lower()
    if not text.strip():
        raise BadInput(f"{path} is empty: it has no rows")
    if suffix in JSON_SUFFIXES:
        return _json_rows(path, text)
    return _csv_rows(path, text) if suffix in (".csv", ".tsv") else _plain_rows(path, text, unit)


def _read(path: Path) -> str:
    """The text of a file.

    Raises:
        BadInput: it cannot be read, or is not UTF-8; the message names the line.
    """
    check_regular(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}): check its permissions") from error
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise BadInput(f"{path}, line {line}: no text in UTF-8 ({error.reason}): save the file as UTF-8") from error


def _json_rows(path: Path, text: str) -> Iterator[TextRow]:
    """The objects of a JSON list, or of the lines."""
    if text.lstrip().startswith("["):
        try:
            entries = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{path} is no JSON list ({first_line(error)}): write it again") from error
        for number, cells in enumerate(entries):
            yield TextRow(f"{path.name}, entry {number}", _object(cells, f"{path}, entry {number}"))
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                cells = json.loads(line)
            except (ValueError, RecursionError):
                cells = None
            yield TextRow(f"{path.name}, line {number}", _object(cells, f"{path}, line {number}"))


def _object(cells: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(cells, dict):
        raise BadInput(f'{place}: no JSON object: each must be one, such as {{"prompt": "...", "completion": "..."}}')
    return cells


def _csv_rows(path: Path, text: str) -> Iterator[TextRow]:
    csv.field_size_limit(sys.maxsize)
    mark = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=text.partition("\n")[0].count)
    for number, cells in csv_cells(path, text, mark, "text"):
        yield TextRow(f"{path.name}, line {number}", cells)


def _plain_rows(path: Path, text: str, unit: str) -> Iterator[TextRow]:
    """Plain text as rows with the one cell `text`."""
    if unit == "file":
        yield TextRow(path.name, {"text": text})
        return
    number, parts = 1, text.split("\n") if unit == "line" else text.replace("\r\n", "\n").split("\n\n")
    for part in parts:
        if part.strip():
            yield TextRow(f"{path.name}, line {number}", {"text": part.strip("\n")})
        number += 1 if unit == "line" else part.count("\n") + 2


def _with_pyarrow(path: Path, read: Callable[[], Iterator[TextRow]]) -> Iterator[TextRow]:
    """Rows that pyarrow reads.

    Raises:
        BadInput: it is not installed, or the file is damaged.
    """
    try:
        import pyarrow  # type: ignore[import-not-found] - optional
    except ImportError:
        raise BadInput(f"{path} is read by pyarrow: pip install pyarrow, or save the texts as JSON lines") from None
    try:
        yield from read()
    except (pyarrow.ArrowException, OSError) as error:
        raise BadInput(f"{path} cannot be read ({first_line(error)}): save it again") from error


def _parquet_rows(path: Path) -> Iterator[TextRow]:
    def read() -> Iterator[TextRow]:
        from pyarrow import parquet  # type: ignore[import-not-found]

        number = 0
        with parquet.ParquetFile(path) as table:
            for batch in table.iter_batches():
                for cells in batch.to_pylist():
                    yield TextRow(f"{path.name}, row {number}", cells)
                    number += 1

    return _with_pyarrow(path, read)


def _saved_rows(folder: Path) -> Iterator[TextRow]:
    """The rows of one split that `save_to_disk` has written."""

    def read() -> Iterator[TextRow]:
        import pyarrow  # type: ignore[import-not-found]
        from pyarrow import ipc  # type: ignore[import-not-found]

        number = 0
        for file in arrow_files(folder):
            with pyarrow.memory_map(str(file)) as source, ipc.open_stream(source) as batches:
                for batch in batches:
                    for cells in batch.to_pylist():
                        yield TextRow(f"{folder.name}, row {number}", cells)
                        number += 1

    return _with_pyarrow(folder, read)


def saved_folders(root: Path) -> dict[str, Path] | None:
    """The folder of each split that `save_to_disk` has written; None if it has not written this one."""
    return saved_splits(root) if is_saved_dataset(root) else None
