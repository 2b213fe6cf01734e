"""LoRA (Hu et al. 2022, arXiv 2106.09685, eq. 3): W' = W0 + s B A, A r x i, B o x r, s = alpha / rank.

A is Kaiming-uniform (a = sqrt 5), B is zero: the network starts as the pretrained one. On the rows of a fused
layer (q, v) every part has its own pair; on the fused layer itself (qkv) one A is shared by q, k and v.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from glorabench.backbones.base import Site
from glorabench.errors import BadInput
from glorabench.methods.base import Method, weight_of
from glorabench.methods.reparam import Reparam


class LowRank(Reparam):
    """W' = W0 + scale * up @ down, with dropout on the input while training."""

    def __init__(self, weight: Tensor, rank: int, scale: float, dropout: float) -> None:
        super().__init__()
        self.down = nn.Parameter(weight.new_empty(rank, weight.shape[1]))
        self.up = nn.Parameter(weight.new_zeros(weight.shape[0], rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))
        self.scale, self.dropout = scale, dropout

    def forward(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(W0 + s B A, b0)."""
        return weight + self.scale * (self.up @ self.down), bias

    def delta(self, x: Tensor) -> Tensor:
        """S B (A x)."""
        x = F.dropout(x, self.dropout, self.training)
        return F.linear(F.linear(x, self.down), self.scale * self.up)


@dataclass(frozen=True)
class LoRA(Method):
    """Low-rank update of every target.

    Args:
        rank: r.
        alpha: numerator of the scale alpha / rank.
        dropout: rate on the input of A while training.
    """

    rank: int
    alpha: float
    dropout: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.alpha, int | float):
            raise BadInput(f"method.alpha must be a number, got {self.alpha!r}")
        if not isinstance(self.dropout, int | float) or not 0 <= self.dropout < 1:
            raise BadInput(f"method.dropout must be a number from 0 to below 1, got {self.dropout!r}")

    def adapt(self, site: Site, layer: nn.Module, shared: Any) -> Reparam:
        """One pair (A, B) for the site."""
        return LowRank(weight_of(site, layer), self.rank, self.alpha / self.rank, self.dropout)
