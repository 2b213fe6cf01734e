"""Recipes: values that a method, and a task, has of its own. `${recipe:KEY,DEFAULT}` in conf/ is where they go in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from glorabench import schedules
from glorabench.errors import BadInput, nearest

_SHORTENED: set[str] = set()  # what composing has to say of warm-ups
_ASKED = re.compile(r"\$\{recipe:(\w+)\s*,")


def recipe(key: str, default: Any, *, _root_: DictConfig) -> Any:
    """`${recipe:scale,1.0}`: `recipe.<method>.scale` (of a mapping, the entry of the task), or else the default.

    Raises:
        BadInput: the mapping has no entry for the task.
    """
    method = OmegaConf.select(_root_, "names.method")
    given = OmegaConf.select(_root_, f"recipe.{method}.{key}")
    if not isinstance(given, DictConfig):
        return default if given is None else given
    task = OmegaConf.select(_root_, "data.task")
    if task not in given:
        known = ", ".join(map(str, given))
        raise BadInput(f"recipe.{method}.{key} has no value for task '{task}' (it has {known}): give {key} yourself")
    return given[task]


def warmup(wanted: float, *, _root_: DictConfig) -> float:
    """`${warmup:10}`: epochs of warm-up; half of the shortest training of a run that would end before they do."""
    lengths = [OmegaConf.select(_root_, key) for key in ("train.epochs", "search.epochs")]
    known = [epochs for epochs in lengths if type(epochs) is int and epochs > 0]  # what is none is refused later
    if not known:
        return wanted
    epochs = min(known)
    if (fitting := schedules.fitting_warmup(wanted, epochs)) != wanted:
        said = f"train.warmup_epochs is {fitting}: the {wanted} of the recipe do not fit into a training of {epochs}"
        _SHORTENED.add(said)
    return fitting


def shortened() -> list[str]:
    """What has been said of warm-ups that were shortened, each once; from then on nothing was."""
    said = sorted(_SHORTENED)
    _SHORTENED.clear()
    return said


OmegaConf.register_new_resolver("recipe", recipe, replace=True)
OmegaConf.register_new_resolver("warmup", warmup, replace=True)


def check(recipes: Any, method: str, methods: Iterable[str], asking: Iterable[Path]) -> None:
    """Refuse a recipe that would be ignored in silence.

    Args:
        recipes: the key `recipe` of a config.
        method: the chosen one.
        methods: all that there are.
        asking: the files that may hold `${recipe:KEY,DEFAULT}`.

    Raises:
        BadInput: it is no mapping, it names no method, or a key of the chosen method that none of the files asks for.
    """
    if recipes is None:
        return
    if not isinstance(recipes, Mapping) or not all(isinstance(own, Mapping) for own in recipes.values()):
        raise BadInput("recipe must be null or {METHOD: {KEY: VALUE or {TASK: VALUE}}}")
    for name in recipes:
        if name not in (known := list(methods)):
            raise BadInput(f"recipe.{name}: no method '{name}'{nearest(name, known)}")
    files = list(asking)
    asked = {key for path in files for key in _ASKED.findall(path.read_text())}
    for key in recipes.get(method) or {}:
        if key not in asked:
            places = ", ".join(f"{path.parent.name}/{path.name}" for path in files)
            raise BadInput(f"recipe.{method}.{key}: none of {places} has such a value{nearest(key, asked)}")
