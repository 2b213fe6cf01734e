"""Name configurations: the method's name, and the values that tell it apart from others on the same task."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glorabench.analysis.names import INHERITED, human_names

TUNED = "selection.tuned_on"
_VERSION = "search.version"
PUBLISHED = "published values"  # marks values that their publishers chose on the test split
# keys, beside those of the method, for which `recipe` may give each task another value (docs/recipes.md)
_BY_TASK = (
    *(f"train.{key}" for key in ("lr", "weight_decay", "drop_path", "warmup_lr", "end_lr")),
    *("backbone.drop_path", TUNED),  # the backbone takes the value of train
)


@dataclass(frozen=True)
class CellLabels:
    """The names of a configuration, in words of the config and for people; see `cells.Cell`."""

    method: str
    row: str
    name: str
    row_name: str


def inherits(config: Mapping[str, Any]) -> bool:
    """True for a searched run that takes its weights from its supernet."""
    return (config.get("search") or {}).get("winner") == "inherit"


def is_recipe_key(key: str) -> bool:
    """True for a dotted key that may differ from task to task within one configuration."""
    return key.startswith("method.") or key in _BY_TASK


def setting_differences(flats: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The settings in which the configurations of one row differ, except data, names and keys of a recipe.

    Args:
        flats: their settings, by task.
    """
    lines = []
    for key in sorted({key for flat in flats.values() for key in flat}):
        values: dict[str, list[str]] = {}
        for task, flat in flats.items():
            values.setdefault(str(flat.get(key)), []).append(task)
        if len(values) > 1 and not is_recipe_key(key) and not key.startswith(("data.", "names.")):
            lines.append(f"{key} is " + ", ".join(f"{value} ({', '.join(tasks)})" for value, tasks in values.items()))
    return lines


def labels_of(configs: Sequence[Mapping[str, Any]], flats: Sequence[Mapping[str, Any]]) -> list[CellLabels]:
    """Name configurations by method and search, and by the values that tell several of them apart on one task.

    Args:
        configs: the config of one record of each configuration.
        flats: their settings (see `compatibility.settings`).
    """
    families: dict[str, list[int]] = {}
    for index, config in enumerate(configs):
        names = {group: name for group, name in config["names"].items() if group != "task"}
        families.setdefault(json.dumps(names, sort_keys=True), []).append(index)
    labels: dict[int, CellLabels] = {}
    for members in families.values():
        family = [flats[i] for i in members]
        by_method, by_row = (_distinctions(family, by_task) for by_task in (False, True))
        names, row_names = (human_names([configs[i] for i in members], words) for words in (by_method, by_row))
        for place, index in enumerate(members):
            method, row = (_label(configs[index], words[place]) for words in (by_method, by_row))
            labels[index] = CellLabels(method, row, names[place], row_names[place])
    return [labels[index] for index in range(len(configs))]


def _label(config: Mapping[str, Any], distinctions: Sequence[str]) -> str:
    names = [config["names"].get(group) for group in ("method", "search")]
    label = " + ".join(filter(None, names)) + (f", {INHERITED}" if inherits(config) else "")
    if optimizer := config["names"].get("optimizer"):  # another one than the usual
        label += f", {optimizer}"
    return f"{label} ({', '.join(distinctions)})" if distinctions else label


def _differing_keys(flats: Iterable[Mapping[str, Any]]) -> set[str]:
    """The keys in which configurations on the same task differ, for any task."""
    tasks: dict[str, list[Mapping[str, Any]]] = {}
    for flat in flats:
        tasks.setdefault(flat["names.task"], []).append(flat)
    keys = set()
    for first, *further in tasks.values():
        for flat in further:
            keys |= {key for key in {*flat, *first} if flat.get(key) != first.get(key)}
    return keys


def _distinctions(family: Sequence[Mapping[str, Any]], by_task: bool) -> list[list[str]]:
    """The words that tell each configuration of one method from the others.

    Values that a recipe sets are named by who chose them. A label with the values would differ from task to task.

    Args:
        family: the settings of each configuration.
        by_task: write `rank by task` for a value that `recipe` sets for each task.
    """
    keys = _differing_keys(family)
    if len({flat.get(_VERSION) for flat in family}) > 1:
        keys.add(_VERSION)  # also where each task has one version: no row mixes two
    obvious = _obvious_keys(family)
    tuned_key = [TUNED] if TUNED in keys else []
    plain_keys = {key for key in keys if not is_recipe_key(key)}
    keys_of: dict[str, set[str]] = {}
    keys_that_vary: dict[str, dict[int, set[str]]] = {}
    for tuning, members in _group_by(family, tuned_key).items():
        keys_of[tuning] = (plain_keys | _differing_keys(members)) - obvious
        keys_that_vary[tuning] = _keys_by_task(members, keys_of[tuning]) if by_task else {}
    distinctions = []
    for flat in family:
        tuning = _values(flat, tuned_key)
        words = [PUBLISHED] if tuned_key and flat.get(TUNED) is not None else []
        for name, key in ((key.removeprefix("method."), key) for key in sorted(keys_of[tuning])):
            of_task = key in keys_that_vary[tuning].get(id(flat), ())
            words.append(f"{name} by task" if of_task else f"{name}={_text(flat.get(key))}")
        distinctions.append(words)
    return distinctions


def _obvious_keys(family: Sequence[Mapping[str, Any]]) -> set[str]:
    """Keys that a label leaves out: it has the winner already, and the name of a file stands for its hash."""
    weights = {(flat.get("backbone.weights_from"), flat.get("backbone.sha256")) for flat in family}
    names = {name for name, _ in weights}
    return {"search.winner", "backbone.sha256"} if len(names) == len(weights) else {"search.winner"}


def _text(value: Any) -> str:
    """A value as a command line takes it: `[q,v]`."""
    return f"[{','.join(map(_text, value))}]" if isinstance(value, list) else str(value)


def _values(flat: Mapping[str, Any], keys: Iterable[str]) -> str:
    return json.dumps([flat.get(key) for key in keys])


def _group_by(flats: Iterable[Mapping[str, Any]], keys: Sequence[str]) -> dict[str, list[Mapping[str, Any]]]:
    """Group configurations by their values of some keys."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for flat in flats:
        groups.setdefault(_values(flat, keys), []).append(flat)
    return groups


def _keys_by_task(family: Sequence[Mapping[str, Any]], keys: set[str]) -> dict[int, set[str]]:
    """The recipe keys whose values change from task to task, for the configurations that have such keys.

    A configuration that has all tasks needs no such word. One that has only some of the tasks has its own values there,
    and all of those, on different tasks, make one row.

    Returns:
        The keys by the id of a configuration; most configurations are not in it.
    """
    recipe_keys = sorted(key for key in keys if is_recipe_key(key))
    other_keys = sorted(key for key in keys if not is_recipe_key(key))
    result: dict[int, set[str]] = {}
    for peers in _group_by(family, other_keys).values():
        task_count = len({flat["names.task"] for flat in peers})
        partial = []  # configurations that are not on every task
        for recipe_group in _group_by(peers, recipe_keys).values():
            if len({flat["names.task"] for flat in recipe_group}) < task_count:
                partial += recipe_group
        if len({flat["names.task"] for flat in partial}) < len(partial):
            continue  # two on one task are two rows
        differing_keys = {key for key in recipe_keys if any(flat.get(key) != partial[0].get(key) for flat in partial)}
        result |= {id(flat): differing_keys for flat in partial}
    return result
