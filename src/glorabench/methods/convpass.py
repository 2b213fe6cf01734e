"""Convpass (Jie and Deng 2022, arXiv 2207.07039): beside attention and feed-forward network a branch that reads the
same normalised tokens: down to r channels, a 3 x 3 convolution on the grid of patches, up again. The class token goes
through the convolution as an image of one pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glorabench.backbones.base import Backbone, Site
from glorabench.errors import BadInput, one_of
from glorabench.methods.base import Method, like_of
from glorabench.methods.bottleneck import Parallel, Tap, check_width, quick_gelu

KERNEL_INITS = ("xavier", "identity")
BRANCH_ROLES = {"attn": ("norm1", "out1"), "mlp": ("norm2", "out2")}


class ConvBranch(nn.Module):
    """W_up dropout(g(conv(g(W_down x)))) with biases, g = QuickGELU; batch x tokens x width in and out.

    W_down is Xavier-uniform, W_up zero, the kernel the identity or Xavier-uniform, biases are zero.
    """

    def __init__(self, width: int, rank: int, prefix: int, identity: bool, dropout: float, like: Tensor) -> None:
        super().__init__()
        self.down = nn.Parameter(like.new_empty(rank, width))
        self.down_bias = nn.Parameter(like.new_zeros(rank))
        self.kernel = nn.Parameter(like.new_zeros(rank, rank, 3, 3))
        self.kernel_bias = nn.Parameter(like.new_zeros(rank))
        self.up = nn.Parameter(like.new_zeros(width, rank))
        self.up_bias = nn.Parameter(like.new_zeros(width))
        nn.init.xavier_uniform_(self.down)
        if identity:
            with torch.no_grad():
                self.kernel[:, :, 1, 1].fill_diagonal_(1)
        else:
            nn.init.xavier_uniform_(self.kernel)
        self.prefix, self.dropout = prefix, dropout

    def forward(self, x: Tensor) -> Tensor:
        """All tokens, or the prefix tokens alone: they see no others."""
        h = quick_gelu(F.linear(x, self.down, self.down_bias))
        prefix, patches = h[:, : self.prefix], h[:, self.prefix :]
        outputs = [F.linear(prefix, self.kernel[:, :, 1, 1], self.kernel_bias)]
        if count := patches.shape[1]:
            side = math.isqrt(count)
            if side * side != count:
                raise BadInput(f"Convpass needs a square grid of patches, {count} are none: give square images")
            image = patches.mT.unflatten(-1, (side, side))
            outputs.append(F.conv2d(image, self.kernel, self.kernel_bias, padding=1).flatten(2).mT)
        h = F.dropout(quick_gelu(torch.cat(outputs, dim=1)), self.dropout, self.training)
        return F.linear(h, self.up, self.up_bias)


@dataclass(frozen=True)
class Convpass(Method):
    """A convolutional branch beside every target; targets are attn, mlp or both.

    Args:
        rank: channels of the convolution.
        scale: s.
        dropout: rate before W_up while training.
        init: `xavier` or `identity`, of the kernel.
    """

    rank: int
    scale: float
    dropout: float
    init: str

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("method.init", self.init, KERNEL_INITS)
        if unknown := set(self.targets) - BRANCH_ROLES.keys():
            raise BadInput(f"Convpass stands beside attn and mlp, not {sorted(unknown)}: method.targets=[attn,mlp]")

    def adapted_roles(self, backbone: Backbone) -> tuple[str, ...]:
        """The norm that each target reads, and the end of its path."""
        return tuple(role for target in self.targets for role in BRANCH_ROLES[target])

    def setup(self, backbone: Backbone) -> tuple[Tensor, int, dict[tuple[int, str], Tap]]:
        """A tensor that says device and dtype, the prefix tokens, and the taps by depth and path.

        Raises:
            BadInput: the backbone has no grid of patch tokens.
        """
        if backbone.prefix_tokens is None:
            raise BadInput(f"Convpass needs the patch tokens of a ViT; {backbone.name} has none: choose another method")
        for number in ("1" if target == "attn" else "2" for target in self.targets):
            if backbone.sites([f"norm{number}"])[0].path != backbone.sites([f"in{number}"])[0].path:
                raise BadInput(
                    f"Convpass reads normalised tokens; {backbone.name} normalises behind its paths, not in front of "
                    "them: choose another method"
                )
        taps = {}
        for site in backbone.sites([BRANCH_ROLES[target][0] for target in self.targets]):
            taps[site.depth, site.role[-1]] = Tap(backbone.net.get_submodule(site.path), of_input=False)
        return like_of(backbone), backbone.prefix_tokens, taps

    def adapt(self, site: Site, layer: nn.Module, shared: Any) -> nn.Module:
        """A Tap on the norm; the branch at the end of the path, with a drop-path draw of its own."""
        like, prefix, taps = shared
        key = site.depth, site.role[-1]
        if site.role.startswith("norm"):
            return taps[key]
        check_width(self.rank, site)
        branch = ConvBranch(site.width, self.rank, prefix, self.init == "identity", self.dropout, like)
        return Parallel(layer, branch, taps[key], self.scale, drop_branch=True)
