"""Tables: pure functions of records. A cell is a mean over seeds with its interval and n; ties are said."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from glorabench import stats
from glorabench.errors import BadInput
from glorabench.record import Record, identity, unpack

COLUMNS = ("task", "method", "top-1 %", "95 % interval", "n", "params", "step ms", "latency", "merge")
NOTES = (
    "params: trained parameters without the head, mean over seeds where a random path differs (supernet in brackets); "
    "latency: median of batch 64, after merging where there is something to merge, as a ratio to the plain backbone; "
    "merge: largest change of a logit by merging, and predictions that flipped if any, or no where it is impossible; "
    "interval: Student's t over seeds; differences: bootstrap over paired seeds and examples, optimistic for few seeds."
)


@dataclass(frozen=True)
class Cell:
    """All seeds of one configuration on one task."""

    task: str
    method: str
    records: tuple[Record, ...]

    @property
    def done(self) -> list[Record]:
        """The runs that have a result."""
        return [r for r in self.records if r.status == "done"]

    @property
    def top1(self) -> stats.Estimate:
        """Mean over seeds."""
        return stats.mean([r.metrics["top1"] for r in self.done])


def cells(records: Iterable[Record]) -> list[Cell]:
    """Records grouped by everything but the seed, in the order of tasks and methods as they came.

    Raises:
        BadInput: records of different protocols, selections, backbones or data would share a table.
    """
    records = list(records)
    _refuse_mixtures(records)
    groups: dict[str, list[Record]] = {}
    for r in records:
        groups.setdefault(json.dumps(_identity(r.config), sort_keys=True), []).append(r)
    # by seed: the same records give the same bootstrap in whatever order they were read
    members = [sorted(group, key=lambda r: r.config["seed"]) for group in groups.values()]
    labels = _labels([group[0].config for group in members])
    made = [Cell(g[0].names["task"], label, tuple(g)) for g, label in zip(members, labels, strict=True)]
    tasks = list(dict.fromkeys(cell.task for cell in made))
    return sorted(made, key=lambda cell: tasks.index(cell.task))


def comparable(records: Iterable[Record]) -> list[list[Record]]:
    """The records in groups of one protocol, selection and backbone each: what a table can hold."""
    groups: dict[str, list[Record]] = {}
    for r in records:
        groups.setdefault(_kind(r), []).append(r)
    return list(groups.values())


def _kind(r: Record) -> str:
    return json.dumps([r.protocol, r.config["selection"], r.names["backbone"]], sort_keys=True)


def _refuse_mixtures(records: Sequence[Record]) -> None:
    kinds = {_kind(r): r.run_id for r in reversed(records)}
    if len(kinds) > 1:
        clash = "; ".join(f"{run_id}: {kind}" for kind, run_id in kinds.items())
        raise BadInput(f"these records do not compare (protocol, selection, backbone differ): {clash}")
    first: dict[tuple[str, str], Record] = {}
    for r in records:
        for what in {"data", "precision"} & set(r.provenance):
            one = first.setdefault((what, r.names["task"]), r)
            if r.provenance[what] != one.provenance[what]:
                clash = "; ".join(f"{x.run_id}: {x.provenance[what]}" for x in (one, r))
                raise BadInput(f"these records of {r.names['task']} differ in {what}: {clash}")


def _identity(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in identity(config).items() if key != "seed"}


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(node, dict):
        return {prefix: node}
    return {k: v for key, value in node.items() for k, v in _flat(value, f"{prefix}.{key}" if prefix else key).items()}


def _labels(configs: Sequence[dict[str, Any]]) -> list[str]:
    """The method's name, with the values that tell apart several configurations of it on one task."""
    flats = [_flat(_identity(config)) for config in configs]
    labels = []
    for config, flat in zip(configs, flats, strict=True):
        same = [f for c, f in zip(configs, flats, strict=True) if c["names"] == config["names"]]
        keys = sorted({k for f in same for k in f if any(f.get(k) != other.get(k) for other in same)})
        weights = {(f.get("backbone.weights_from"), f.get("backbone.sha256")) for f in same}
        if "backbone.sha256" in keys and len({name for name, _ in weights}) == len(weights):
            keys.remove("backbone.sha256")  # the name of the file tells them apart already
        told = ", ".join(f"{key.removeprefix('method.')}={flat.get(key)}" for key in keys)
        labels.append(config["names"]["method"] + (f" ({told})" if told else ""))
    return labels


