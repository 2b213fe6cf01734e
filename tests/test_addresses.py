"""Addresses and ids that others rely on: conf/ and committed records name them, so they stay what they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from glorabench.records import record

ROOT = Path(__file__).parents[1]
RECORDS = [path for path in sorted((ROOT / "results").rglob("*.json")) if "runs" in path.parts]
FACES = ("glorabench.cli.main", "glorabench.export.load", "glorabench.backbones.vit_mini.vit_mini")  # users read them


def addresses(node: Any) -> Iterator[str]:
    """Every `_target_` in a tree of mappings and lists."""
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "_target_" and isinstance(value, str))
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from addresses(child)


@pytest.fixture(scope="module")
def records() -> dict[Path, dict[str, Any]]:
    return {path: json.loads(path.read_text()) for path in RECORDS}


def there(address: str) -> bool:
    """Whether an address is that of the module which defines the thing."""
    module, _, name = address.rpartition(".")
    return getattr(import_module(module), name).__module__ == module


def test_what_the_configuration_names_is_where_it_says() -> None:
    named = {a for path in (ROOT / "conf").rglob("*.yaml") for a in addresses(yaml.safe_load(path.read_text()))}
    assert len(named) > 20
    assert [address for address in sorted(named) if not there(address)] == []


def test_what_committed_records_name_is_where_they_say(records: dict[Path, dict[str, Any]]) -> None:
    named = {address for found in records.values() for address in addresses(found["config"])}
    assert len(named) > 15
    assert [address for address in sorted(named) if not there(address)] == []


def test_the_id_of_every_committed_record_is_the_hash_of_its_config(records: dict[Path, dict[str, Any]]) -> None:
    assert len(records) > 1000
    moved = [path for path, r in records.items() if record.run_id(r["config"], r["protocol"]) != r["run_id"]]
    assert moved == []


@pytest.mark.parametrize("address", FACES)
def test_what_is_told_to_users_is_there(address: str) -> None:
    module, _, name = address.rpartition(".")
    assert callable(getattr(import_module(module), name))
