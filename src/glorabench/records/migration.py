"""Migrate records of earlier releases to the present schema, with every number unchanged."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from glorabench.records.metrics import Metric

SCHEMA = 3
_ACCURACY = asdict(Metric("top1", "top-1"))  # the only metric of schema 2, which has several names there


def migrate(data: Any) -> Any:
    """Bring a record, as JSON gives it, to the present schema.

    Raises:
        ValueError: this release does not know the schema of the record.
    """
    if not isinstance(data, dict) or (schema := data.get("schema", SCHEMA)) == SCHEMA:
        return data
    if schema != 2:
        raise ValueError(f"schema {schema!r}, expected {SCHEMA}")
    return _from_2(data)


def _from_2(data: dict[str, Any]) -> dict[str, Any]:
    """Migrate schema 2. It had accuracy alone: `outcomes` were those of top1, `outcomes_of` those of further sets."""
    names = [name for name in data.get("metrics") or {} if name != "n"]
    sorted_names = sorted(names, key=lambda name: name != _ACCURACY["name"])  # the one that decides is first
    measures = [{**_ACCURACY, "name": name, "label": name} for name in sorted_names]
    if sorted_names[:1] == [_ACCURACY["name"]]:
        measures[0] = _ACCURACY
    outcomes = dict(data.get("outcomes_of") or {})
    if data.get("outcomes") is not None:
        outcomes[_ACCURACY["name"]] = data["outcomes"]
    upstream = data.get("upstream")
    if isinstance(upstream, dict):
        upstream = {**upstream, "metric": {**_ACCURACY, "name": "upstream", "label": "upstream"}}
    other_fields = {key: value for key, value in data.items() if key != "outcomes_of"}
    new = {"schema": SCHEMA, "measures": measures, "outcomes": outcomes, "upstream": upstream}
    return {**other_fields, **new, "cost": _cost(data.get("cost", {}))}


def _cost(cost: Any) -> Any:
    """Rename the images of each stage to examples."""
    stages = cost.get("stages") if isinstance(cost, dict) else None
    if not isinstance(stages, dict):
        return cost
    new_stages = {}
    for name, stage in stages.items():
        items = stage.items() if isinstance(stage, dict) else ()
        new_stages[name] = {"examples" if key == "images" else key: value for key, value in items} if items else stage
    return {**cost, "stages": new_stages}
