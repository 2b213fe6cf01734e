"""What W&B is told of a record and of a table of records; W&B is not imported here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from glorabench.analysis.cells import Group
from glorabench.errors import BadInput
from glorabench.records.compatibility import comparable_groups
from glorabench.records.record import Record
from glorabench.reports.tables.long import findings, long_columns, long_rows

_KEPT = ("run_id", "protocol", "schema", "status", "error", "selection", "provenance", "paths")


@dataclass(frozen=True)
class WandbTable:
    """A table: names of the columns, and rows."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Replay:
    """A run of W&B.

    Args:
        id: run_id of the record, or one of the table.
        name: what W&B shows.
        group: shared by the runs that a table compares: suite, backbone, selection, protocol.
        job_type: the method, or `table`.
        tags: suite, backbone, task; `failed` and `contaminated` where it is so.
        config: that of the record, and under `record` what else it says of the run.
        curves: (step, metrics) in their order; the step is the epoch, over the stages of a searched run.
        summary: metrics, parameters, cost, merge certificate.
        sheets: makes its tables, by name; they may take a while.
        failed: the run has no result.
        digest: of what the run is made from: a record that has changed is another one.
    """

    id: str
    name: str
    group: str
    job_type: str
    tags: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    curves: Sequence[tuple[int, Mapping[str, float]]] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
    sheets: Callable[[], Mapping[str, WandbTable]] = dict
    failed: bool = False
    digest: str = ""


def replays(records: Iterable[Record]) -> list[Replay]:
    """A run for each record, and behind those of each suite, protocol, selection and backbone one with their table."""
    by_suite: dict[str, list[Record]] = {}
    for r in records:
        by_suite.setdefault(r.names["data"], []).append(r)
    groups = [group for found in by_suite.values() for group in comparable_groups(found)]
    return [made for group in groups for made in (*map(of_record, group), of_table(group))]


def group_of(r: Record) -> str:
    """What runs share that stand in one table, as W&B's group."""
    selection = {key: value for key, value in r.config["selection"].items() if key != "tuned_on" and value is not None}
    first = [str(selection.pop(key)) for key in ("fit_on", "report_on", "rule")]
    rest = [f"{key}={value}" for key, value in sorted(selection.items())]
    return "-".join([r.names["data"], r.names["backbone"], *first, *rest, f"p{r.protocol}"])


def of_record(r: Record) -> Replay:
    """A run of W&B that says what the record says."""
    names, searched = r.names, r.names.get("search")
    marks = {"failed": r.status != "done", "contaminated": bool(r.selection.get("contaminated"))}
    search = {key: value for key, value in (r.search or {}).items() if not isinstance(value, list)}
    told = {"params": r.params, "cost": r.cost, "merge": r.merge, "upstream": r.upstream, "search": search}
    return Replay(
        id=r.run_id,
        name="-".join(filter(None, [names["method"], searched, names["task"], f"s{r.config['seed']}"])),
        group=group_of(r),
        job_type=" + ".join(filter(None, [names["method"], searched])),
        tags=(names["data"], names["backbone"], names["task"], *(mark for mark, so in marks.items() if so)),
        config={**r.config, "record": _kept(r)},
        curves=_curves(r.history),
        summary={**r.metrics, **{k: v for name, node in told.items() for k, v in _flat(node, name).items()}},
        sheets=partial(_found, r.search or {}),
        failed=r.status != "done",
        digest=_digest(r),
    )


def _kept(r: Record) -> dict[str, Any]:
    """What else a record says; of an error its kind and message."""
    found = {key: getattr(r, key) for key in _KEPT if getattr(r, key) is not None}
    if r.error:
        found["error"] = {key: value for key, value in r.error.items() if key != "traceback"}
    return found


def of_table(records: Sequence[Record]) -> Replay:
    """A run of W&B that holds the table of comparable records, and what follows from it."""
    group = group_of(records[0])
    digests = sorted(map(_digest, records))
    return Replay(
        id=f"table-{_hash(group)}",
        name=f"table of {records[0].names['data']}",
        group=group,
        job_type="table",
        tags=(records[0].names["data"], records[0].names["backbone"]),
        config={"runs": sorted(r.run_id for r in records)},
        sheets=partial(_table, records),
        digest=_hash(" ".join(digests)),
    )


def _table(records: Sequence[Record]) -> dict[str, WandbTable]:
    """The table and its findings; or why the records do not share one."""
    group = Group(records)
    try:
        table = WandbTable(long_columns(group), [list(row) for row in long_rows(group)])
        return {"table": table, "findings": WandbTable(("finding",), [[line] for line in findings(group)])}
    except BadInput as error:
        return {"refused": WandbTable(("reason",), [[str(error)]])}


def _digest(r: Record) -> str:
    return _hash(json.dumps(asdict(r), sort_keys=True))


def _curves(history: Sequence[Mapping[str, Any]]) -> list[tuple[int, dict[str, float]]]:
    """Epoch by epoch; of a searched run the names stand behind those of their stage."""
    told = []
    for index, entry in enumerate(history):
        prefix = f"{entry['stage']}/" if "stage" in entry else ""
        told.append((index + 1, {f"{prefix}{key}": value for key, value in entry.items() if key != "stage"}))
    return told


def _found(search: Mapping[str, Any]) -> dict[str, WandbTable]:
    """The best score so far, and the front, of a search."""
    sheets = {}
    if search.get("best"):
        sheets["search/best"] = WandbTable(("candidates", "best so far"), [list(row) for row in search["best"]])
    if search.get("front"):
        front = [[entry["params"], entry["score"]] for entry in search["front"]]
        sheets["search/front"] = WandbTable(("params", "score"), front)
    return sheets


def _flat(node: Any, prefix: str) -> dict[str, Any]:
    """Values of a nested mapping, their names joined by slashes; without what is not there."""
    if not isinstance(node, Mapping):
        return {} if node is None else {prefix: node}
    return {k: v for key, value in node.items() for k, v in _flat(value, f"{prefix}/{key}").items()}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
