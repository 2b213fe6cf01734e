"""DoRA (Liu et al. 2024, arXiv 2402.09353, eq. 5): W' = m * V / |V|, V = W0 + s B A, |.| the norm of each output row.

m starts as the row norms of W0. As in the authors' code and Hugging Face's, no gradient flows through |V|. The bias
stays outside the scaling. Dropout, if any, acts on the input of A alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from glorabench.backbones.base import Site
from glorabench.methods.base import weight_of
from glorabench.methods.lora import LoRA, LowRank
from glorabench.methods.reparam import LayerRows, Reparam


class Decomposed(Reparam):
    """A low-rank update whose rows are brought to learned norms."""

    def __init__(self, weight: Tensor, low_rank: LowRank) -> None:
        super().__init__()
        self.low_rank = low_rank
        self.magnitude = nn.Parameter(self.row_norms(weight).detach())

    def forward(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(m V / |V|, b0)."""
        V, _ = self.low_rank(weight, None)
        return (self.magnitude / V.norm(dim=1).detach())[:, None] * V, bias

    def row_norms(self, weight: Tensor, rows: slice = slice(None)) -> Tensor:
        """|V| of some rows, of which W0 is given, without forming V.

        |w|² + 2 s b (A w) + s² b (A A^T) b^T for each row w of W0 and b of B.
        In at least fp32, whatever autocast says: a sum of squares in bf16 is a few per cent off.
        """
        dtype = torch.promote_types(weight.dtype, torch.float32)
        A, B, W, s = (
            self.low_rank.down.to(dtype),
            self.low_rank.up[rows].to(dtype),
            weight.to(dtype),
            self.low_rank.scale,
        )
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            cross = (B * (W @ A.T)).sum(1)
            squares = W.square().sum(1) + 2 * s * cross + s**2 * ((B @ (A @ A.T)) * B).sum(1)
        return squares.clamp_min(0).sqrt()

    def through(self, x: Tensor, layer: LayerRows) -> Tensor:
        """One product with W0 and the low-rank one, then a factor for each output."""
        if not layer.is_linear:
            return super().through(x, layer)
        with torch.no_grad():
            norms = torch.cat([self.row_norms(weight, rows) for rows, weight in layer.tiles()])
        y = layer.linear(x, None) + self.low_rank.delta(x)
        y = y * (self.magnitude / norms).to(y.dtype)
        return y if layer.bias is None else y + layer.bias.to(y.dtype)


@dataclass(frozen=True)
class DoRA(LoRA):
    """LoRA with learned row norms."""

    def adapt(self, site: Site, layer: nn.Module, shared: Any) -> Reparam:
        """A pair (A, B) and the row norms of the site."""
        return Decomposed(weight_of(site, layer), self.low_rank(site, layer))
