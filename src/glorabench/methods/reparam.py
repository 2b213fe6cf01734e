"""Reparametrization: a formula (W0, b0) -> (W', b'), written once; forward and merge both derive from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from glorabench.backbones.layer_kinds import is_image_norm, out_width
from glorabench.backbones.precision import products_like
from glorabench.backbones.quantized import QuantizedLinear
from glorabench.errors import BadInput


@dataclass(frozen=True)
class LayerRows:
    """Output rows of a frozen layer, with the weight as a matrix: how a frozen weight is read.

    A product with a quantised weight reads it piece by piece (`linear`, `times`, `tiles`); `weight` makes a copy of all
    of it. The matrix is o x i for a linear layer, o x (i/groups kh kw) for a convolution, and o x 1 for the scale of a
    normalisation layer.
    """

    layer: nn.Module
    rows: slice

    @property
    def weight(self) -> Tensor:
        """W0, as a matrix."""
        if isinstance(self.layer, QuantizedLinear):
            return self.layer.dequantize(self.rows)
        weight = self.layer.get_parameter("weight")[self.rows]
        return weight.flatten(1) if weight.ndim > 1 else weight[:, None]

    @property
    def height(self) -> int:
        """How many rows they are."""
        return len(range(*self.rows.indices(out_width(self.layer))))

    @property
    def bias(self) -> Tensor | None:
        """The bias b0."""
        bias = getattr(self.layer, "bias", None)
        return None if bias is None else bias[self.rows]

    def tiles(self) -> Iterable[tuple[slice, Tensor]]:
        """W0 in pieces of whole rows, (rows, piece); of a plain layer it is one piece."""
        if isinstance(self.layer, QuantizedLinear):
            return self.layer.tiles(self.rows)
        weight = self.weight
        return [(slice(0, len(weight)), weight)]

    def linear(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """x W0^T + bias, of a linear layer."""
        if not isinstance(self.layer, QuantizedLinear):
            return F.linear(x, self.weight, bias)
        y = self.layer.product(x, self.rows)
        return y if bias is None else y + bias.to(y.dtype)

    def times(self, matrix: Tensor) -> Tensor:
        """W0 M for a matrix of i rows."""
        if isinstance(self.layer, QuantizedLinear):
            return self.layer.product(matrix.T, self.rows).T
        weight = self.weight
        return weight @ matrix.to(weight.dtype)  # of half precision, W0 is not copied for it

    def run(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """What the layer computes with another weight (a matrix) and bias."""
        if self.is_linear:
            return F.linear(x, weight, bias)
        tensors = {"weight": weight.view_as(self.layer.get_parameter("weight"))}
        if getattr(self.layer, "bias", None) is not None or bias is None:
            return functional_call(self.layer, tensors if bias is None else {**tensors, "bias": bias}, (x,))
        return functional_call(self.layer, tensors, (x,)) + self.along(bias)

    def __call__(self, x: Tensor) -> Tensor:
        """What the frozen layer computes."""
        if isinstance(self.layer, QuantizedLinear):
            return self.linear(x, self.bias)
        return self.run(x, self.weight, self.bias)

    def along(self, vector: Tensor) -> Tensor:
        """A vector of o numbers, shaped to meet the features of the layer's output."""
        is_image = isinstance(self.layer, nn.Conv2d) or is_image_norm(self.layer)
        return vector[:, None, None] if is_image else vector

    @property
    def is_linear(self) -> bool:
        """A matrix product with the last axis of its input."""
        return isinstance(self.layer, nn.Linear)


