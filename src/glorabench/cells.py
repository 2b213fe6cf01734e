"""Cells: records grouped by configuration, what the configurations are called, and which records compare."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glorabench import stats
from glorabench.errors import BadInput
from glorabench.record import Record, identity

INHERITED = "inherited"  # said of a winner with the weights of its supernet
MARK = "[chosen on test]"  # behind the name of what saw the test split before it was scored there


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

    @property
    def contaminated(self) -> bool:
        """True when something was chosen on the test split: its top-1 is no estimate."""
        return contaminated(self.records)


def inherits(config: Mapping[str, Any]) -> bool:
    """True for a searched run whose weights are those of its supernet."""
    return (config.get("search") or {}).get("winner") == "inherit"


def contaminated(records: Iterable[Record]) -> bool:
    """True when one of the records says that something was chosen on the test split."""
    return any(r.selection.get("contaminated") for r in records)


def cells(records: Iterable[Record]) -> list[Cell]:
    """Records grouped by everything but the seed, in the order of tasks and methods as they came.

    Raises:
        BadInput: records of different protocols, selections, backbones or data would share a table.
    """
    records = list(records)
    refuse_mixtures(records)
    groups: dict[str, list[Record]] = {}
    for r in records:
        groups.setdefault(json.dumps(_identity(r.config), sort_keys=True), []).append(r)
    # by seed: the same records give the same bootstrap in whatever order they were read
    members = [sorted(group, key=lambda r: r.config["seed"]) for group in groups.values()]
    labels = _labels([group[0].config for group in members])
    marks = [f" {MARK}" if contaminated(group) else "" for group in members]
    named = zip(members, labels, marks, strict=True)
    made = [Cell(group[0].names["task"], label + mark, tuple(group)) for group, label, mark in named]
    tasks = list(dict.fromkeys(cell.task for cell in made))
    return sorted(made, key=lambda cell: tasks.index(cell.task))


def comparable(records: Iterable[Record]) -> list[list[Record]]:
    """The records in groups of one protocol, selection and backbone each: what a table can hold."""
    groups: dict[str, list[Record]] = {}
    for r in records:
        groups.setdefault(_kind(r), []).append(r)
    return list(groups.values())


def _kind(r: Record) -> str:
    selection = {key: value for key, value in r.config["selection"].items() if key != "tuned_on"}  # MARK says it
    return json.dumps([r.protocol, selection, r.names["backbone"]], sort_keys=True)


def refuse_mixtures(records: Sequence[Record]) -> None:
    """Check that numbers of the records can stand beside each other.

    Raises:
        BadInput: they differ in protocol, selection or backbone, or in data or precision on one task.
    """
    kinds = {_kind(r): r.run_id for r in reversed(records)}
    if len(kinds) > 1:
        clash = "; ".join(f"{run_id}: {kind}" for kind, run_id in kinds.items())
        raise BadInput(f"these records do not compare (protocol, selection, backbone differ): {clash}")
    fake = {bool(r.provenance["data"].get("fake")): r.run_id for r in records if "data" in r.provenance}
    if len(fake) > 1:
        raise BadInput(f"{fake[True]} was made on fake images (glorabench data fake), {fake[False]} on real ones")
    first: dict[tuple[str, str, int | None], Record] = {}
    for r in records:
        for what in {"data", "precision"} & set(r.provenance):
            one = first.setdefault((what, r.names["task"], r.config["data"].get("split_seed")), r)
            if r.provenance[what] != one.provenance[what]:
                clash = "; ".join(f"{x.run_id}: {x.provenance[what]}" for x in (one, r))
                raise BadInput(f"these records of {r.names['task']} differ in {what}: {clash}")


def _identity(config: dict[str, Any]) -> dict[str, Any]:
    """What the seeds of a configuration share; which shots a seed draws is part of the seed."""
    kept = {key: value for key, value in identity(config).items() if key != "seed"}
    return kept | {"data": {k: v for k, v in kept["data"].items() if k not in ("split_seed", "sha256")}}


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """What makes a configuration: dotted keys and values of everything that can move a number, but the seed."""
    return _flat(_identity(config))


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(node, dict):
        return {prefix: node}
    return {k: v for key, value in node.items() for k, v in _flat(value, f"{prefix}.{key}" if prefix else key).items()}


def _labels(configs: Sequence[dict[str, Any]]) -> list[str]:
    """The method's name and search, with the values that tell apart several configurations of them on one task."""
    flats = [settings(config) for config in configs]
    labels = []
    for config, flat in zip(configs, flats, strict=True):
        same = [f for c, f in zip(configs, flats, strict=True) if c["names"] == config["names"]]
        keys = sorted({k for f in same for k in f if any(f.get(k) != other.get(k) for other in same)})
        weights = {(f.get("backbone.weights_from"), f.get("backbone.sha256")) for f in same}
        if "backbone.sha256" in keys and len({name for name, _ in weights}) == len(weights):
            keys.remove("backbone.sha256")  # the name of the file tells them apart already
        told = ", ".join(f"{k.removeprefix('method.')}={flat.get(k)}" for k in keys if k != "search.winner")
        names = [config["names"].get(group) for group in ("method", "search")]
        label = " + ".join(filter(None, names)) + (f", {INHERITED}" if inherits(config) else "")
        labels.append(label + (f" ({told})" if told else ""))
    return labels
