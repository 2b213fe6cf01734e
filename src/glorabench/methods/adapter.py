"""Adapters in series. The places are roles: Houlsby et al. 2019 (arXiv 1902.00751) after both sub-layers [o, fc2],
Pfeiffer et al. 2021 (arXiv 2005.00247) after the second [fc2], Adapter+ (Steitz and Roth 2024, arXiv 2406.06820)
on the block's output [block]. On [out1, out2] the adapter follows drop-path, as in NOAH's code; on [o, fc2] drop-path
acts on layer and adapter together, as in VPT's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from glorabench.backbones.base import Backbone, Site
from glorabench.errors import BadInput, one_of
from glorabench.methods.base import Method, like_of
from glorabench.methods.bottleneck import ACTIVATIONS, BOTTLENECK_INITS, Bottleneck, Series, check_width


@dataclass(frozen=True)
class Adapter(Method):
    """h + s c * (W_up phi(W_down h + b_down) + b_up) after every target.

    Args:
        rank: hidden units.
        activation: phi: gelu, relu or quick_gelu.
        init: `zero_up`, `normal`, `normal_uncut` or `zero` (see `Bottleneck`).
        std: of the normal ones.
        scale: s.
        channel_scale: learn c, one number a feature, from one.
        dropout: rate after phi while training.
        drop_path: rate of dropping an adapter for an example while training.
        norms: train the normalisation layers too.
    """

    rank: int
    activation: str
    init: str
    std: float
    scale: float
    channel_scale: bool
    dropout: float
    drop_path: float
    norms: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, options in (("activation", ACTIVATIONS), ("init", BOTTLENECK_INITS)):
            one_of(f"method.{name}", getattr(self, name), options)
        if "attn" in self.targets:
            raise BadInput("an adapter follows a layer or a block: in method.targets name o or out1 instead of attn")

    def setup(self, backbone: Backbone) -> Tensor:
        """A tensor that says device and dtype: some targets have no weight of their own."""
        return like_of(backbone)

    def adapt(self, site: Site, layer: nn.Module, shared: Any) -> nn.Module:
        """The layer with an adapter behind it."""
        check_width(self.rank, site)
        branch = Bottleneck(site.width, self.rank, self.activation, self.dropout, self.init, self.std, shared)
        return Series(layer, branch, site.axis, self.scale, self.channel_scale, self.drop_path)

    def unfreeze(self, backbone: Backbone) -> Iterable[nn.Parameter]:
        """The normalisation layers, if asked for."""
        if not self.norms:
            return []
        names = ("stem_norm", "norm1", "cross_norm", "norm2", "downsample_norm", "norm")
        roles = [role for role in names if role in backbone.roles]
        layers = [backbone.net.get_submodule(site.path) for site in backbone.sites(roles)]
        return [parameter for layer in layers for parameter in layer.parameters()]
