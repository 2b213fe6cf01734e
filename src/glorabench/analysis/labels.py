"""Name configurations: the method's name, and the values that tell it apart from others on the same task."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

INHERITED = "inherited"  # said of a winner with the weights of its supernet
TUNED = "selection.tuned_on"
_VERSION = "search.version"
PUBLISHED = "published values"  # said of values that were chosen on the test split by whoever published them
# keys that `recipe` may give each task a value of its own for, beside those of the method (docs/recipes.md)
_BY_TASK = (
    *(f"train.{key}" for key in ("lr", "weight_decay", "drop_path", "warmup_lr", "end_lr")),
    *("backbone.drop_path", TUNED),  # the backbone takes that of train
)


@dataclass(frozen=True)
class Labels:
    """What a configuration is called, see `cells.Cell`."""

    method: str
    row: str


def inherits(config: Mapping[str, Any]) -> bool:
    """True for a searched run whose weights are those of its supernet."""
    return (config.get("search") or {}).get("winner") == "inherit"


def of_recipe(key: str) -> bool:
    """True for a dotted key that may differ from task to task in what is one configuration."""
    return key.startswith("method.") or key in _BY_TASK


def differing(flats: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """In what the configurations of one row differ beside data, names and what a recipe has for each task.

    Args:
        flats: their settings, by task.
    """
    said = []
    for key in sorted({key for flat in flats.values() for key in flat}):
        values: dict[str, list[str]] = {}
        for task, flat in flats.items():
            values.setdefault(str(flat.get(key)), []).append(task)
        if len(values) > 1 and not of_recipe(key) and not key.startswith(("data.", "names.")):
            said.append(f"{key} is " + ", ".join(f"{value} ({', '.join(tasks)})" for value, tasks in values.items()))
    return said


def labels_of(configs: Sequence[Mapping[str, Any]], flats: Sequence[Mapping[str, Any]]) -> list[Labels]:
    """The method's name and search, with the values that tell apart several configurations of them on one task.

    Args:
        configs: of the records, one for each configuration.
        flats: their settings (see `compatibility.settings`).
    """
    families: dict[str, list[int]] = {}
    for index, config in enumerate(configs):
        names = {group: name for group, name in config["names"].items() if group != "task"}
        families.setdefault(json.dumps(names, sort_keys=True), []).append(index)
    labels: dict[int, Labels] = {}
    for members in families.values():
        family = [flats[i] for i in members]
        by_method, by_row = (_distinctions(family, by_task) for by_task in (False, True))
        for index, method, row in zip(members, by_method, by_row, strict=True):
            labels[index] = Labels(_label(configs[index], method), _label(configs[index], row))
    return [labels[index] for index in range(len(configs))]


def _label(config: Mapping[str, Any], distinctions: Sequence[str]) -> str:
    names = [config["names"].get(group) for group in ("method", "search")]
    label = " + ".join(filter(None, names)) + (f", {INHERITED}" if inherits(config) else "")
    return f"{label} ({', '.join(distinctions)})" if distinctions else label


def _differing_keys(flats: Iterable[Mapping[str, Any]]) -> set[str]:
    """The keys in which configurations on the same task differ, on any task."""
    tasks: dict[str, list[Mapping[str, Any]]] = {}
    for flat in flats:
        tasks.setdefault(flat["names.task"], []).append(flat)
    keys = set()
    for first, *others in tasks.values():
        for flat in others:
            keys |= {key for key in {*flat, *first} if flat.get(key) != first.get(key)}
    return keys


def _distinctions(family: Sequence[Mapping[str, Any]], by_task: bool) -> list[list[str]]:
    """What tells each configuration of one method apart.

    Who chose the values says it for those of a recipe: a label with the values would be another one on every task.

    Args:
        family: the settings of each configuration.
        by_task: say `rank by task` of a value that `recipe` gives to each task.
    """
    keys = _differing_keys(family)
    if len({flat.get(_VERSION) for flat in family}) > 1:
        keys.add(_VERSION)  # also where each task has one: no row is of two
    obvious = _obvious_keys(family)
    tuned_key = [TUNED] if TUNED in keys else []
    plain_keys = {key for key in keys if not of_recipe(key)}
    keys_of: dict[str, set[str]] = {}
    varying: dict[str, dict[int, set[str]]] = {}
    for tuning, members in _grouped(family, tuned_key).items():
        keys_of[tuning] = (plain_keys | _differing_keys(members)) - obvious
        varying[tuning] = _keys_by_task(members, keys_of[tuning]) if by_task else {}
    distinctions = []
    for flat in family:
        tuning = _values(flat, tuned_key)
        words = [PUBLISHED] if tuned_key and flat.get(TUNED) is not None else []
        for name, key in ((key.removeprefix("method."), key) for key in sorted(keys_of[tuning])):
            of_task = key in varying[tuning].get(id(flat), ())
            words.append(f"{name} by task" if of_task else f"{name}={_text(flat.get(key))}")
        distinctions.append(words)
    return distinctions


def _obvious_keys(family: Sequence[Mapping[str, Any]]) -> set[str]:
    """Keys that need not be said: the label has the winner, and the name of a file stands for its hash."""
    weights = {(flat.get("backbone.weights_from"), flat.get("backbone.sha256")) for flat in family}
    names = {name for name, _ in weights}
    return {"search.winner", "backbone.sha256"} if len(names) == len(weights) else {"search.winner"}


def _text(value: Any) -> str:
    """As a command line takes it: `[q,v]`."""
    return f"[{','.join(map(_text, value))}]" if isinstance(value, list) else str(value)


def _values(flat: Mapping[str, Any], keys: Iterable[str]) -> str:
    return json.dumps([flat.get(key) for key in keys])


def _grouped(flats: Iterable[Mapping[str, Any]], keys: Sequence[str]) -> dict[str, list[Mapping[str, Any]]]:
    """The configurations by their values of some keys."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for flat in flats:
        groups.setdefault(_values(flat, keys), []).append(flat)
    return groups


def _keys_by_task(family: Sequence[Mapping[str, Any]], keys: set[str]) -> dict[int, set[str]]:
    """The keys of a recipe whose value is another one on each task.

    A configuration whose values stand on every task needs no such word; one that stands on a few tasks alone has values
    of its own there, and all of those with different tasks are one row.

    Returns:
        By the id of a configuration; most are not in it.
    """
    recipe_keys = sorted(key for key in keys if of_recipe(key))
    other_keys = sorted(key for key in keys if not of_recipe(key))
    result: dict[int, set[str]] = {}
    for peers in _grouped(family, other_keys).values():
        task_count = len({flat["names.task"] for flat in peers})
        partial = []  # configurations that are not on every task
        for same in _grouped(peers, recipe_keys).values():
            if len({flat["names.task"] for flat in same}) < task_count:
                partial += same
        if len({flat["names.task"] for flat in partial}) < len(partial):
            continue  # two on one task are two rows
        differing_keys = {key for key in recipe_keys if any(f.get(key) != partial[0].get(key) for f in partial)}
        result |= {id(flat): differing_keys for flat in partial}
    return result
