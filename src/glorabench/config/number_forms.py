"""The form of a number in a config, so that one configuration has one id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def canonical(node: Any, default: Any) -> Any:
    """`node` with its numbers in the form of `default`, so that one configuration has one id.

    If the default is 1.0, a 1 becomes 1.0; if it is 8, an 8.0 becomes 8. A value without a default stays as it is.
    """
    if isinstance(node, Mapping) and isinstance(default, Mapping):
        return {key: canonical(value, default.get(key)) for key, value in node.items()}
    if type(default) is float and type(node) is int:
        return float(node)
    if type(default) is int and type(node) is float and node.is_integer():
        return int(node)
    return node


_NUMBERS = (
    "lr",
    "warmup_lr",
    "end_lr",
    "min_lr",
    "weight_decay",
    "clip",
    "drop_path",
    "mixup",
    "cutmix",
    "label_smoothing",
)
NUMBER_FORMS: Mapping[str, Any] = {  # of values that a YAML file leaves open, or computes
    "train": {**dict.fromkeys(_NUMBERS, 0.0), "warmup_epochs": 0},
    "backbone": {"drop_path": 0.0},
    "search": {"held_out": 0.0},
}
