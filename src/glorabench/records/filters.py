"""Choose records by conditions on their configs, in the words of a command line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from glorabench.errors import BadInput, first_line, nearest
from glorabench.records.compatibility import flatten
from glorabench.records.record import Record

_POWER = re.compile(r"[+-]?\d+e[+-]?\d+", re.IGNORECASE)  # 1e-3, which YAML reads as text
_MAX_IDS = 4  # ids that a message names for each value


def parse_conditions(words: Sequence[str]) -> dict[str, Any]:
    """Parse conditions from the words KEY=VALUE of a command line; see `_value`.

    Raises:
        BadInput: a word is no condition, or a key comes twice.
    """
    conditions: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not key or not equals:
            raise BadInput(f"'{word}' is no condition: KEY=VALUE, for example method=lora,glora")
        if key in conditions:
            raise BadInput(f"{key} is given twice: list its values ({key}=A,B)")
        conditions[key] = _value(key, text)
    return conditions


def _value(key: str, text: str) -> Any:
    """Parse the value of `key=text` as YAML; `A,B` means any of A and B.

    Raises:
        BadInput: the text is no YAML.
    """
    try:
        value = _plain(text)
        if isinstance(value, str) and "," in value:
            return [_plain(part) for part in value.split(",")]
        json.dumps(value, allow_nan=False)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise BadInput(f"{key}={text[:200]}: {first_line(error)}") from error
    return [value] if isinstance(value, list) else value  # a list in YAML is one value; A,B are several values


def _plain(text: str) -> Any:
    return float(text) if _POWER.fullmatch(text.strip()) else yaml.safe_load(text)


def filter_records(records: Iterable[Record], conditions: Mapping[str, Any]) -> list[Record]:
    """The records that meet all conditions, of any number of configurations; see `comparison.select`.

    Raises:
        BadInput: nothing matches; the message names the key.
    """
    matches = list(records)
    if not matches:
        raise BadInput("there are no records to choose from")
    for key, value in conditions.items():
        narrower = [r for r in matches if _matches(_setting(r, key), value)]
        if not narrower:
            raise BadInput(f"no record has {conditions_text({key: value})}{_instead(matches, key, conditions)}")
        matches = narrower
    return matches


def one_protocol(records: Sequence[Record]) -> None:
    """Check that the records are of one protocol and one selection, as all of a table must be.

    Raises:
        BadInput: they differ; the message names them and the key.
    """
    selection_keys: dict[str, None] = {}
    for r in records:  # a mark stands for `tuned_on`
        selection_keys |= {f"selection.{key}": None for key in r.config["selection"] if key != "tuned_on"}
    for key in ("protocol", *selection_keys):
        by_value: dict[str, list[str]] = {}
        for r in records:
            by_value.setdefault(_text(_setting(r, key)), []).append(r.run_id)
        if len(by_value) > 1:
            clash = "; ".join(f"{value}: {_first_ids(ids)}" for value, ids in by_value.items())
            words = " or ".join(f"{key}={value}" for value in by_value)
            raise BadInput(f"these records differ in {key}, so no table holds them all ({clash}): choose with {words}")


def conditions_text(conditions: Mapping[str, Any]) -> str:
    """Conditions as text: `method=lora, method.rank=4 or 8`."""
    words = []
    for key, value in conditions.items():
        words.append(f"{key}={values_text(value) if isinstance(value, list) else _text(value)}")
    return ", ".join(words)


def _matches(value: Any, condition: Any) -> bool:
    return value == condition or (isinstance(condition, list) and value in condition)


def _setting(r: Record, key: str) -> Any:
    """The value of a dotted key, the name of a config group, protocol or status; None where there is none."""
    node: Any = {"protocol": r.protocol, "status": r.status, **r.config}
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return r.names.get(key, node) if isinstance(node, Mapping) else node


def _instead(records: Sequence[Record], key: str, conditions: Mapping[str, Any]) -> str:
    """The end of a message: the values that the records have, or the nearest key."""
    values = [_setting(r, key) for r in records]
    names = {name for r in records for name in (*flatten(r.config), *r.names)} | {"protocol", "status"}
    if all(value is None for value in values):
        return f": none has the key{nearest(key, names)}"
    earlier = {name: conditions[name] for name in list(conditions)[: list(conditions).index(key)]}
    return f": {'those with ' + conditions_text(earlier) if earlier else 'they'} have {values_text(values)}"


def _first_ids(ids: Sequence[str]) -> str:
    rest = f" and {len(ids) - _MAX_IDS} more" if len(ids) > _MAX_IDS else ""
    return ", ".join(ids[:_MAX_IDS]) + rest


def values_text(values: Iterable[Any]) -> str:
    """Values as text, each of them once: `4 or 8`."""
    return " or ".join(dict.fromkeys(map(_text, values)))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