class Reparam(nn.Module):
    """A formula on the weight (a matrix, see `LayerRows`) and the bias (o, or None) of rows of a frozen layer.

    Subclasses write `forward(weight, bias) -> (weight, bias)`. They may add one cheaper way to compute the same
    output. Training uses it, and dropout acts in it:

    * `through(x, layer) -> y`: the output itself, or
    * `delta(x, rows) -> Tensor`: the term added to these outputs of a linear layer, if W' - W0 and b' - b0 do not
      depend on W0 and b0. Then a fused layer still runs as one product.
    """

    def forward(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(W', b') from (W0, b0)."""
        raise NotImplementedError

    def through(self, x: Tensor, layer: LayerRows) -> Tensor:
        """The output of the layer, by default with the folded weight."""
        return layer.run(x, *self(layer.weight, layer.bias))


class Foldable(nn.Module):
    """A wrapper of a layer that can give back a plain layer computing the same."""

    layer: nn.Module

    def merge(self) -> nn.Module:
        """The wrapped layer, changed in place."""
        raise NotImplementedError


class Reparametrized(Foldable):
    """A layer whose rows are computed through Reparams; `parts` do not overlap.

    Rows that no part covers stay those of `layer`. Only a linear layer can have several parts.
    """

    def __init__(self, layer: nn.Module, parts: Sequence[tuple[slice | None, Reparam]]) -> None:
        super().__init__()
        self.layer = layer
        self.rows = [rows or slice(0, self.out_features) for rows, _ in parts]
        self.reparams = nn.ModuleList(reparam for _, reparam in parts)

    @property
    def out_features(self) -> int:
        """The number o of the whole layer."""
        return out_width(self.layer)

    @property
    def weight(self) -> Tensor:
        """W' in the shape and dtype of the layer's weight, for code that reads it instead of calling the layer."""
        if isinstance(self.layer, QuantizedLinear):
            return self.fold()[0].to(self.layer.dtype)
        original = self.layer.get_parameter("weight")
        return self.fold()[0].view_as(original).to(original.dtype)

    @property
    def bias(self) -> Tensor | None:
        """b' likewise."""
        bias = self.fold()[1]
        return None if bias is None else bias.to(weight_dtype(self.layer))

    def parts(self) -> Iterator[tuple[slice, Reparam]]:
        """(rows, reparam) in the order of the rows."""
        pairs = zip(self.rows, self.reparams, strict=True)
        for rows, reparam in sorted(pairs, key=lambda part: part[0].start):
            assert isinstance(reparam, Reparam)
            yield rows, reparam

    def forward(self, x: Tensor) -> Tensor:
        """The output, by the cheapest computation that each part has."""
        return self.outputs(x, slice(0, self.out_features))

    def outputs(self, x: Tensor, rows: slice) -> Tensor:
        """Only these rows of the output; a part without `delta` that reaches beyond them is computed whole."""
        with products_like(x):
            return self._outputs(x, rows)

    def _outputs(self, x: Tensor, rows: slice) -> Tensor:
        parts = [(span, part) for span, part in self.parts() if span.start < rows.stop and rows.start < span.stop]
        if isinstance(self.layer, nn.Linear) and all(hasattr(part, "delta") for _, part in parts):
            return self._with_deltas(x, rows, parts)
        if any(span.start < rows.start or rows.stop < span.stop for span, _ in parts):
            return self(x)[..., rows]
        outputs, end = [], rows.start
        for span, part in parts:
            if span.start > end:
                outputs.append(LayerRows(self.layer, slice(end, span.start))(x))
            outputs.append(part.through(x, LayerRows(self.layer, span)))
            end = span.stop
        if end < rows.stop:
            outputs.append(LayerRows(self.layer, slice(end, rows.stop))(x))
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)

    def _with_deltas(self, x: Tensor, rows: slice, parts: Sequence[tuple[slice, Reparam]]) -> Tensor:
        """Rows of the frozen layer, plus the term of each part."""
        y = LayerRows(self.layer, rows)(x)
        for span, part in parts:
            start, stop = max(span.start, rows.start), min(span.stop, rows.stop)
            update = part.delta(x, slice(start - span.start, stop - span.start))  # type: ignore[operator]
            y[..., start - rows.start : stop - rows.start] += update
        return y

    def fold(self) -> tuple[Tensor, Tensor | None]:
        """(W', b') of the whole layer by the formula alone, W' as a matrix, in at least fp32."""
        whole = LayerRows(self.layer, slice(0, self.out_features))
        dtype = torch.promote_types(whole.weight.dtype, torch.float32)
        weight = whole.weight.to(dtype, copy=True)
        bias = None if whole.bias is None else whole.bias.to(dtype, copy=True)
        for rows, reparam in self.parts():
            tensors = {name: p.to(dtype) for name, p in reparam.named_parameters()}
            part = LayerRows(self.layer, rows)
            original = part.weight.to(dtype), None if part.bias is None else part.bias.to(dtype)
            new_weight, new_bias = functional_call(reparam, tensors, original)
            weight[rows] = new_weight
            if new_bias is not None:
                bias = weight.new_zeros(len(weight)) if bias is None else bias
                bias[rows] = new_bias
        return weight, bias

    def merge(self) -> nn.Module:
        """The layer with the folded weight and bias, cast to its dtype; in place of a quantised one a plain one."""
        layer = self.layer.plain() if isinstance(self.layer, QuantizedLinear) else self.layer
        set_weights(layer, *self.fold())
        return layer


def weight_dtype(layer: nn.Module) -> torch.dtype:
    """The type of a layer's weight; of a quantised layer that of the numbers which its codes stand for."""
    return layer.dtype if isinstance(layer, QuantizedLinear) else layer.get_parameter("weight").dtype


def set_weights(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> None:
    """Give a layer this weight (a matrix, see `LayerRows`) and this bias, or none, cast to the layer's dtype."""
    original = layer.get_parameter("weight")
    original.copy_(weight.view_as(original))
    parameter = None if bias is None else nn.Parameter(bias.to(original.dtype), requires_grad=False)
    layer.register_parameter("bias", parameter)


def merge_obstacle(net: nn.Module) -> str | None:
    """Why `net` cannot be merged: the `obstacle` of the first module that has one, or None."""
    reasons = (getattr(module, "obstacle", None) for module in net.modules())
    return next((reason for reason in reasons if isinstance(reason, str)), None)


def merging_adds_bias(net: nn.Module) -> bool:
    """True when merging `net` would give a layer a bias that it lacks."""
    layers = (module for module in net.modules() if isinstance(module, Reparametrized))
    with torch.no_grad():
        return any(layer.layer.bias is None and layer.bias is not None for layer in layers)


def has_foldable(net: nn.Module) -> bool:
    """True when merging `net` would change a layer of it."""
    return any(isinstance(module, Foldable) for module in net.modules())


@torch.no_grad()
def merge(net: nn.Module) -> nn.Module:
    """Fold every Reparam of `net` into its layer, in place: computed in fp32, then cast to the layer's dtype.

    A quantised layer becomes a plain one: to quantise it again could round away what was learned.

    No wrapper is left; keys and shapes are those of the original network, except that a formula with a bias
    term gives a bias-less layer a bias. Merging a merged network changes nothing.

    Raises:
        BadInput: a part of the method is no weight, with the reason.
    """
    if reason := merge_obstacle(net):
        raise BadInput(f"this network cannot be merged: {reason}")
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Foldable):
                setattr(parent, name, child.merge())
    return net
