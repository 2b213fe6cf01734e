"""RepAdapter (Luo et al. 2023, arXiv 2302.08106): a linear adapter in front of a layer,
f(x) = x + s (W_B (W_A x + a) + b), W_B in groups: group k of the output sees group k of the hidden units.

Nothing in it is non-linear, so W' = W0 (I + s W_B W_A), b' = b0 + s W0 (W_B a + b). W_A is Xavier-uniform, the rest 0.
A convolution takes it up at every place of its kernel, where every output sees all channels and no border is padded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glorabench.backbones.base import Backbone, Site
from glorabench.errors import BadInput
from glorabench.methods.base import Method, check_bias, check_rank, weight_of
from glorabench.methods.reparam import LayerRows, Reparam

INPUT_OF_ROLE = {
    **dict.fromkeys(("q", "k", "v", "qkv"), "attn"),
    **dict.fromkeys(("cross_k", "cross_v"), "encoder"),
    **dict.fromkeys(("fc1", "gate", "up"), "mlp"),
}


class LinearAdapter(Reparam):
    """x -> x + s (W_B (W_A x + a) + b) in front of a layer, with dropout between the two while training.

    Args:
        weight: of the layer, o x (i places).
        width: i, the features or channels of its input.
        rank, groups, scale, dropout: as in `RepAdapter`.
    """

    def __init__(self, weight: Tensor, width: int, rank: int, groups: int, scale: float, dropout: float) -> None:
        super().__init__()
        self.down = nn.Parameter(weight.new_empty(rank, width))
        self.down_bias = nn.Parameter(weight.new_zeros(rank))
        self.up = nn.Parameter(weight.new_zeros(groups, width // groups, rank // groups))
        self.up_bias = nn.Parameter(weight.new_zeros(width))
        nn.init.xavier_uniform_(self.down)
        self.scale, self.dropout = scale, dropout

    def forward(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(W0 (I + s W_B W_A), b0 + s W0 (W_B a + b))."""
        up = torch.block_diag(*self.up)
        kernel = weight.unflatten(1, (len(up), -1)).transpose(1, 2)  # o x places x i
        shift = self.scale * (kernel @ (up @ self.down_bias + self.up_bias)).sum(1)
        new_weight = (kernel + self.scale * ((kernel @ up) @ self.down)).transpose(1, 2).flatten(1)
        return new_weight, shift if bias is None else bias + shift

    def through(self, x: Tensor, layer: LayerRows) -> Tensor:
        """The layer on the adapted input."""
        axis = -1 if layer.is_linear else 1
        h = F.dropout(F.linear(x.movedim(axis, -1), self.down, self.down_bias), self.dropout, self.training)
        h = torch.einsum("...gr,gwr->...gw", h.unflatten(-1, (len(self.up), -1)), self.up).flatten(-2)
        return layer(x + self.scale * (h + self.up_bias.to(h.dtype)).movedim(-1, axis))


@dataclass(frozen=True)
class RepAdapter(Method):
    """One adapter for the layers that read the same input: qkv (or q, k and v); fc1 (or gate and up).

    Layers that are not fused apply it separately, so each draws its own dropout while training.

    Args:
        rank: hidden units.
        groups: of W_B; they divide `rank` and the width.
        scale: s.
        dropout: rate between W_A and W_B while training.
    """

    rank: int
    groups: int
    scale: float
    dropout: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank % self.groups:
            raise BadInput(f"method.groups={self.groups} does not divide method.rank={self.rank}")

    def setup(self, backbone: Backbone) -> dict[tuple[str, str], LinearAdapter]:
        """The adapters by the module that holds their layers and by what these read."""
        return {}

    def adapt(self, site: Site, layer: nn.Module, shared: Any) -> Reparam:
        """The adapter in front of the site; layers with the same input share one."""
        check_bias(site)
        if isinstance(layer, nn.Conv2d) and (layer.groups > 1 or layer.padding not in ("valid", (0, 0))):
            raise BadInput(
                f"RepAdapter mixes channels in front of a layer; in front of the convolution {site.path} "
                f"(role '{site.role}') no kernel can absorb that: take it out of targets"
            )
        weight = weight_of(site, layer)
        width = layer.in_channels if isinstance(layer, nn.Conv2d) else weight.shape[1]
        check_rank(self.rank, site, weight[:, :width])
        if width % self.groups:
            raise BadInput(f"method.groups={self.groups} does not divide the width {width} of {site.path}")
        key = site.path.rpartition(".")[0], INPUT_OF_ROLE.get(site.role, site.role)
        if key not in shared:
            shared[key] = LinearAdapter(weight, width, self.rank, self.groups, self.scale, self.dropout)
        return shared[key]
