"""Gathered: the records of a suite, wherever they were made; what every command that reads records begins with."""

from __future__ import annotations

from pathlib import Path

from glorabench import record
from glorabench.errors import BadInput
from glorabench.record import Record


def gathered(suite: str | None, results: Path | None) -> tuple[Path, list[Record]]:
    """The results folder that holds records of a suite, and these by task, method and id.

    Args:
        suite: None is every suite of the folder.
        results: folder to look in; None is the first of `record.ROOTS` that has any.

    Raises:
        BadInput: there are no records, or one is corrupt.
    """
    folders = [results] if results else [*record.ROOTS]
    folder = next((f for f in folders if any((f / "runs").glob(f"{suite or '*'}/*.json"))), None)
    if folder is None:
        what = f"records of suite '{suite}'" if suite else "records"
        raise BadInput(f"no {what} below {' or '.join(map(str, folders))}: make some with `glorabench run`")
    records = record.read_all([folder / "runs" / suite if suite else folder / "runs"])
    records.sort(key=lambda r: (r.names["data"], r.names["task"], r.names["method"], r.run_id))
    return folder, records
