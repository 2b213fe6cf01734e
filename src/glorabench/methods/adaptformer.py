"""AdaptFormer (Chen et al. 2022, arXiv 2205.13535, and the authors' code): a bottleneck beside the feed-forward path,
x + DropPath(MLP(LN(x))) + s (W_up ReLU(W_down x + b_down) + b_up). It reads x, not LN(x),
and on a ViT no drop-path acts on it. On a ConvNeXt it ends where the MLP does, before layer scale and drop-path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from glorabench.backbones.base import Backbone, Site
from glorabench.errors import BadInput
from glorabench.methods.base import Method, like_of
from glorabench.methods.bottleneck import Bottleneck, Parallel, Tap, check_width


@dataclass(frozen=True)
class AdaptFormer(Method):
    """A parallel bottleneck in every block; targets is [mlp].

    Args:
        rank: hidden units.
        scale: s.
        dropout: rate after ReLU while training.
    """

    rank: int
    scale: float
    dropout: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.targets != ("mlp",):
            raise BadInput(
                f"AdaptFormer stands beside the feed-forward path: method.targets=[mlp], not {list(self.targets)}"
            )

    def adapted_roles(self, backbone: Backbone) -> tuple[str, ...]:
        """The beginning of the path, whose input is read, and its end, where the branch is added."""
        return "in2", "out2"

    def setup(self, backbone: Backbone) -> tuple[Tensor, dict[int, Tap]]:
        """A tensor that says device and dtype, and the taps by depth."""
        starts = {site.depth: backbone.net.get_submodule(site.path) for site in backbone.sites(["in2"])}
        return like_of(backbone), {depth: Tap(start, of_input=True) for depth, start in starts.items()}

    def adapt(self, site: Site, layer: nn.Module, shared: Any) -> nn.Module:
        """A Tap where the path begins; the branch where it ends."""
        like, taps = shared
        check_width(self.rank, site)
        if site.role == "in2":
            return taps[site.depth]
        branch = Bottleneck(site.width, self.rank, "relu", self.dropout, "zero_up", 0.0, like)
        return Parallel(layer, branch, taps[site.depth], self.scale, drop_branch=False, axis=site.axis)
