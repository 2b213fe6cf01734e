"""LoRA (Hu et al. 2022, arXiv 2106.09685, eq. 3): W' = W0 + s B A, A r x i, B o x r, s = alpha / rank.

On the rows of a fused layer (q, v) every part has its own pair; on the fused layer itself (qkv) one A is shared by
q, k and v. On a convolution A and B act on the flattened kernel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from glorabench.backbones.base import Site
from glorabench.errors import BadInput, one_of
from glorabench.methods.base import Method, check_rank, fill_normal, weight_of
from glorabench.methods.low_rank_products import widen
from glorabench.methods.reparam import Reparam

LOW_RANK_INITS = ("zero_up", "normal", "normal_uncut")
DROPOUT_PLACES = ("input", "hidden")


class LowRank(Reparam):
    """W' = W0 + scale * up @ down, with dropout before or after `down` while training."""

    def __init__(
        self, weight: Tensor, rank: int, scale: float, dropout: float, dropout_on: str, init: str, std: float
    ) -> None:
        super().__init__()
        self.down = nn.Parameter(weight.new_empty(rank, weight.shape[1]))
        self.up = nn.Parameter(weight.new_zeros(weight.shape[0], rank))
        if init == "zero_up":
            nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))
        else:
            for matrix in (self.down, self.up):
                fill_normal(matrix, init, std)
        self.scale, self.dropout, self.dropout_on = scale, dropout, dropout_on

    def forward(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(W0 + s B A, b0)."""
        return weight + self.scale * (self.up @ self.down), bias

    def delta(self, x: Tensor, rows: slice = slice(None)) -> Tensor:
        """The update s B (A x), for some rows of B."""
        if self.dropout_on == "input":
            x = F.dropout(x, self.dropout, self.training)
        h = F.linear(x, self.down)
        if self.dropout_on == "hidden":
            h = F.dropout(h, self.dropout, self.training)
        return widen(h, self.scale * self.up[rows])


@dataclass(frozen=True)
class LoRA(Method):
    """Low-rank update of every target.

    Args:
        rank: r.
        alpha: numerator of the scale alpha / rank.
        dropout: rate while training.
        dropout_on: `input`, x (the paper), or `hidden`, A x (the code of the binary adapters).
        init: `zero_up` is the paper's: A Kaiming-uniform (a = sqrt 5), B zero, so that training starts from the
            pretrained network. `normal` draws both from N(0, std²) cut at two std, as Adapter+'s code does (std 0.01);
            `normal_uncut` from N(0, std²), as NOAH's does in effect (0.02).
        std: of both.
    """

    rank: int
    alpha: float
    dropout: float
    dropout_on: str
    init: str
    std: float

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, options in (("init", LOW_RANK_INITS), ("dropout_on", DROPOUT_PLACES)):
            one_of(f"method.{name}", getattr(self, name), options)

    def adapt(self, site: Site, layer: nn.Module, shared: Any) -> Reparam:
        """One pair (A, B) for the site."""
        return self.low_rank(site, layer)

    def low_rank(self, site: Site, layer: nn.Module) -> LowRank:
        """The pair (A, B).

        Raises:
            BadInput: the layer has no matrix, the rank is too large for it, or dropout has no place in it.
        """
        weight = weight_of(site, layer)
        check_rank(self.rank, site, weight)
        if self.dropout and not isinstance(layer, nn.Linear):
            raise BadInput(f"method.dropout acts on the input of linear layers, {site.path} is none: set it to 0")
        return LowRank(weight, self.rank, self.alpha / self.rank, self.dropout, self.dropout_on, self.init, self.std)
