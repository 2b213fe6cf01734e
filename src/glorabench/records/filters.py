"""Choose records by what their configs say, in the words of a command line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from glorabench.errors import BadInput, first_line, nearest
from glorabench.records.compatibility import flat
from glorabench.records.record import Record

_POWER = re.compile(r"[+-]?\d+e[+-]?\d+", re.IGNORECASE)  # 1e-3, which YAML takes for a word
_SHOWN = 4  # ids that a message names for each value


def parse_conditions(words: Sequence[str]) -> dict[str, Any]:
    """The conditions that the words KEY=VALUE of a command line say; see `_value`.

    Raises:
        BadInput: a word is none, or a key comes twice.
    """
    made: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not key or not equals:
            raise BadInput(f"'{word}' is no condition: KEY=VALUE, for example method=lora,glora")
        if key in made:
            raise BadInput(f"{key} is given twice: list its values ({key}=A,B)")
        made[key] = _value(key, text)
    return made


def _value(key: str, text: str) -> Any:
    """The value of `key=text`: YAML, of which `A,B` is any of A and B.

    Raises:
        BadInput: no YAML.
    """
    try:
        value = _plain(text)
        if isinstance(value, str) and "," in value:
            return [_plain(part) for part in value.split(",")]
        json.dumps(value, allow_nan=False)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise BadInput(f"{key}={text[:200]}: {first_line(error)}") from error
    return [value] if isinstance(value, list) else value  # a list is one value; any of several are A,B


def _plain(text: str) -> Any:
    return float(text) if _POWER.fullmatch(text.strip()) else yaml.safe_load(text)


def matching(records: Iterable[Record], where: Mapping[str, Any]) -> list[Record]:
    """The records that meet all conditions, of however many configurations; see `comparison.select`.

    Raises:
        BadInput: nothing matches, with the key.
    """
    found = list(records)
    if not found:
        raise BadInput("there are no records to choose from")
    for key, wanted in where.items():
        kept = [r for r in found if _matches(_setting(r, key), wanted)]
        if not kept:
            raise BadInput(f"no record has {conditions_text({key: wanted})}{_instead(found, key, where)}")
        found = kept
    return found


def one_protocol(records: Sequence[Record]) -> None:
    """Check that the records are of one protocol and one selection, as all of a table must be.

    Raises:
        BadInput: they are not; names them, by what differs.
    """
    chosen = {f"selection.{key}": None for r in records for key in r.config["selection"] if key != "tuned_on"}  # marked
    for key in ("protocol", *chosen):
        by_value: dict[str, list[str]] = {}
        for r in records:
            by_value.setdefault(_text(_setting(r, key)), []).append(r.run_id)
        if len(by_value) > 1:
            clash = "; ".join(f"{value}: {_some(ids)}" for value, ids in by_value.items())
            ways = " or ".join(f"{key}={value}" for value in by_value)
            raise BadInput(f"these records differ in {key}, so no table holds them all ({clash}): choose with {ways}")


def conditions_text(where: Mapping[str, Any]) -> str:
    """Conditions as text: `method=lora, method.rank=4 or 8`."""
    return ", ".join(f"{k}={values_text(v) if isinstance(v, list) else _text(v)}" for k, v in where.items())


def _matches(value: Any, wanted: Any) -> bool:
    return value == wanted or (isinstance(wanted, list) and value in wanted)


def _setting(r: Record, key: str) -> Any:
    """The value of a dotted key of the config, the name of a group, the protocol, or None."""
    node: Any = {"protocol": r.protocol, **r.config}
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return r.names.get(key, node) if isinstance(node, Mapping) else node


def _instead(found: Sequence[Record], key: str, where: Mapping[str, Any]) -> str:
    """End of a message: what the records have there, or the nearest key."""
    held = [_setting(r, key) for r in found]
    known = {k for r in found for k in (*flat(r.config), *r.names)} | {"protocol"}
    if all(value is None for value in held):
        return f": none has the key{nearest(key, known)}"
    before = {k: where[k] for k in list(where)[: list(where).index(key)]}
    return f": {'those with ' + conditions_text(before) if before else 'they'} have {values_text(held)}"


def _some(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return ", ".join(ids[:_SHOWN]) + more


def values_text(found: Iterable[Any]) -> str:
    """Each once, in words."""
    return " or ".join(dict.fromkeys(map(_text, found)))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
