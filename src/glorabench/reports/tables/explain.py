"""The runs behind one cell of a table, and how they differ from each other and from the best."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from glorabench.analysis import significance, statistics
from glorabench.analysis.cells import Cell, Group, groups_of
from glorabench.analysis.suite_layouts import layout_of
from glorabench.data.suites.layout import Layout, Mean
from glorabench.errors import BadInput, nearest
from glorabench.records.compatibility import flatten, settings
from glorabench.records.metrics import Metric, metric_named
from glorabench.records.record import Record

_ENVIRONMENT = ("versions", "device", "threads", "precision", "weights", "data")


def explanation(records_by_path: Mapping[Path, Record], cell: str) -> list[str]:
    """Describe the runs behind METHOD/TASK, or behind METHOD/MEAN of a suite with a layout.

    Args:
        records_by_path: records by their files.
        cell: the name of the method in the table or in the config, a slash, and the task, column or mean.

    Raises:
        BadInput: there is no such cell; the message names the nearest.
    """
    paths = {r.run_id: path for path, r in records_by_path.items()}
    groups = groups_of(records_by_path.values())
    layout = layout_of(records_by_path.values())
    tasks_of = _tasks_of_columns(layout)
    metrics = {column.name: column.metric for column in layout.columns} if layout else {}
    method, task = cell, ""
    lines: list[str] = []
    tasks: set[str] = set()
    for group in groups:
        method, task = _split(cell, group.by_task.keys() | tasks_of.keys())
        for match in _cells_called(group, method):
            name = match.records[0].config["data"].get("task", "")
            tasks |= {match.task, name}
            if match.task == task or name in tasks_of.get(task, ()):
                lines += [*([""] if lines else []), *_cell_lines(match, group, paths, metrics.get(task))]
    absent = sorted(tasks_of.get(task, set()) - tasks) if tasks else []
    if lines:
        return [*lines, *([f"no run of {method} on {', '.join(absent)}"] if absent else [])]
    if tasks and task:
        raise BadInput(f"{method} has no run on {task}, failed or done: make one with `glorabench run`")
    raise BadInput(f"no cell '{cell}' (METHOD/TASK){_nearest_cell(cell, groups, tasks_of)}")


def _nearest_cell(cell: str, groups: Iterable[Group], columns: Iterable[str]) -> str:
    names: set[tuple[str, str]] = set()
    for group in groups:
        for group_cell in group.cells:
            task = group_cell.task
            of_cell = (group_cell.method, group_cell.name, group_cell.records[0].names["method"])
            names |= {(name, task) for name in of_cell}
    methods = sorted({name for name, _ in names})
    of_columns = [f"{name}/{column}" for name in methods for column in columns]
    return nearest(cell, [*(f"{name}/{task}" for name, task in sorted(names)), *of_columns])


def _tasks_of_columns(layout: Layout | None) -> dict[str, set[str]]:
    """The tasks behind each column and each mean of a layout."""
    if layout is None:
        return {}
    tasks = {column.name: column.task for column in layout.columns}
    means = {entry.name: {tasks[n] for n in entry.groups} for entry in layout.entries if isinstance(entry, Mean)}
    return {name: {task} for name, task in tasks.items()} | means


def _split(cell: str, names: AbstractSet[str]) -> tuple[str, str]:
    """Split a cell name into method and task; either may contain a slash."""
    for position, letter in enumerate(cell):
        if letter == "/" and cell[position + 1 :] in names:
            return cell[:position], cell[position + 1 :]
    return cell, ""


def _cells_called(group: Group, method: str) -> list[Cell]:
    """The cells with this name in a table or a CSV file; without any, those of all configurations of this method."""
    exact = [cell for cell in group.cells if method in (cell.row, cell.method, cell.row_name, cell.name)]
    return exact or [cell for cell in group.cells if cell.records[0].names["method"] == method]


def _cell_lines(cell: Cell, group: Group, paths: Mapping[str, Path], name: str | None) -> Iterator[str]:
    metric = _metric(cell, name)
    scores = [r.metrics[metric.name] for r in cell.finished_runs if metric.name in r.metrics] if metric else []
    mean = "no result"
    if metric and scores:
        mean = f"{metric.label} {metric.text(statistics.mean(scores).value)}, n {len(scores)}"
    yield f"{cell.row} on {cell.task}: {mean}"
    for r in cell.records:
        yield f"  {_run_text(r, metric)}  {paths.get(r.run_id, 'no file')}"
    seeds = [{**flatten(r.config), **_environment(r)} for r in cell.records]
    yield from _difference_lines("its runs differ in", [f"s{r.config['seed']}" for r in cell.records], seeds)
    yield from _rival_lines(cell, {rival.row: rival for rival in group.by_task[cell.task]}, name)


def _metric(cell: Cell, name: str | None) -> Metric | None:
    """The metric of a column, or the one that decides where the column names none; None without a result."""
    if not cell.finished_runs:
        return None
    return metric_named(cell.finished_runs[0].measures, name) if name else cell.metric


def _rival_lines(cell: Cell, rivals: Mapping[str, Cell], name: str | None) -> Iterator[str]:
    """Lines that compare a cell with the best of its task."""
    verdicts = significance.verdicts_on_task(rivals, name)
    bests = {row: rivals[row] for row, verdict in verdicts.items() if verdict.kind == "best"}
    if not bests:
        yield "  nothing to compare it with"
        return
    if cell.row in bests:
        equals = " and ".join(row for row in bests if row != cell.row)
        yield "  it is the best of its task" + (f", with the same mean as {equals}" if equals else "")
        return
    verdict = verdicts.get(cell.row)
    best = bests.get(verdict.best if verdict else "") or next(iter(bests.values()))
    outcome = "not compared"
    if verdict:
        outcome = "; ".join(filter(None, (verdict.kind, verdict.p_text, verdict.reason)))
    yield f"  against the best, {best.row}: {outcome}"
    flats = [{**settings(side.records[0].config), **_environment(side.records[0])} for side in (cell, best)]
    yield from _difference_lines("both differ in", ["this", "the best"], flats)


def _run_text(r: Record, metric: Metric | None) -> str:
    git = r.provenance.get("git") or {}
    commit = git.get("sha", "")[:12] if git else "not of a checkout"
    commit += " (dirty)" if git.get("dirty") else ""
    if r.status != "done":
        state = "failed: {kind}: {message}".format(**(r.error or {"kind": "unknown", "message": ""}))
    elif metric is None or metric.name not in r.metrics:
        state = "done, not scored"
    else:
        state = f"done, {metric.label} {metric.text(r.metrics[metric.name])}"
    draw = r.config["data"].get("split_seed")
    seed = f"seed {r.config['seed']}" + ("" if draw is None else f", split seed {draw}")
    state += ", chosen on test" if r.selection.get("contaminated") else ""
    state += ", fake images" if r.provenance.get("data", {}).get("fake") else ""
    return f"run {r.run_id}  {seed}  {state}  commit {commit}"


def _environment(r: Record) -> dict[str, Any]:
    git = r.provenance.get("git") or {}
    facts = flatten({key: r.provenance[key] for key in _ENVIRONMENT if key in r.provenance})
    return {f"provenance.{key}": value for key, value in {**facts, "git.sha": git.get("sha")}.items()}


def _difference_lines(heading: str, names: Sequence[str], flats: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each key in which the mappings differ."""
    keys = sorted({key for values in flats for key in values})
    keys_that_differ = [key for key in keys if any(values.get(key) != flats[0].get(key) for values in flats)]
    if keys_that_differ:
        yield f"  {heading}:"
    for key in keys_that_differ:
        names_of: dict[str, list[str]] = {}
        for name, values in zip(names, flats, strict=True):
            names_of.setdefault(str(values.get(key)), []).append(name)
        yield f"    {key}: " + "; ".join(f"{value} ({', '.join(group)})" for value, group in names_of.items())
