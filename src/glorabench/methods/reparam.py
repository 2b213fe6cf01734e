"""Reparametrization: a formula (W0, b0) -> (W', b'), written once; forward and merge both derive from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

Rows = slice | None


class Reparam(nn.Module):
    """A formula on the weight (o x i) and bias (o, or None) of a frozen linear layer, or of some of its rows.

    Subclasses write `forward(weight, bias) -> (weight, bias)`. They may add one cheaper, equal way that training
    uses and where dropout lives:

    * `through(x, weight, bias) -> y`: the output itself, or
    * `delta(x) -> Tensor`: the term added to the plain output, when W' - W0 and b' - b0 do not depend on W0, b0;
      then a fused layer still runs as one product.
    """

    def forward(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(W', b') from (W0, b0)."""
        raise NotImplementedError

    def through(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """W' x + b', by default with the folded weight."""
        return F.linear(x, *self(weight, bias))


class Reparametrized(nn.Module):
    """A linear layer whose rows are computed through Reparams; `parts` do not overlap.

    Rows that no part covers stay those of `layer`.
    """

    def __init__(self, layer: nn.Linear, parts: Sequence[tuple[Rows, Reparam]]) -> None:
        super().__init__()
        self.layer = layer
        self.rows = [rows for rows, _ in parts]
        self.reparams = nn.ModuleList(reparam for _, reparam in parts)

    def parts(self) -> Iterator[tuple[slice, Reparam]]:
        """(rows, reparam), the whole layer as slice(0, o)."""
        for rows, reparam in zip(self.rows, self.reparams, strict=True):
            assert isinstance(reparam, Reparam)
            yield rows or slice(0, self.layer.out_features), reparam

    def forward(self, x: Tensor) -> Tensor:
        """W' x + b' by the cheap way of each part."""
        if all(hasattr(reparam, "delta") for _, reparam in self.parts()):
            y = self.layer(x)
            for rows, reparam in self.parts():
                y[..., rows] += reparam.delta(x)  # type: ignore[operator]
            return y
        pieces, done = [], 0
        for rows, reparam in sorted(self.parts(), key=lambda part: part[0].start):
            if rows.start > done:
                pieces.append(F.linear(x, *self._original(slice(done, rows.start))))
            pieces.append(reparam.through(x, *self._original(rows)))
            done = rows.stop
        if done < self.layer.out_features:
            pieces.append(F.linear(x, *self._original(slice(done, self.layer.out_features))))
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=-1)

    def _original(self, rows: slice) -> tuple[Tensor, Tensor | None]:
        bias = self.layer.bias
        return self.layer.weight[rows], None if bias is None else bias[rows]

    def folded(self) -> tuple[Tensor, Tensor | None]:
        """(W', b') of the whole layer by the formula alone, in at least fp32."""
        dtype = torch.promote_types(self.layer.weight.dtype, torch.float32)
        weight = self.layer.weight.to(dtype, copy=True)
        bias = None if self.layer.bias is None else self.layer.bias.to(dtype, copy=True)
        for rows, reparam in self.parts():
            tensors = {name: p.to(dtype) for name, p in reparam.named_parameters()}
            original = tuple(None if t is None else t.to(dtype) for t in self._original(rows))
            new_weight, new_bias = functional_call(reparam, tensors, original)
            weight[rows] = new_weight
            if new_bias is not None:
                bias = weight.new_zeros(len(weight)) if bias is None else bias
                bias[rows] = new_bias
        return weight, bias


@torch.no_grad()
def merge(net: nn.Module) -> nn.Module:
    """Fold every Reparam of `net` into its layer, in place: computed in fp32, then cast to the layer's dtype.

    No wrapper is left; keys and shapes are those of the original network, except that a formula with a bias
    term gives a bias-less layer a bias. Merging a merged network changes nothing.
    """
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Reparametrized):
                setattr(parent, name, _merged(child))
    return net


def _merged(wrapped: Reparametrized) -> nn.Linear:
    layer, (weight, bias) = wrapped.layer, wrapped.folded()
    layer.weight.copy_(weight)
    if bias is not None:
        bias = bias.to(layer.weight.dtype)
        if layer.bias is None:
            layer.bias = nn.Parameter(bias, requires_grad=False)
        else:
            layer.bias.copy_(bias)
    return layer


def mergeable(net: nn.Module) -> bool:
    """True when `net` holds at least one Reparam."""
    return any(isinstance(module, Reparametrized) for module in net.modules())
