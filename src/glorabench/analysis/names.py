"""Name configurations for people: `LoRA, all layers, r = 3` instead of `lora (alpha=3, rank=3, targets=[...])`.

The words come from conf/labels.yaml and from the config of a record, so records and the ids of runs do not know them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from yaml import safe_load

from glorabench.config.paths import conf_dir

INHERITED = "inherited"  # marks a winner that has the weights of its supernet
_ALL_LINEAR = (
    {"q", "k", "v", "o", "fc1", "fc2"},
    {"qkv", "o", "fc1", "fc2"},
    {"q", "k", "v", "o", "gate", "up", "down"},
)
_WORDS = {"rank": "r = {}", "train.lr": "learning rate {}", "train.epochs": "{} epochs"}
_LIST = re.compile(r"\[(.*)\]")


@cache
def label_table() -> Mapping[str, Mapping[str, str]]:
    """The labels of conf/labels.yaml by group and name; empty where a conf/ of one's own has no such file."""
    path = conf_dir() / "labels.yaml"
    return safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}


def label_for(group: str, name: str) -> str:
    """The label of a method or a search; its name where it has none."""
    return label_table().get(group, {}).get(name, name)


def human_names(configs: Sequence[Mapping[str, Any]], words: Sequence[Sequence[str]]) -> list[str]:
    """Name the configurations of one method, each by the words that tell it apart from the others.

    Args:
        configs: the config of one record of each configuration.
        words: for each, settings such as `rank=3`, `targets=[q,v]` or `scale by task`.

    Returns:
        The names. Where two short names would be equal, both hold their settings in full.
    """
    names = [_name(config, _short_words(config, of_one)) for config, of_one in zip(configs, words, strict=True)]
    words_of: dict[str, set[tuple[str, ...]]] = {}
    for of_one, name in zip(words, names, strict=True):
        words_of.setdefault(name, set()).add(tuple(of_one))
    return [
        _name(config, of_one) if len(words_of[name]) > 1 else name
        for config, of_one, name in zip(configs, words, names, strict=True)
    ]


def _name(config: Mapping[str, Any], words: Sequence[str]) -> str:
    names, search = config["names"], config.get("search") or {}
    parts = [label_for("method", str(names.get("method")))]
    if names.get("search"):
        parts.append(label_for("search", str(names["search"])))
    elif config["method"].get("path") == "random" and not any(word.startswith("path=") for word in words):
        parts.append("random path")
    if search.get("winner") == "inherit":
        parts.append(f"{INHERITED} weights")
    if names.get("optimizer"):
        parts.append(str(names["optimizer"]))
    return ", ".join([*parts, *words])


def _short_words(config: Mapping[str, Any], words: Sequence[str]) -> list[str]:
    """The settings in the field's terms: layers first, then the rank; alpha only where the scale is not 1."""
    short: list[tuple[int, str]] = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            short.append((3, word))
        elif key == "targets":
            short.append((0, _layers(value)))
        elif key in _WORDS:
            short.append((1, _WORDS[key].format(value)))
        elif key == "alpha" and config["method"].get("rank") == config["method"].get("alpha"):
            continue
        else:
            short.append((2, f"{key} = {value}"))
    return [text for _, text in sorted(short, key=lambda pair: pair[0])]


def _layers(value: str) -> str:
    match = _LIST.fullmatch(value)
    roles = match[1].split(",") if match else [value]
    return "all layers" if set(roles) in _ALL_LINEAR else " and ".join(filter(None, (", ".join(roles[:-1]), roles[-1])))
