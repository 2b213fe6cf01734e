"""The W&B runs that stand for records and for tables of records; W&B is not imported here."""

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

_RECORD_KEYS = ("run_id", "protocol", "schema", "status", "error", "selection", "provenance", "paths")


@dataclass(frozen=True)
class WandbTable:
    """A table: names of the columns, and rows."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Replay:
    """A run of W&B.

    Args:
        id: run_id of the record, or an id of the table.
        name: the name that W&B shows.
        group: shared by the runs that a table compares: suite, backbone, selection, protocol.
        job_type: the method, or `table`.
        tags: suite, backbone, task; `failed` and `contaminated` where they hold.
        config: the config of the record, and other facts of the record under `record`.
        curves: (step, metrics) in order; the step counts epochs, through all stages of a searched run.
        summary: metrics, parameters, cost, merge certificate.
        tables: a function that computes its tables, by name; it may take a while.
        has_failed: True where the run has no result.
        digest: a hash of the records behind the run, so that a change is noticed.
    """

    id: str
    name: str
    group: str
    job_type: str
    tags: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    curves: Sequence[tuple[int, Mapping[str, float]]] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
    tables: Callable[[], Mapping[str, WandbTable]] = dict
    has_failed: bool = False
    digest: str = ""


def replays(records: Iterable[Record]) -> list[Replay]:
    """A run for each record, and after each group of comparable records a run with their table."""
    by_suite: dict[str, list[Record]] = {}
    for r in records:
        by_suite.setdefault(r.names["data"], []).append(r)
    result = []
    for suite_records in by_suite.values():
        for group in comparable_groups(suite_records):
            result += [*map(replay_of_record, group), replay_of_table(group)]
    return result


def group_of(r: Record) -> str:
    """The W&B group of a record; the records of one table share it."""
    selection = {key: value for key, value in r.config["selection"].items() if key != "tuned_on" and value is not None}
    first = [str(selection.pop(key)) for key in ("fit_on", "report_on", "rule")]
    ending = [f"{key}={value}" for key, value in sorted(selection.items())]
    return "-".join([r.names["data"], r.names["backbone"], *first, *ending, f"p{r.protocol}"])


def replay_of_record(r: Record) -> Replay:
    """The W&B run of a record."""
    names, search_name = r.names, r.names.get("search")
    marks = {"failed": r.status != "done", "contaminated": bool(r.selection.get("contaminated"))}
    search = {key: value for key, value in (r.search or {}).items() if not isinstance(value, list)}
    summaries = {"params": r.params, "cost": r.cost, "merge": r.merge, "upstream": r.upstream, "search": search}
    summary: dict[str, Any] = dict(r.metrics)
    for name, node in summaries.items():
        summary |= _flat(node, name)
    return Replay(
        id=r.run_id,
        name="-".join(filter(None, [names["method"], search_name, names["task"], f"s{r.config['seed']}"])),
        group=group_of(r),
        job_type=" + ".join(filter(None, [names["method"], search_name])),
        tags=(names["data"], names["backbone"], names["task"], *(mark for mark, is_set in marks.items() if is_set)),
        config={**r.config, "record": _record_facts(r)},
        curves=_curves(r.history),
        summary=summary,
        tables=partial(_search_tables, r.search or {}),
        has_failed=r.status != "done",
        digest=_digest(r),
    )


def _record_facts(r: Record) -> dict[str, Any]:
    """Further facts of a record; of an error only kind and message."""
    facts = {key: getattr(r, key) for key in _RECORD_KEYS if getattr(r, key) is not None}
    if r.error:
        facts["error"] = {key: value for key, value in r.error.items() if key != "traceback"}
    return facts


def replay_of_table(records: Sequence[Record]) -> Replay:
    """The W&B run that holds the table of comparable records and its findings."""
    group = group_of(records[0])
    digests = sorted(map(_digest, records))
    return Replay(
        id=f"table-{_hash(group)}",
        name=f"table of {records[0].names['data']}",
        group=group,
        job_type="table",
        tags=(records[0].names["data"], records[0].names["backbone"]),
        config={"runs": sorted(r.run_id for r in records)},
        tables=partial(_table_and_findings, records),
        digest=_hash(" ".join(digests)),
    )


def _table_and_findings(records: Sequence[Record]) -> dict[str, WandbTable]:
    """The table and its findings, or the reason why the records have no table."""
    group = Group(records)
    try:
        table = WandbTable(long_columns(group), [list(row) for row in long_rows(group)])
        return {"table": table, "findings": WandbTable(("finding",), [[line] for line in findings(group)])}
    except BadInput as error:
        return {"refused": WandbTable(("reason",), [[str(error)]])}


def _digest(r: Record) -> str:
    return _hash(json.dumps(asdict(r), sort_keys=True))


def _curves(history: Sequence[Mapping[str, Any]]) -> list[tuple[int, dict[str, float]]]:
    """The curves epoch by epoch; in a searched run each name begins with its stage."""
    curves = []
    for index, entry in enumerate(history):
        prefix = f"{entry['stage']}/" if "stage" in entry else ""
        curves.append((index + 1, {f"{prefix}{key}": value for key, value in entry.items() if key != "stage"}))
    return curves


def _search_tables(search: Mapping[str, Any]) -> dict[str, WandbTable]:
    """The tables of a search: the best score so far, and the front."""
    tables = {}
    if search.get("best"):
        tables["search/best"] = WandbTable(("candidates", "best so far"), [list(row) for row in search["best"]])
    if search.get("front"):
        front = [[entry["params"], entry["score"]] for entry in search["front"]]
        tables["search/front"] = WandbTable(("params", "score"), front)
    return tables


def _flat(node: Any, prefix: str) -> dict[str, Any]:
    """The values of a nested mapping, by names joined with slashes; None is left out."""
    if not isinstance(node, Mapping):
        return {} if node is None else {prefix: node}
    leaves: dict[str, Any] = {}
    for key, value in node.items():
        leaves |= _flat(value, f"{prefix}/{key}")
    return leaves


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
