"""SSF (Lian et al. 2022, arXiv 2210.08823, eq. 3): y = gamma * z + beta after every layer, W' = diag(gamma) W0,
b' = gamma * b0 + beta. gamma ~ N(1, std²), beta ~ N(0, std²): training does not start from the pretrained network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from glorabench.backbones.base import Site
from glorabench.methods.base import Method, check_bias, weight_of
from glorabench.methods.reparam import LayerRows, Reparam


class ScaleShift(Reparam):
    """W' = diag(gamma) W0, b' = gamma * b0 + beta."""

    def __init__(self, weight: Tensor, std: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(weight.new_empty(len(weight)))
        self.beta = nn.Parameter(weight.new_empty(len(weight)))
        nn.init.normal_(self.gamma, 1.0, std)
        nn.init.normal_(self.beta, 0.0, std)

    def forward(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Scaled rows and a shifted bias."""
        return weight * self.gamma[:, None], self.beta if bias is None else bias * self.gamma + self.beta

    def through(self, x: Tensor, layer: LayerRows) -> Tensor:
        """On the output of linear layers and convolutions, which saves forming a weight gradient."""
        if isinstance(layer.layer, nn.LayerNorm):
            return super().through(x, layer)
        y = layer(x)
        return y * layer.along(self.gamma).to(y.dtype) + layer.along(self.beta).to(y.dtype)


@dataclass(frozen=True)
class SSF(Method):
    """A scale and a shift for every target.

    Args:
        std: of both at the start.
    """

    std: float

    def adapt(self, site: Site, layer: nn.Module, shared: Any) -> Reparam:
        """Both vectors; a norm without a bias (RMSNorm) has no place for the shift."""
        check_bias(site)
        return ScaleShift(weight_of(site, layer, (nn.Linear, nn.Conv2d, nn.LayerNorm)), self.std)
