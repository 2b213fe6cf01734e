"""The runs behind one cell of a table, and in what they differ from each other and from the best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from glorabench.analysis import significance, statistics
from glorabench.analysis.cells import Cell, cells
from glorabench.analysis.suite_layouts import Layout, Mean, layout_of
from glorabench.errors import BadInput, nearest
from glorabench.records.compatibility import comparable, flat, settings
from glorabench.records.record import Record

_ENVIRONMENT = ("versions", "device", "threads", "precision", "weights", "data")


def told(found: Mapping[Path, Record], cell: str) -> list[str]:
    """What stands behind METHOD/TASK, or behind METHOD/MEAN of a suite with a layout.

    Args:
        found: records by their files.
        cell: the method as the table or the config calls it, and the task, column or mean.

    Raises:
        BadInput: no such cell, with the nearest.
    """
    records, paths = list(found.values()), {r.run_id: path for path, r in found.items()}
    layout = layout_of(records)
    means = _means(layout)
    metrics = {column.name: column.metric for column in layout.columns} if layout else {}
    (method, task), lines = (cell, ""), list[str]()
    runs: set[str] = set()
    for group in comparable(records):
        made = cells(group, by_task=True)
        names = {c.task for c in made} | means.keys()
        method, task = _split(cell, names)
        called = _called(made, group, method)
        for own in called:
            if own.task == task or own.records[0].config["data"].get("task") in means.get(task, ()):
                lines += [*([""] if lines else []), *_cell(own, made, paths, metrics.get(task, "top1"))]
        runs |= {own.task for own in called} | {own.records[0].config["data"].get("task", "") for own in called}
    lacking = sorted(means.get(task, set()) - runs) if runs else []
    if lines:
        return [*lines, *([f"no run of {method} on {', '.join(lacking)}"] if lacking else [])]
    if runs and task:
        raise BadInput(f"{method} has no run on {task}, failed or done: make one with `glorabench run`")
    known = {(name, c.task) for group in comparable(records) for c in cells(group) for name in _names(c)}
    methods = sorted({name for name, _ in known})
    of_means = [f"{name}/{mean}" for name in methods for mean in means]
    hint = nearest(cell, [*(f"{name}/{of}" for name, of in sorted(known)), *of_means])
    raise BadInput(f"no cell '{cell}' (METHOD/TASK){hint}")


def _names(cell: Cell) -> tuple[str, str]:
    return cell.method, cell.records[0].names["method"]


def _means(layout: Layout | None) -> dict[str, set[str]]:
    """The tasks behind each mean of the suite's layout, and behind its columns that are not called as their task."""
    if layout is None:
        return {}
    tasks = {column.name: column.task for column in layout.columns}
    means = {entry.name: {tasks[n] for n in entry.groups} for entry in layout.entries if isinstance(entry, Mean)}
    return {name: {task} for name, task in tasks.items()} | means


def _split(cell: str, names: set[str]) -> tuple[str, str]:
    """Both parts; either may hold a slash."""
    for at in (i for i, letter in enumerate(cell) if letter == "/"):
        if cell[at + 1 :] in names:
            return cell[:at], cell[at + 1 :]
    return cell, ""


def _called(made: Sequence[Cell], group: Sequence[Record], method: str) -> list[Cell]:
    """The cells of what a table calls `method`; else those of all configurations of a method of this name."""
    long = {r.run_id: c.method for c in cells(group) for r in c.records}
    exact = [c for c in made if method in (c.method, long[c.records[0].run_id])]
    return exact or [c for c in made if c.records[0].names["method"] == method]


def _cell(own: Cell, made: Sequence[Cell], paths: Mapping[str, Path], metric: str) -> Iterator[str]:
    scores = [r.metrics[metric] for r in own.done if metric in r.metrics]
    mean = f"{_called_as(metric)} {100 * statistics.mean(scores).value:.2f}, n {len(scores)}" if scores else "no result"
    yield f"{own.method} on {own.task}: {mean}"
    for r in own.records:
        yield f"  {_run(r, metric)}  {paths.get(r.run_id, 'no file')}"
    seeds = [{**flat(r.config), **_environment(r)} for r in own.records]
    yield from _differing("its runs differ in", [f"s{r.config['seed']}" for r in own.records], seeds)
    rivals = [c for c in made if c.task == own.task]
    verdicts = significance.on_task(rivals, metric)
    bests = {c.method: c for c in rivals if c.method in verdicts and verdicts[c.method].kind == "best"}
    if not bests or own.method in bests:
        equal = " and ".join(name for name in bests if name != own.method)
        best = "  it is the best of its task" + f", with the same mean as {equal}" * bool(equal)
        yield best if bests else "  nothing to compare it with"
        return
    verdict = verdicts.get(own.method)
    best = bests.get(verdict.against if verdict else "") or next(iter(bests.values()))
    stands = "; ".join(filter(None, (verdict.kind, verdict.said, verdict.how))) if verdict else "not compared"
    yield f"  against the best, {best.method}: {stands}"
    both = [{**settings(c.records[0].config), **_environment(c.records[0])} for c in (own, best)]
    yield from _differing("both differ in", ["this", "the best"], both)


def _called_as(metric: str) -> str:
    return "top-1" if metric == "top1" else metric


def _run(r: Record, metric: str) -> str:
    git = r.provenance.get("git") or {}
    commit = git.get("sha", "")[:12] + " (dirty)" * bool(git.get("dirty")) if git else "not of a checkout"
    if r.status == "done":
        found = f"{_called_as(metric)} {100 * r.metrics[metric]:.2f}" if metric in r.metrics else "not scored"
        state = f"done, {found}"
    else:
        state = "failed: {kind}: {message}".format(**(r.error or {"kind": "unknown", "message": ""}))
    draw = r.config["data"].get("split_seed")
    seed = f"seed {r.config['seed']}" + (f", split seed {draw}" if draw is not None else "")
    chosen = ", chosen on test" * bool(r.selection.get("contaminated"))
    fake = ", fake images" * bool(r.provenance.get("data", {}).get("fake"))
    return f"run {r.run_id}  {seed}  {state}{chosen}{fake}  commit {commit}"


def _environment(r: Record) -> dict[str, Any]:
    git = r.provenance.get("git") or {}
    facts = flat({key: r.provenance[key] for key in _ENVIRONMENT if key in r.provenance})
    return {f"provenance.{key}": value for key, value in {**facts, "git.sha": git.get("sha")}.items()}


def _differing(said: str, names: Sequence[str], flats: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The keys in which they differ, a line each."""
    keys = sorted({key for each in flats for key in each})
    apart = [key for key in keys if any(each.get(key) != flats[0].get(key) for each in flats)]
    if apart:
        yield f"  {said}:"
    for key in apart:
        values: dict[str, list[str]] = {}
        for name, each in zip(names, flats, strict=True):
            values.setdefault(str(each.get(key)), []).append(name)
        yield f"    {key}: " + "; ".join(f"{value} ({', '.join(who)})" for value, who in values.items())
