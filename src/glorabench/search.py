"""Paths of a supernet: which layers have a choice, drawing one path for each, setting it, counting it.

Works on any Reparam that has `choices`, `path` and `size(path)`; draws happen here, outside `forward`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from torch import nn

Path = Mapping[str, str]


@runtime_checkable
class Searchable(Protocol):
    """A layer with one choice per support."""

    choices: dict[str, tuple[str, ...]]
    path: dict[str, str]

    def size(self, path: Path) -> int:
        """Parameters that `path` uses."""
        ...


class PathSpace:
    """Every searchable layer of `net`, in the order of the network."""

    def __init__(self, net: nn.Module) -> None:
        self.layers = [m for m in net.modules() if isinstance(m, Searchable)]

    @property
    def is_supernet(self) -> bool:
        """True when some layer has more than one path."""
        return any(len(options) > 1 for layer in self.layers for options in layer.choices.values())

    def draw(self, seed: int, step: int) -> list[Path]:
        """One uniform path per layer, a function of (seed, step) alone, so that a resumed run draws the same."""
        genes = [options for layer in self.layers for options in layer.choices.values()]
        picks = np.random.default_rng([seed, step]).integers([len(options) for options in genes])
        chosen = iter([options[pick] for options, pick in zip(genes, picks, strict=True)])
        return [{name: next(chosen) for name in layer.choices} for layer in self.layers]

    def set(self, paths: Sequence[Path]) -> None:
        """Make each layer compute its path."""
        for layer, path in zip(self.layers, paths, strict=True):
            layer.path = dict(path)

    def current(self) -> list[dict[str, str]]:
        """The path that each layer computes now."""
        return [dict(layer.path) for layer in self.layers]

    def size(self, paths: Sequence[Path]) -> int:
        """Parameters of the subnet."""
        return sum(layer.size(path) for layer, path in zip(self.layers, paths, strict=True))
