"""The paths of a supernet: which layers have a choice, and how a path is drawn, set and counted.

This works on any Reparam that has `choices`, `path` and `size(path)`. Paths are drawn here, outside `forward`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import nn

from glorabench.errors import BadInput

Path = Mapping[str, str]
Genome = tuple[int, ...]  # the number of the choice of each support, layer by layer


@runtime_checkable
class Searchable(Protocol):
    """A layer with one choice per support."""

    choices: dict[str, tuple[str, ...]]
    path: dict[str, str]

    def size(self, path: Path) -> int:
        """Parameters that `path` uses: a sum over the supports it names."""
        ...


class PathSpace:
    """Every searchable layer of `net`, in the order of the network.

    Attributes:
        options: number of choices of each gene; a gene is a support of a layer.
    """

    def __init__(self, net: nn.Module) -> None:
        self.layers = [m for m in net.modules() if isinstance(m, Searchable)]
        self._genes = [(layer, *gene) for layer in self.layers for gene in layer.choices.items()]
        self.options: NDArray[np.int64] = np.array([len(options) for _, _, options in self._genes], np.int64)

    @property
    def is_supernet(self) -> bool:
        """True when some layer has more than one path."""
        return bool((self.options > 1).any())

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Parameters of every choice: an array of genes x options, with -1 for options that a gene does not have."""
        table = np.full((len(self.options), max(self.options, default=0)), -1, np.int64)
        for row, (layer, name, options) in zip(table, self._genes, strict=True):
            row[: len(options)] = [layer.size({name: choice}) for choice in options]
        return table

    @cached_property
    def fingerprint(self) -> str:
        """What identifies the space: a hash of the choices of every gene and of their sizes."""
        genes = [[name, *options] for _, name, options in self._genes]
        return hashlib.sha256(json.dumps([genes, self.sizes.tolist()]).encode()).hexdigest()[:12]

    def draw(self, seed: int, step: int) -> Genome:
        """A uniform path. It depends on (seed, step) alone, so a resumed run draws the same."""
        return tuple(np.random.default_rng([seed, step]).integers(self.options).tolist())

    def paths(self, genome: Genome) -> list[dict[str, str]]:
        """The choice of every support of each layer."""
        choices = iter([options[pick] for (_, _, options), pick in zip(self._genes, genome, strict=True)])
        return [{name: next(choices) for name in layer.choices} for layer in self.layers]

    def genome(self, paths: Sequence[Path]) -> Genome:
        """The inverse of `paths`."""
        choices = [path[name] for layer, path in zip(self.layers, paths, strict=True) for name in layer.choices]
        return tuple(options.index(choice) for (_, _, options), choice in zip(self._genes, choices, strict=True))

    def set(self, genome: Genome) -> None:
        """Make each layer compute its path."""
        for layer, path in zip(self.layers, self.paths(genome), strict=True):
            layer.path = path

    def current(self) -> list[dict[str, str]]:
        """The path that each layer has now."""
        return [dict(layer.path) for layer in self.layers]

    def size(self, genome: Genome | NDArray[np.int64]) -> int:
        """Parameters of the subnet."""
        return int(self.sizes[np.arange(len(genome)), np.array(genome, np.int64)].sum())

    @property
    def extremes(self) -> tuple[Genome, Genome]:
        """The smallest and the largest path."""
        if not len(self.options):
            return (), ()
        least = np.where(self.sizes < 0, np.iinfo(np.int64).max, self.sizes)
        return tuple(least.argmin(1).tolist()), tuple(self.sizes.argmax(1).tolist())

    @property
    def limits(self) -> tuple[int, int]:
        """Parameters of the smallest and of the largest subnet."""
        smallest, largest = self.extremes
        return self.size(smallest), self.size(largest)

    def check_limits(self, low: int, high: int | None) -> tuple[int, int]:
        """The limits of the subnet's parameters as two numbers.

        Raises:
            BadInput: there is nothing to search, or no path lies within the limits.
        """
        if not self.is_supernet:
            raise BadInput("a search needs a supernet: method=glora method.path=supernet")
        smallest, largest = self.limits
        limits = (low, largest if high is None else high)
        if not max(low, smallest) <= min(limits[1], largest):
            raise BadInput(
                f"no path has {limits[0]:,} to {limits[1]:,} parameters: the smallest has {smallest:,}, the largest "
                f"{largest:,}; change search.min_params and search.max_params"
            )
        return limits
