"""How a shell completes words: names of groups, keys, values that a key allows, tasks, ids of runs. Light: no torch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import typer

_RUN_KEY = "run"


def complete_bash() -> None:
    """Let a word that ends in `=` be completed in bash, which cuts words there: the next word is the value."""
    if os.environ.get("COMP_WORDS", "").endswith("=") and os.environ.get("COMP_CWORD", "").isdigit():
        os.environ["COMP_CWORD"] = str(int(os.environ["COMP_CWORD"]) + 1)


def complete_words(context: typer.Context, incomplete: str) -> list[str]:
    """The words that `incomplete` may become: GROUP= and KEY=, and after them what they allow."""
    before = list(context.params.get("words") or [])
    start = ""
    if before[-1:] == ["="]:  # bash cuts words at it
        incomplete, start = f"{before[-2]}={incomplete}", f"{before[-2]}="
    key, equals, _ = incomplete.partition("=")
    if not equals:
        return [word for word in _words_of_keys(key) if word.startswith(incomplete)]
    earlier = incomplete[: incomplete.rfind(",") + 1]  # of method=lora,gl the last name is completed
    words = [f"{earlier or f'{key}='}{value}" for value in _values(key, before)]
    return [word.removeprefix(start) for word in words if word.startswith(incomplete)]


def complete_run_ids(incomplete: str) -> list[str]:
    """The ids of the runs in the usual results folders."""
    from glorabench.records.record import ROOTS

    ids = {path.stem.rpartition("-")[2] for root in ROOTS for path in Path(root).glob("runs/*/*.json")}
    return sorted(name for name in ids if name.startswith(incomplete))


def _words_of_keys(start: str) -> list[str]:
    """GROUP=NAME for a group; the keys that a config has, where a part of one is typed."""
    from glorabench.config.paths import CONFIG_GROUPS, options

    if "." not in start:
        return [f"{group}={name}" for group in CONFIG_GROUPS for name in options(group)]
    from glorabench.config.schema import RunConfig, known_keys

    return [f"{key}=" for key in [*known_keys(RunConfig), "data.task", "method.blocks", "method.targets"] if "." in key]


def _values(key: str, before: Sequence[str]) -> Iterable[str]:
    """What a key allows, where that is a list."""
    from glorabench.config.paths import CONFIG_GROUPS, options

    if key in CONFIG_GROUPS:
        return options(key)
    if key == _RUN_KEY:
        return complete_run_ids("")
    if key == "data.task":
        return _tasks(next((word.partition("=")[2] for word in before if word.startswith("data=")), "mini"))
    from glorabench.config.schema import RunConfig, allowed_values

    return allowed_values(RunConfig, key)


def _tasks(suite: str) -> list[str]:
    from glorabench.data.suites.mini import MINI_LAYOUT
    from glorabench.data.suites.registry import SUITES

    if suite == "mini":
        return [column.task for column in MINI_LAYOUT.columns]
    return [row.name for row in SUITES[suite].rows] if suite in SUITES else []
