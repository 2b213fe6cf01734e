"""Load the records of a results folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from glorabench.errors import BadInput, nearest
from glorabench.records import record
from glorabench.records.record import Record


def load_suite(suite: str | None, results: Path | None) -> tuple[Path, list[Record]]:
    """The results folder that holds records of a suite, and these; see `by_file`.

    Raises:
        BadInput: there are no records, one is damaged, or two are of one run and differ.
    """
    made = by_file(suite, results)
    if not made:
        raise nothing(suite, results)
    first = next(iter(made))
    return next(f for f in _folders(results) if first.is_relative_to(f / "runs")), list(made.values())


def by_file(suite: str | None, results: Path | None) -> dict[Path, Record]:
    """The records of a suite by their files, in the order of tasks, methods and ids; a copy of a record counts once.

    Args:
        suite: None is every suite of the folder.
        results: folder to look in; None is the first of `record.ROOTS` that has any.

    Raises:
        BadInput: a record is damaged or of another schema, or two are of one run and differ.
    """
    for folder in _folders(results):
        if made := record.by_file([folder / "runs" / suite if suite else folder / "runs"]):
            return dict(sorted(made.items(), key=lambda item: _place(item[1])))
    return {}


def nothing(suite: str | None, results: Path | None, others: Sequence[str] = ()) -> BadInput:
    """What to say where there are none; `others` are suites that have something else to show."""
    folders = _folders(results)
    known = {path.name for folder in folders for path in (folder / "runs").glob("*") if any(path.rglob("*.json"))}
    what = f"records of suite '{suite}'" if suite else "records"
    hint = "" if suite is None or suite in known else nearest(suite, sorted({*known, *others}))
    return BadInput(f"no {what} below {' or '.join(map(str, folders))}: make some with `glorabench run`{hint}")


def located(run_id: str, roots: Iterable[Path] = record.ROOTS) -> tuple[Path, Record]:
    """The finished run whose id begins with `run_id`, and which of the results folders `roots` holds it.

    Raises:
        BadInput: no such run, several, a failed one, or a damaged record.
    """
    roots = list(roots)
    known = {path.stem.rpartition("-")[2]: (root, path) for root in roots[::-1] for path in root.glob("runs/*/*.json")}
    found = [name for name in known if name.startswith(run_id)]
    places = " or ".join(map(str, roots))
    if not found:
        raise BadInput(f"no run '{run_id}' below {places}{nearest(run_id, known)} Elsewhere: results_dir=FOLDER.")
    if len(found) > 1:
        raise BadInput(f"run={run_id} is the beginning of {len(found)} ids below {places}: {', '.join(found[:4])}")
    root, path = known[found[0]]
    made = record.read(path)
    if made.status != "done":
        why = "{kind}: {message}".format(**(made.error or {"kind": "", "message": ""}))
        raise BadInput(f"run {made.run_id} failed ({why}), it left nothing to use: choose or make a run that is done")
    return root, made


def _folders(results: Path | None) -> list[Path]:
    return [results] if results else [*record.ROOTS]


def _place(r: Record) -> tuple[str, ...]:
    return r.names["data"], r.names["task"], r.names["method"], r.run_id
