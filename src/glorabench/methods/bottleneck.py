"""The bottleneck that adapters share: down, non-linearity, up; in series with a layer or in parallel to a path."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glorabench.backbones.base import Site
from glorabench.backbones.precision import products_like
from glorabench.errors import BadInput
from glorabench.methods.base import fill_normal


def quick_gelu(x: Tensor) -> Tensor:
    """QuickGELU: x sigmoid(1.702 x)."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu, "quick_gelu": quick_gelu}
BOTTLENECK_INITS = ("zero_up", "normal", "normal_uncut", "zero")


def check_width(rank: int, site: Site) -> None:
    """Refuse a bottleneck wider than what goes through it.

    Raises:
        BadInput: with the largest rank.
    """
    if rank > site.width:
        raise BadInput(f"method.rank={rank} is no bottleneck in {site.path}: at most its {site.width} features")


class Bottleneck(nn.Module):
    """W_up dropout(phi(W_down h + b_down)) + b_up.

    Args:
        width: features in and out.
        rank: hidden units.
        activation: phi, a name of `ACTIVATIONS`.
        dropout: rate while training.
        init: `zero_up`: W_down Kaiming-uniform (a = sqrt 5), the rest zero. `normal`: both matrices N(0, std²) cut at
            two std, biases zero; `normal_uncut`: the same, not cut. `zero`: everything zero, as in the published VPT
            code: then only b_up ever learns.
        std: of the normal ones.
        like: a tensor of the wanted device and dtype.
    """

    def __init__(
        self, width: int, rank: int, activation: str, dropout: float, init: str, std: float, like: Tensor
    ) -> None:
        super().__init__()
        self.down = nn.Parameter(like.new_zeros(rank, width))
        self.down_bias = nn.Parameter(like.new_zeros(rank))
        self.up = nn.Parameter(like.new_zeros(width, rank))
        self.up_bias = nn.Parameter(like.new_zeros(width))
        if init == "zero_up":
            nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))
        elif init != "zero":
            for matrix in (self.down, self.up):
                fill_normal(matrix, init, std)
        self.activation, self.dropout = ACTIVATIONS[activation], dropout

    def forward(self, h: Tensor) -> Tensor:
        """Features along the last axis."""
        hidden = self.activation(F.linear(h, self.down, self.down_bias))
        return F.linear(F.dropout(hidden, self.dropout, self.training), self.up, self.up_bias)


class Series(nn.Module):
    """h + s c * A(h) for the output h of a layer; c a learned vector or 1.

    Args:
        layer: what comes before.
        branch: A.
        axis: of the features in h.
        scale: s.
        channel_scale: learn c, from one.
        drop_path: rate of dropping the branch for an example while training.
    """

    obstacle = "an adapter is a non-linear branch, no weight can absorb it"

    def __init__(
        self, layer: nn.Module, branch: Bottleneck, axis: int, scale: float, channel_scale: bool, drop_path: float
    ) -> None:
        super().__init__()
        self.layer, self.branch, self.axis = layer, branch, axis
        self.scale, self.drop_path = scale, drop_path
        self.channel_scale = nn.Parameter(torch.ones_like(branch.up_bias)) if channel_scale else None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The output of the layer, adapted; of several outputs the first one, which is the stream of a T5's block."""
        output = self.layer(*args, **kwargs)
        return (self._adapt(output[0]), *output[1:]) if isinstance(output, tuple) else self._adapt(output)

    def _adapt(self, h: Tensor) -> Tensor:
        with products_like(h):
            y = self.scale * self.branch(h.movedim(self.axis, -1))
        if self.channel_scale is not None:
            y = y * self.channel_scale.to(y.dtype)
        if self.drop_path and self.training:
            y = y * F.dropout(y.new_ones(len(y), *[1] * (y.ndim - 1)), self.drop_path)
        return h + y.movedim(-1, self.axis)


class Tap(nn.Module):
    """A layer, or a whole path, that keeps its input or its output for a parallel branch."""

    def __init__(self, layer: nn.Module, of_input: bool) -> None:
        super().__init__()
        self.layer, self.of_input, self.activation = layer, of_input, None

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """What the layer computes."""
        y = self.layer(x, *args, **kwargs)
        self.activation = x if self.of_input else y
        return y

    def take(self, tokens: int) -> Tensor:
        """The first `tokens` of what was kept; they can be taken once."""
        activation, self.activation = self.activation, None
        assert activation is not None, "the tapped layer has not run"
        return activation[:, :tokens]


class Parallel(nn.Module):
    """The end of a path, plus s A(h), where h is what a Tap has kept.

    Args:
        layer: the last one of the path.
        branch: A.
        tap: where A reads.
        scale: s.
        drop_branch: let the branch pass through the layer too; if that is drop-path, with a draw of its own.
        axis: of the features that A reads and gives: -1, or 1 for images.
    """

    obstacle = "a parallel branch is non-linear, no weight can absorb it"

    def __init__(
        self, layer: nn.Module, branch: nn.Module, tap: Tap, scale: float, drop_branch: bool, axis: int = -1
    ) -> None:
        super().__init__()
        self.layer, self.branch, self.scale, self.drop_branch = layer, branch, scale, drop_branch
        self.axis = axis
        self._tap = (tap,)  # in a tuple: it is registered where it stands

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The end of the path, plus the branch."""
        h = self._tap[0].take(x.shape[1]).movedim(self.axis, -1)
        with products_like(h):
            y = (self.scale * self.branch(h)).movedim(-1, self.axis)
        return self.layer(x, *args, **kwargs) + (self.layer(y) if self.drop_branch else y)
