"""Load the records of a results folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from glorabench.errors import BadInput, nearest
from glorabench.records import record
from glorabench.records.record import Record


def load_suite(suite: str | None, results: Path | None) -> tuple[Path, list[Record]]:
    """Find the results folder that has records of a suite, and load them; see `suite_by_file`.

    Raises:
        BadInput: there are no records, one is damaged, or two of the same run differ.
    """
    records = suite_by_file(suite, results)
    if not records:
        raise no_records(suite, results)
    first = next(iter(records))
    return next(folder for folder in _folders(results) if first.is_relative_to(folder / "runs")), list(records.values())


def suite_by_file(suite: str | None, results: Path | None) -> dict[Path, Record]:
    """Load the records of a suite by file, in the order of tasks, methods and ids; copies count once.

    Args:
        suite: the suite; None is every suite of the folder.
        results: the results folder; None is the first of `record.ROOTS` that has records.

    Raises:
        BadInput: a record is damaged or of another schema, or two of the same run differ.
    """
    for folder in _folders(results):
        if records := record.records_by_file([folder / "runs" / suite if suite else folder / "runs"]):
            return dict(sorted(records.items(), key=lambda item: _place(item[1])))
    return {}


def no_records(suite: str | None, results: Path | None, more_suites: Sequence[str] = ()) -> BadInput:
    """The error for a suite without records; `more_suites` are further names that the hint may suggest."""
    folders = _folders(results)
    suites = {path.name for folder in folders for path in (folder / "runs").glob("*") if any(path.rglob("*.json"))}
    noun = f"records of suite '{suite}'" if suite else "records"
    hint = "" if suite is None or suite in suites else nearest(suite, sorted({*suites, *more_suites}))
    return BadInput(f"no {noun} below {' or '.join(map(str, folders))}: make some with `glorabench run`{hint}")


def find_run(run_id: str, roots: Iterable[Path] = record.ROOTS) -> tuple[Path, Record]:
    """Find the finished run whose id begins with `run_id`, and the results folder that has it.

    Raises:
        BadInput: there is no such run or there are several, the run failed, or its record is damaged.
    """
    roots = list(roots)
    places_by_id: dict[str, tuple[Path, Path]] = {}
    for root in roots[::-1]:
        places_by_id |= {path.stem.rpartition("-")[2]: (root, path) for path in root.glob("runs/*/*.json")}
    matches = [name for name in places_by_id if name.startswith(run_id)]
    folders = " or ".join(map(str, roots))
    if not matches:
        hint = nearest(run_id, places_by_id)
        raise BadInput(f"no run '{run_id}' below {folders}{hint} Elsewhere: results_dir=FOLDER.")
    if len(matches) > 1:
        raise BadInput(f"run={run_id} is the beginning of {len(matches)} ids below {folders}: {', '.join(matches[:4])}")
    root, path = places_by_id[matches[0]]
    run = record.read_record(path)
    if run.status != "done":
        reason = "{kind}: {message}".format(**(run.error or {"kind": "", "message": ""}))
        raise BadInput(f"run {run.run_id} failed ({reason}), it left nothing to use: choose or make a run that is done")
    return root, run


def folder_of_results(path: Path) -> Path:
    """The results folder that holds the record at `path`."""
    return next((parent.parent for parent in path.parents if parent.name == "runs"), path.parent)


def _folders(results: Path | None) -> list[Path]:
    return [results] if results else [*record.ROOTS]


def _place(r: Record) -> tuple[str, ...]:
    return r.names["data"], r.names["task"], r.names["method"], r.run_id
