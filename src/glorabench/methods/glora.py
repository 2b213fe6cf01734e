"""GLoRA (Chavan et al. 2023, arXiv 2306.07967, eq. 10): five supports A-E on every linear layer.

    W' = W0 + W0 * A + B            b' = b0 + b0 * D + E + W0 C

A, B (o x i) are `lora`, `vector`, `scalar` or `none`; C (i x 1) is `lora`, `vector` or `none`; D, E (o) are
`vector`, `scalar` or `none`: 432 paths a layer. Modes share storage: with L (rows x r) and R (r x cols), `lora`
is L R, `vector` the first column of L, `scalar` its first entry. L is zero at the start, R Xavier-uniform.

`product: hadamard` is the official code (W0 * A element by element; a vector scales output rows); `product: matmul`
is the paper's text read as W0 A with A i x i (a vector scales inputs, LoRA reads W0 (I + L R)).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glorabench.backbones.base import Backbone, Site
from glorabench.backbones.precision import full_precision, tokens_of
from glorabench.errors import BadInput, nearest, one_of
from glorabench.methods.base import Method, check_rank, weight_of
from glorabench.methods.low_rank_products import Pair, rescaled_linear, widen
from glorabench.methods.reparam import LayerRows, Reparam

PRODUCTS = ("hadamard", "matmul")
PATH_MODES = ("random", "supernet")

CHOICES: Mapping[str, tuple[str, ...]] = {
    "A": ("lora", "vector", "scalar", "none"),
    "B": ("lora", "vector", "scalar", "none"),
    "C": ("lora", "vector", "none"),
    "D": ("vector", "scalar", "none"),
    "E": ("vector", "scalar", "none"),
}


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
            if self.path not in PATH_MODES:
                raise BadInput(f"method.path '{self.path}'{nearest(self.path, PATH_MODES)} Or one choice per support.")
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
        sites = self.sites(backbone, self.targets)
        paths = [self.path] * len(sites) if isinstance(self.path, Mapping) else self.path
        if len(paths) != len(sites):
            raise BadInput(f"method.path has {len(paths)} paths, {backbone.name} has {len(sites)} layers for them")
        return {(site.path, site.role): path for site, path in zip(sites, paths, strict=True)}

    def adapt(self, site: Site, layer: nn.Module, shared: Any) -> Reparam:
        """Five supports for the site; where a support can have no effect it is none (see `_choices_of`)."""
        weight, choices = weight_of(site, layer), _choices_of(site, layer)
        check_rank(self.rank, site, weight)
        path = shared.get((site.path, site.role))
        return Supports(weight, self.rank, self.product, self._choices(site, choices, path))

    def _choices(
        self, site: Site, choices: Mapping[str, Sequence[str]], path: Mapping[str, str] | None
    ) -> Mapping[str, Sequence[str]]:
        if self.path == "supernet":
            return choices
        if path is None:
            picks = {name: int(torch.randint(len(options), (), device="cpu")) for name, options in choices.items()}
            return {name: (options[picks[name]],) for name, options in choices.items()}
        for name, options in choices.items():
            if path[name] not in options:
                reason = "the layer has no bias" if site.takes_bias else "the network adds a bias of its own there"
                raise BadInput(f"method.path.{name}={path[name]} has no effect on {site.path}: {reason}")
        return {name: (path[name],) for name in choices}


def _choices_of(site: Site, layer: nn.Module) -> dict[str, tuple[str, ...]]:
    """The choices of each support: D has nothing to scale without a bias, and C, D and E none to change if the network
    reads the weight alone."""
    none = ("CDE" if not site.takes_bias else "D") if layer.bias is None else ""
    return {name: ("none",) if name in none else options for name, options in CHOICES.items()}


class Support(nn.Module):
    """One support tensor of rows x cols that can take any of `choices`, all kept in one L (and R).

    Only what the choices need is stored: a support that can only be a vector is one column.
    """

    def __init__(self, rows: int, cols: int, rank: int, choices: Sequence[str], like: Tensor) -> None:
        super().__init__()
        self.rows, self.cols, self.rank = rows, cols, rank
        self.left = self.right = None
        if set(choices) - {"none"}:
            height = rows if {"lora", "vector"} & set(choices) else 1
            self.left = nn.Parameter(like.new_zeros(height, rank if "lora" in choices else 1))
        if "lora" in choices:
            self.right = nn.Parameter(like.new_empty(rank, cols))
            nn.init.xavier_uniform_(self.right)

    def value(self, choice: str) -> Tensor | None:
        """rows x cols (lora), rows x 1 (vector), 1 x 1 (scalar) or None."""
        if choice == "none":
            return None
        assert self.left is not None
        if choice == "lora":
            return self.left @ cast(Tensor, self.right)
        return self.left[:, :1] if choice == "vector" else self.left[:1, :1]

    def factors(self, choice: str) -> Pair:
        """Two matrices whose product is `value(choice)`, rows x cols; ones are the right one of a vector or scalar."""
        if choice == "lora":
            return cast(Tensor, self.left), cast(Tensor, self.right)
        value = cast(Tensor, self.value(choice))
        return value.expand(self.rows, 1), value.new_ones(1, self.cols)

    def size(self, choice: str) -> int:
        """Parameters that the choice uses."""
        return {"lora": self.rank * (self.rows + self.cols), "vector": self.rows, "scalar": 1, "none": 0}[choice]


class Supports(Reparam):
    """The five supports of one layer; `path` is the present choice of each."""

    def __init__(self, weight: Tensor, rank: int, product: str, choices: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        o, i = weight.shape
        rows = {"A": i if product == "matmul" else o, "B": o, "C": i, "D": o, "E": o}
        cols = {"A": i, "B": i, "C": 1, "D": 1, "E": 1}
        self.choices = {name: tuple(choices[name]) for name in CHOICES}
        self.supports = nn.ModuleDict({n: Support(rows[n], cols[n], rank, self.choices[n], weight) for n in CHOICES})
        self.product = product
        self.path = {name: options[0] for name, options in self.choices.items()}

    def size(self, path: Mapping[str, str]) -> int:
        """Parameters that `path` uses (the subnet)."""
        return sum(self._support(name).size(choice) for name, choice in path.items())

    def _support(self, name: str) -> Support:
        return cast(Support, self.supports[name])

    def value(self, name: str) -> Tensor | None:
        """The support `name` in its current choice."""
        return self._support(name).value(self.path[name])

    def forward(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(W0 + W0 * A + B, b0 + b0 * D + E + W0 C)."""
        A, B = self.value("A"), self.value("B")
        new_weight = weight if A is None else weight + self._product(weight, A)
        return new_weight if B is None else new_weight + B, self._bias(weight.matmul, len(weight), bias)

    def _product(self, weight: Tensor, A: Tensor) -> Tensor:
        if self.product == "hadamard":
            return weight * A
        return weight @ A if self.path["A"] == "lora" else weight * A.T

    def _bias(self, times: Callable[[Tensor], Tensor], rows: int, bias: Tensor | None) -> Tensor | None:
        """b0 + b0 * D + E + W0 C, where `times` multiplies by W0."""
        C, D, E = (self.value(name) for name in "CDE")
        new_bias = bias
        if D is not None and bias is not None:
            new_bias = bias + bias * D[:, 0]
        if E is not None:
            new_bias = E[:, 0].expand(rows) if new_bias is None else new_bias + E[:, 0]
        if C is not None:
            shift = times(C)[:, 0]
            new_bias = shift if new_bias is None else new_bias + shift
        return new_bias

    def through(self, x: Tensor, layer: LayerRows) -> Tensor:
        """W' x + b'. W' is never kept, and it is computed only if A is `lora` with the Hadamard product.

        In this case the gradient is W0 * (dY^T X), a dense weight gradient that no factored form avoids at a lower
        cost. All other cases take one product forward and one backward, plus low-rank or vector work. On convolutions
        W' is computed, because their kernels are small compared with their inputs.
        """
        if not layer.is_linear:
            return super().through(x, layer)
        tokens, rows = tokens_of(x), layer.height
        with full_precision(x):  # o numbers; autocast would keep a copy of W0 for W0 C
            bias = self._bias(layer.times, rows, layer.bias)
        choice = self.path["B"]
        B = None if choice == "none" else self._support("B").factors(choice)
        if self.product == "hadamard" and self.path["A"] == "lora":
            y = rescaled_linear(tokens, layer.tiles, bias, self._support("A").factors("lora"), B)
        else:
            y = self._scale_rows(tokens, layer, rows, bias)
            if B is not None:  # a sum, for its gradient is one number a token
                hidden = F.linear(tokens, B[1]) if choice == "lora" else tokens.sum(-1, keepdim=True)
                y = widen(hidden, B[0], onto=y)
        return y.view(*x.shape[:-1], rows)

    def _scale_rows(self, x: Tensor, layer: LayerRows, rows: int, bias: Tensor | None) -> Tensor:
        """(W0 + W0 * A) x + bias without forming the bracket: on the side of the product where A acts."""
        A, choice = self.value("A"), self.path["A"]
        if A is None:
            return layer.linear(x, bias)
        if choice == "lora":
            left, right = self._support("A").factors(choice)
            return layer.linear(x + widen(F.linear(x, right), left), bias)
        # a scalar scales the narrower side, but no input that needs no gradient: its own would take a product more
        narrower = rows < x.shape[-1] or not x.requires_grad
        if not (narrower if choice == "scalar" else self.product == "hadamard"):
            return layer.linear(x * (1 + A[:, 0]).to(x.dtype), bias)
        y = layer.linear(x, None)
        scale = (1 + A[:, 0]).to(y.dtype)
        return y * scale if bias is None else torch.addcmul(bias.to(y.dtype), y, scale)
