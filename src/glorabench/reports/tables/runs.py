"""The runs of a results folder as a list, and one run by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from glorabench.analysis.costs import stage_total
from glorabench.analysis.labels import labels_of
from glorabench.errors import BadInput, nearest
from glorabench.records.compatibility import flatten, settings
from glorabench.records.record import Record
from glorabench.records.removal import files_of_run
from glorabench.records.store import folder_of_results

RUN_COLUMNS = ("run", "suite", "task", "method", "seed", "status", "metric", "score", "params", "seconds")
_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 60  # points of a curve


def run_rows(records_by_path: Mapping[Path, Record], sort: str | None) -> list[tuple[str, ...]]:
    """A row for each run, as RUN_COLUMNS.

    Args:
        records_by_path: records by their files.
        sort: a column; its largest numbers come first, its words in the order of the alphabet. None is the newest
            first, by the time of the file.

    Raises:
        BadInput: there is no such column.
    """
    if sort is not None and sort not in RUN_COLUMNS:
        raise BadInput(f"--sort {sort}: there is no such column{nearest(sort, RUN_COLUMNS)}")
    paths = sorted(records_by_path, key=lambda path: -path.stat().st_mtime)
    records = [records_by_path[path] for path in paths]
    labels = labels_of([r.config for r in records], [settings(r.config) for r in records])
    rows = [_cells(r, label.method) for r, label in zip(records, labels, strict=True)]
    if sort is not None:
        rows.sort(key=lambda row: _order(row[sort]))
    return [tuple(_text(row[column]) for column in RUN_COLUMNS) for row in rows]


def _cells(r: Record, label: str) -> dict[str, Any]:
    is_done = r.status == "done"
    return {
        "run": r.run_id,
        "suite": r.names["data"],
        "task": r.names["task"],
        "method": label,
        "seed": r.config["seed"],
        "status": r.status if is_done else f"failed: {(r.error or {}).get('kind', 'unknown')}",
        "metric": r.metric.heading if is_done else "",
        "score": r.metric.scale * r.score if is_done else None,
        "params": r.params.get("method"),
        "seconds": stage_total(r, "seconds"),
    }


def _order(value: Any) -> tuple[int, float, str]:
    """Numbers before words before what is missing; the largest number first."""
    if value is None or value == "":
        return 2, 0.0, ""
    return (1, 0.0, value) if isinstance(value, str) else (0, -float(value), "")


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def run_lines(r: Record, path: Path) -> Iterator[str]:
    """One run: what it got, what it took, its curves, its config and where its files are."""
    yield f"run {r.run_id}: {r.names['method']} on {r.names['task']}, seed {r.config['seed']}: {r.status}"
    for metric in r.measures:
        yield f"  {metric.label}: {metric.with_unit(r.metrics[metric.name])}"
    if r.error:
        yield f"  {r.error['kind']}: {r.error['message']}"
    sections = {"parameters": r.params, "cost": r.cost, "merge": r.merge or {}}
    for title, node in sections.items():
        values = {key: value for key, value in flatten(dict(node)).items() if value not in (None, {})}
        if values:
            yield f"{title}:"
            yield from (f"  {key}: {_value(value)}" for key, value in values.items())
    curves = _curves(r.history)
    if curves:
        yield "curves:"
        yield from (f"  {name}: {_sparkline(values)}" for name, values in curves.items())
    yield "config:"
    yield from (f"  {line}" for line in yaml.safe_dump(r.config, sort_keys=True).splitlines())
    yield "files:"
    yield f"  {path}"
    yield from (f"  {file}" for file in files_of_run(folder_of_results(path), r.run_id))


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else _text(value)


def _curves(history: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """What was logged in each epoch, without what only counts."""
    curves: dict[str, list[float]] = {}
    for entry in history:
        for name, value in entry.items():
            if name not in ("epoch", "step", "seconds", "lr", "stage") and isinstance(value, int | float):
                curves.setdefault(name, []).append(float(value))
    return curves


def _sparkline(values: Sequence[float]) -> str:
    """A curve in one line, with its first and last value."""
    count = min(_WIDTH, len(values))
    picks = [values[round(i * (len(values) - 1) / max(1, count - 1))] for i in range(count)]
    low, high = min(values), max(values)
    span = high - low or 1.0
    bars = "".join(_BARS[round((value - low) / span * (len(_BARS) - 1))] for value in picks)
    return f"{values[0]:.4g} {bars} {values[-1]:.4g}"
