"""Group the records of one configuration into cells, and name the configurations."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glorabench.analysis import statistics
from glorabench.records import compatibility
from glorabench.records.compatibility import MARK, configuration_of, contaminated, draw_of, refuse_mixtures
from glorabench.records.record import Record

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
    def top1(self) -> statistics.Estimate:
        """Mean over seeds."""
        return statistics.mean([r.metrics["top1"] for r in self.done])

    @property
    def contaminated(self) -> bool:
        """True when something was chosen on the test split: its top-1 is no estimate."""
        return contaminated(self.records)


def cells(records: Iterable[Record], by_task: bool = False) -> list[Cell]:
    """Records grouped by everything but the seed, in the order of tasks and methods as they came.

    Args:
        records: a failed one does not count beside one of the same seed that is done, such as an earlier attempt.
        by_task: call a configuration whose values `recipe` gives to each task the same on all of them.

    Raises:
        BadInput: records of different protocols, selections, backbones or data would share a table.
    """
    records = list(records)
    for known, way, made in _MADE:
        if way == by_task and len(known) == len(records) and all(a is b for a, b in zip(known, records, strict=True)):
            return list(made)
    made = _cells(records, by_task)
    _MADE.append((records, by_task, made))
    return list(made)


# the last few: a table, its findings and its CSV ask for the same ones
_MADE: deque[tuple[list[Record], bool, list[Cell]]] = deque(maxlen=4)


def _cells(records: Sequence[Record], by_task: bool) -> list[Cell]:
    refuse_mixtures(records)
    groups: dict[str, list[Record]] = {}
    identities: dict[str, dict[str, Any]] = {}
    for r in records:
        own = configuration_of(r.config)
        groups.setdefault(key := json.dumps(own, sort_keys=True), []).append(r)
        identities.setdefault(key, own)
    # by seed: the same records give the same bootstrap in whatever order they were read
    members = [sorted(_settled(group), key=lambda r: r.config["seed"]) for group in groups.values()]
    labels = labels_of(
        [group[0].config for group in members], list(map(compatibility.flat, identities.values())), by_task
    )
    marks = [f" {MARK}" if contaminated(group) else "" for group in members]
    named = zip(members, labels, marks, strict=True)
    made = [Cell(group[0].names["task"], label + mark, tuple(group)) for group, label, mark in named]
    place = {task: i for i, task in enumerate(dict.fromkeys(cell.task for cell in made))}
    return sorted(made, key=lambda cell: place[cell.task])


def _settled(group: Sequence[Record]) -> list[Record]:
    """The results, and of each seed that has none one failure."""
    done = [r for r in group if r.status == "done"]
    failed, draws = {draw_of(r): r for r in group if r.status != "done"}, {draw_of(r) for r in done}
    return [*done, *(r for draw, r in failed.items() if draw not in draws)]


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


def labels_of(
    configs: Sequence[Mapping[str, Any]], flats: Sequence[Mapping[str, Any]], by_task: bool = False
) -> list[str]:
    """The method's name and search, with the values that tell apart several configurations of them on one task.

    Args:
        configs: of the records, one for each configuration.
        flats: their settings (see `compatibility.settings`).
        by_task: call a configuration whose values `recipe` gives to each task the same on all of them.
    """
    families: dict[str, list[int]] = {}
    for index, config in enumerate(configs):
        names = {group: name for group, name in config["names"].items() if group != "task"}
        families.setdefault(json.dumps(names, sort_keys=True), []).append(index)
    labels = [""] * len(configs)
    for members in families.values():
        for index, told in zip(members, _told([flats[i] for i in members], by_task), strict=True):
            names = [configs[index]["names"].get(group) for group in ("method", "search")]
            label = " + ".join(filter(None, names)) + (f", {INHERITED}" if inherits(configs[index]) else "")
            labels[index] = label + (f" ({', '.join(told)})" if told else "")
    return labels


def _apart(flats: Iterable[Mapping[str, Any]]) -> set[str]:
    """The keys in which configurations on the same task differ, on any task."""
    tasks: dict[str, list[Mapping[str, Any]]] = {}
    for flat in flats:
        tasks.setdefault(flat["names.task"], []).append(flat)
    return {k for first, *rest in tasks.values() for f in rest for k in {*f, *first} if f.get(k) != first.get(k)}


def _told(family: Sequence[Mapping[str, Any]], by_task: bool) -> list[list[str]]:
    """What tells each configuration of one method apart.

    Who chose the values says it for those of a recipe: a label with the values would be another one on every task.
    """
    keys = _apart(family)
    if len({flat.get(_VERSION) for flat in family}) > 1:
        keys.add(_VERSION)  # also where each task has one: no row is of two
    weights = {(flat.get("backbone.weights_from"), flat.get("backbone.sha256")) for flat in family}
    known = {"search.winner"}  # the label says it already, or the name of the file does
    known |= {"backbone.sha256"} if len({name for name, _ in weights}) == len(weights) else set()
    kins = _grouped(family, [TUNED] if TUNED in keys else [])
    own = {by: ({key for key in keys if not of_recipe(key)} | _apart(kin)) - known for by, kin in kins.items()}
    varying = {by: _varying(kin, own[by]) if by_task else {} for by, kin in kins.items()}
    told = []
    for flat in family:
        by = _values(flat, [TUNED] if TUNED in keys else [])
        said = [PUBLISHED] if TUNED in keys and flat.get(TUNED) is not None else []
        for name, key in ((key.removeprefix("method."), key) for key in sorted(own[by])):
            of_task = key in varying[by].get(id(flat), ())
            said.append(f"{name} by task" if of_task else f"{name}={_text(flat.get(key))}")
        told.append(said)
    return told


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


def _varying(kin: Sequence[Mapping[str, Any]], own: set[str]) -> dict[int, set[str]]:
    """By the id of a configuration: the keys that it has values of its own for on each task, beside others with one for
    all tasks. Most have none."""
    recipe, rest = [sorted(key for key in own if of_recipe(key) == so) for so in (True, False)]
    found: dict[int, set[str]] = {}
    for peers in _grouped(kin, rest).values():
        everywhere = len({f["names.task"] for f in peers})
        groups = _grouped(peers, recipe).values()
        alone = [f for same in groups if len({f["names.task"] for f in same}) < everywhere for f in same]
        if len({f["names.task"] for f in alone}) < len(alone):
            continue
        keys = {key for key in recipe if any(f.get(key) != alone[0].get(key) for f in alone)}
        found |= {id(f): keys for f in alone}
    return found
