"""GLoRA (Chavan et al. 2023, arXiv 2306.07967, eq. 10): five supports A-E on every linear layer.

    W' = W0 + W0 * A + B            b' = b0 + b0 * D + E + W0 C

A, B (o x i) are `lora`, `vector`, `scalar` or `none`; C (i x 1) is `lora`, `vector` or `none`; D, E (o) are
`vector`, `scalar` or `none`: 432 paths a layer. Modes share storage: with L (rows x r) and R (r x cols), `lora`
is L R, `vector` the first column of L, `scalar` its first entry. L is zero at the start, R Xavier-uniform.

`product: hadamard` is the official code (W0 * A element by element; a vector scales output rows); `product: matmul`
is the paper's text read as W0 A with A i x i (a vector scales inputs, LoRA reads W0 (I + L R)).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from glorabench.backbones.base import Backbone, Site
from glorabench.errors import BadInput, nearest, one_of
from glorabench.methods.base import Method, check_rank, weight_of
from glorabench.methods.reparam import Reparam
from glorabench.methods.supports import CHOICES, Supports

PRODUCTS = ("hadamard", "matmul")
MODES = ("random", "supernet")


@dataclass(frozen=True)
class GLoRA(Method):
    """Generalised LoRA on every target.

    Args:
        rank: r of the `lora` choices.
        product: `hadamard` (official code) or `matmul`.
        path: one choice per support for all layers ({A: lora, B: none, ...}), or a list of such, one per layer in
            the order of the network; `random`: one path per layer, drawn once, when the method is injected;
            `supernet`: all choices, and training draws a path per layer at every step.
    """

    rank: int
    product: str
    path: str | Mapping[str, str] | Sequence[Mapping[str, str]]

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("method.product", self.product, PRODUCTS)
        if isinstance(self.path, str):
            if self.path not in MODES:
                raise BadInput(f"method.path '{self.path}'{nearest(self.path, MODES)} Or one choice per support.")
            return
        paths = [self.path] if isinstance(self.path, Mapping) else self.path
        for path in paths:
            if set(path) != set(CHOICES):
                raise BadInput(f"method.path needs exactly the supports {', '.join(CHOICES)}, got {list(path)}")
            for name, choice in path.items():
                one_of(f"method.path.{name}", choice, CHOICES[name])
        if isinstance(self.path, Mapping) and set(self.path.values()) == {"none"}:
            raise BadInput("method.path: every support is none, so the path has no effect")

    def setup(self, backbone: Backbone) -> Mapping[tuple[str, str], Mapping[str, str]]:
        """The given path of each site."""
        if isinstance(self.path, str):
            return {}
        sites = backbone.sites(self.targets)
        paths = [self.path] * len(sites) if isinstance(self.path, Mapping) else self.path
        if len(paths) != len(sites):
            raise BadInput(f"method.path has {len(paths)} paths, {backbone.name} has {len(sites)} layers for them")
        return {(site.path, site.role): path for site, path in zip(sites, paths, strict=True)}

    def adapt(self, site: Site, layer: nn.Module, shared: Any) -> Reparam:
        """Five supports for the site; on a layer without bias D has nothing to scale and is none."""
        weight, choices = weight_of(site, layer), dict(CHOICES)
        check_rank(self.rank, site, weight)
        if layer.bias is None:
            choices["D"] = ("none",)
        given = shared.get((site.path, site.role))
        return Supports(weight, self.rank, self.product, self._narrowed(site, choices, given))

    def _narrowed(
        self, site: Site, choices: Mapping[str, Sequence[str]], given: Mapping[str, str] | None
    ) -> Mapping[str, Sequence[str]]:
        if self.path == "supernet":
            return choices
        if given is None:
            picks = {name: int(torch.randint(len(options), (), device="cpu")) for name, options in choices.items()}
            return {name: (options[picks[name]],) for name, options in choices.items()}
        if given["D"] not in choices["D"]:
            raise BadInput(f"method.path.D={given['D']} has no effect on {site.path}: the layer has no bias")
        return {name: (given[name],) for name in choices}
