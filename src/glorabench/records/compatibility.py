"""Which records may stand in one table, and what makes two runs one configuration."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from glorabench.errors import BadInput
from glorabench.records.record import Record, identity

MARK = "[chosen on test]"  # behind the name of a configuration that chose something on the test split


def any_contaminated(records: Iterable[Record]) -> bool:
    """True when one of the records says that something was chosen on the test split."""
    return any(r.selection.get("contaminated") for r in records)


def draw_of(r: Record) -> tuple[int, int]:
    """The seed of a run, and the seed of its few-shot split; -1 without one."""
    return r.config["seed"], r.config["data"].get("split_seed", -1)


def comparable_groups(records: Iterable[Record]) -> list[list[Record]]:
    """Group records by protocol, selection and backbone: a table can hold one group."""
    groups: dict[str, list[Record]] = {}
    for r in records:
        groups.setdefault(_group_key(r), []).append(r)
    return list(groups.values())


def _group_key(r: Record) -> str:
    selection = {key: value for key, value in r.config["selection"].items() if key != "tuned_on"}  # MARK says it
    return json.dumps([r.protocol, selection, r.names["backbone"]], sort_keys=True)


def refuse_mixtures(records: Sequence[Record]) -> None:
    """Check that numbers of the records can stand beside each other.

    Raises:
        BadInput: they differ in protocol, selection or backbone, in data or precision on one task, or in preprocessing
            or extraction on the tasks of one suite.
    """
    group_keys = {_group_key(r): r.run_id for r in reversed(records)}
    if len(group_keys) > 1:
        clash = "; ".join(f"{run_id}: {kind}" for kind, run_id in group_keys.items())
        raise BadInput(f"these records do not compare (protocol, selection, backbone differ): {clash}")
    fake = {bool(r.provenance["data"].get("fake")): r.run_id for r in records if "data" in r.provenance}
    if len(fake) > 1:
        raise BadInput(f"{fake[True]} was made on fake data (glorabench data fake), {fake[False]} on real ones")
    _refuse_mixed_metrics(records)
    firsts: dict[tuple[str, str, int | None], Record] = {}
    for r in records:
        for key in {"data", "precision"} & set(r.provenance):
            first_record = firsts.setdefault((key, r.names["task"], r.config["data"].get("split_seed")), r)
            if r.provenance[key] != first_record.provenance[key]:
                clash = "; ".join(f"{x.run_id}: {x.provenance[key]}" for x in (first_record, r))
                raise BadInput(f"these records of {r.names['task']} differ in {key}: {clash}")
    _refuse_mixed_images(records)


def _refuse_mixed_metrics(records: Sequence[Record]) -> None:
    """Check that each task has one metric that decides."""
    firsts: dict[str, Record] = {}
    for r in records:
        if r.measures:
            first_record = firsts.setdefault(r.names["task"], r)
            if (r.metric.name, r.metric.unit, r.metric.higher_is_better) != (
                first_record.metric.name,
                first_record.metric.unit,
                first_record.metric.higher_is_better,
            ):
                clash = "; ".join(f"{x.run_id}: {x.metric.heading}" for x in (first_record, r))
                raise BadInput(f"these records of {r.names['task']} differ in their metric: {clash}")


def _refuse_mixed_images(records: Sequence[Record]) -> None:
    """Check that each suite has one preprocessing and one extraction; else a mean over its tasks has no meaning."""
    firsts: dict[tuple[str, str | None], Record] = {}
    for r in records:
        data = r.provenance.get("data", {})
        for key in ("preprocess", "extraction"):
            if data.get(key) is None:
                continue
            first_record = firsts.setdefault((key, data.get("suite")), r)
            if data[key] != first_record.provenance["data"][key]:
                lines = (f"{x.run_id} ({x.names['task']}): {x.provenance['data'][key]}" for x in (first_record, r))
                raise BadInput(f"these records of suite {data.get('suite')} differ in {key}: {'; '.join(lines)}")


def configuration_of(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a config that all seeds of a configuration share; a few-shot split is part of the seed."""
    settings = {key: value for key, value in identity(config).items() if key not in ("seed", "trained_run")}
    data = {key: value for key, value in settings["data"].items() if key not in ("split_seed", "sha256")}
    return settings | {"data": data}


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """The settings of a configuration: dotted keys and values of all that can move a number, except the seed."""
    return flatten(configuration_of(config))


def flatten(node: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted keys and values of nested mappings."""
    if not isinstance(node, dict):
        return {prefix: node}
    leaves: dict[str, Any] = {}
    for key, value in node.items():
        leaves |= flatten(value, f"{prefix}.{key}" if prefix else key)
    return leaves
