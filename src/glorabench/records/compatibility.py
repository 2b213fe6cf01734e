"""Which records may stand in one table, and what makes two runs one configuration."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from glorabench.errors import BadInput
from glorabench.records.record import Record, identity

MARK = "[chosen on test]"  # behind the name of what saw the test split before it was scored there


def any_contaminated(records: Iterable[Record]) -> bool:
    """True when one of the records says that something was chosen on the test split."""
    return any(r.selection.get("contaminated") for r in records)


def draw_of(r: Record) -> tuple[int, int]:
    """The seed of a run, and that of its shots."""
    return r.config["seed"], r.config["data"].get("split_seed", -1)


def comparable_groups(records: Iterable[Record]) -> list[list[Record]]:
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
        BadInput: they differ in protocol, selection or backbone, in data or precision on one task, or in preprocessing
            or extraction on the tasks of one suite.
    """
    kinds = {_kind(r): r.run_id for r in reversed(records)}
    if len(kinds) > 1:
        clash = "; ".join(f"{run_id}: {kind}" for kind, run_id in kinds.items())
        raise BadInput(f"these records do not compare (protocol, selection, backbone differ): {clash}")
    fake = {bool(r.provenance["data"].get("fake")): r.run_id for r in records if "data" in r.provenance}
    if len(fake) > 1:
        raise BadInput(f"{fake[True]} was made on fake images (glorabench data fake), {fake[False]} on real ones")
    _refuse_mixed_metrics(records)
    first: dict[tuple[str, str, int | None], Record] = {}
    for r in records:
        for what in {"data", "precision"} & set(r.provenance):
            one = first.setdefault((what, r.names["task"], r.config["data"].get("split_seed")), r)
            if r.provenance[what] != one.provenance[what]:
                clash = "; ".join(f"{x.run_id}: {x.provenance[what]}" for x in (one, r))
                raise BadInput(f"these records of {r.names['task']} differ in {what}: {clash}")
    _refuse_mixed_images(records)


def _refuse_mixed_metrics(records: Sequence[Record]) -> None:
    """One task is decided by one metric."""
    first: dict[str, Record] = {}
    for r in records:
        if r.measures:
            one = first.setdefault(r.names["task"], r)
            if (r.metric.name, r.metric.unit, r.metric.higher_is_better) != (
                one.metric.name,
                one.metric.unit,
                one.metric.higher_is_better,
            ):
                clash = "; ".join(f"{x.run_id}: {x.metric.heading}" for x in (one, r))
                raise BadInput(f"these records of {r.names['task']} differ in their metric: {clash}")


def _refuse_mixed_images(records: Sequence[Record]) -> None:
    """One suite has one preprocessing and one extraction: a mean over its tasks is of nothing otherwise."""
    first: dict[tuple[str, str | None], Record] = {}
    for r in records:
        data = r.provenance.get("data", {})
        for what in ("preprocess", "extraction"):
            if data.get(what) is None:
                continue
            one = first.setdefault((what, data.get("suite")), r)
            if data[what] != one.provenance["data"][what]:
                told = (f"{x.run_id} ({x.names['task']}): {x.provenance['data'][what]}" for x in (one, r))
                raise BadInput(f"these records of suite {data.get('suite')} differ in {what}: {'; '.join(told)}")


def configuration_of(config: dict[str, Any]) -> dict[str, Any]:
    """What the seeds of a configuration share; which shots a seed draws is part of the seed."""
    kept = {key: value for key, value in identity(config).items() if key != "seed"}
    return kept | {"data": {k: v for k, v in kept["data"].items() if k not in ("split_seed", "sha256")}}


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """What makes a configuration: dotted keys and values of everything that can move a number, but the seed."""
    return flat(configuration_of(config))


def flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted keys and values of nested mappings."""
    if not isinstance(node, dict):
        return {prefix: node}
    return {k: v for key, value in node.items() for k, v in flat(value, f"{prefix}.{key}" if prefix else key).items()}