def rows(records: Iterable[Record]) -> list[tuple[str, ...]]:
    """One row a cell, as text, a failed or missing value saying why; then the means over tasks."""
    made = cells(records)
    return [*map(_row, made), *_averages(made)]


def _averages(made: Sequence[Cell]) -> Iterator[tuple[str, ...]]:
    """Mean over tasks of every method that has a result on all of them; its interval is over the common seeds."""
    tasks = {cell.task for cell in made}
    for method in dict.fromkeys(cell.method for cell in made):
        by_task = {c.task: {r.config["seed"]: r.metrics["top1"] for r in c.done} for c in made if c.method == method}
        seeds = set.intersection(*(set(found) for found in by_task.values()))
        if len(tasks) > 1 and set(by_task) == tasks and seeds:
            top1 = stats.mean([fmean(found[seed] for found in by_task.values()) for seed in sorted(seeds)])
            yield (f"mean of {len(tasks)} tasks", method, *_estimate(top1), str(top1.n), "", "", "", "")


def _estimate(top1: stats.Estimate) -> tuple[str, str]:
    """Value and interval in percent."""
    low, high = max(0.0, top1.low), min(1.0, top1.high)  # no accuracy lies outside
    return f"{100 * top1.value:.2f}", "" if math.isnan(top1.low) else f"{100 * low:.1f} to {100 * high:.1f}"


def _row(cell: Cell) -> tuple[str, ...]:
    failed = [r for r in cell.records if r.status != "done"]
    if not cell.done:
        reason = (failed[0].error or {}).get("kind", "unknown")
        return (cell.task, cell.method, f"failed: {reason}", "", "0", "", "", "", "")
    return (
        cell.task,
        cell.method,
        *_estimate(cell.top1),
        str(cell.top1.n) + (f" ({len(failed)} failed)" if failed else ""),
        _params(cell.done),
        f"{median(r.cost['step_ms'] for r in cell.done):.1f}",
        f"{median(latency_ratio(r) for r in cell.done):.2f}",
        _merge([r.merge for r in cell.done if r.merge]),
    )


def _params(done: Sequence[Record]) -> str:
    mean_size = fmean(r.params["method"] or 0 for r in done)
    supernet = done[0].params["supernet"]
    return f"{mean_size:,.0f}" + (f" [{supernet:,}]" if supernet else "")


def _merge(certificates: Sequence[dict[str, Any]]) -> str:
    if not all(c["mergeable"] for c in certificates):
        return "no"
    flipped = sum(c["flipped"] for c in certificates)
    largest = max((c["max_abs_diff"] for c in certificates), default=0.0)
    return f"{largest:.0e}" + (f", {flipped} flipped" if flipped else "")


def latency_ratio(r: Record) -> float:
    """Latency of what would be deployed (merged, where it can be) relative to the plain backbone, batch 64."""
    timing = r.cost["latency_ms"]["batch_64"]
    return timing.get("merged", timing["unmerged"])["median"] / timing["plain"]["median"]


def findings(records: Iterable[Record]) -> list[str]:
    """For each task, how every other method compares with the best one, from paired outcomes."""
    grouped: dict[str, list[Cell]] = {}
    for cell in cells(records):
        if cell.done:
            grouped.setdefault(cell.task, []).append(cell)
    said = []
    for task, group in grouped.items():
        best = max(group, key=lambda cell: cell.top1.value)
        told = [_against(best, cell) for cell in group if cell is not best]
        said.append(f"{task}: best is {best.method}" + (f"; {'; '.join(told)}" if told else ""))
    return said


def _against(best: Cell, other: Cell) -> str:
    pairs = [
        (unpack(a.outcomes), unpack(b.outcomes))
        for a in best.done
        for b in other.done
        if a.config["seed"] == b.config["seed"] and a.outcomes and b.outcomes
    ]
    if not pairs:
        return f"{other.method} shares no seed with it"
    d = stats.paired_difference([a for a, _ in pairs], [b for _, b in pairs])
    span = f"{100 * d.value:.2f} points (95 % interval {100 * d.low:.2f} to {100 * d.high:.2f})"
    return f"{other.method} is {span} behind" if d.excludes_zero else f"{other.method} is tied with it: {span}"
