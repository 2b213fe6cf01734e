"""Linear layers that keep a frozen weight in few bits, and how such a weight is read.

A layer computes with the numbers that its bits stand for, as a plain layer with these numbers would. They are
dequantised when they are needed, in pieces of whole rows, and again for the backward pass, so none of them stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from glorabench.backbones.precision import full_precision, tokens_of
from glorabench.errors import BadInput, one_of

SCHEMES = ("nf4", "int8")
LANGUAGE_HEAD = "lm_head"  # of transformers' language models; it keeps its precision
_PEFT_MARK = "is_loaded_in_4bit"  # an attribute of the network, by which peft knows bitsandbytes' layers in it
TILE = 2**24  # numbers of a weight that are dequantised at a time: 64 MiB in float32


class QuantizedLinear(nn.Linear):
    """A frozen linear layer by its quantised weight; `dtype` is that of the numbers it stands for.

    Its parameter `weight` holds codes: read the numbers with `dequantize` or `tiles`.
    """

    dtype: torch.dtype
    row_step = 1  # rows between the places where a piece may begin without reading more

    def dequantize(self, rows: slice = slice(None)) -> Tensor:
        """W0 for some rows, o x i: a new tensor."""
        raise NotImplementedError

    def stored_bytes(self) -> int:
        """Bytes of the codes and the scales; from the shape where they are not computed (meta device)."""
        raise NotImplementedError

    def tiles(self, rows: slice = slice(None)) -> Iterator[tuple[slice, Tensor]]:
        """W0 in pieces of whole rows, with at most `TILE` numbers: (rows counted from the first one, piece)."""
        first, stop, _ = rows.indices(self.out_features)
        height = max(TILE // self.in_features // self.row_step, 1) * self.row_step
        for start in range(first, stop, height):
            end = min(start + height, stop)
            yield slice(start - first, end - first), self.dequantize(slice(start, end))

    def product(self, x: Tensor, rows: slice = slice(None)) -> Tensor:
        """x W0^T for some rows: ... x o."""
        tokens = tokens_of(x).view(x.shape)
        with full_precision(x):
            return _Product.apply(tokens, self, rows)

    def forward(self, input: Tensor) -> Tensor:
        """x W0^T + b."""
        y = self.product(input)
        return y if self.bias is None else y + self.bias.to(y.dtype)

    def plain(self) -> nn.Linear:
        """A linear layer with the dequantised weight."""
        layer = nn.Linear(self.in_features, self.out_features, bias=False, device="meta")
        layer.weight = nn.Parameter(self.dequantize(), requires_grad=False)
        layer.bias = self.bias
        return layer

    def again(self, layer: nn.Linear) -> QuantizedLinear:
        """Another linear layer, quantised in the way of this one."""
        raise NotImplementedError


class _Product(torch.autograd.Function):
    """x W0^T; the backward pass reads the layer again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: QuantizedLinear, rows: slice) -> Tensor:
        ctx.layer, ctx.rows = layer, rows
        outputs = [F.linear(x, weight.to(x.dtype)) for _, weight in layer.tiles(rows)]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, None, None]:  # type: ignore[override]
        dx = None
        with full_precision(dy):
            for part, weight in ctx.layer.tiles(ctx.rows):
                piece = dy[..., part] @ weight.to(dy.dtype)
                dx = piece if dx is None else dx.add_(piece)
        return dx, None, None


class Int8Linear(QuantizedLinear):
    """Eight bits a number: whole numbers from -127 to 127, and for each row the scale that its largest number needs.

    bitsandbytes' own 8-bit layer also rounds the inputs (LLM.int8, arXiv 2208.07339), so it is no product with one
    weight, and what a method adds or merges would not be exact.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=False, device="meta")
        weight = layer.weight.detach().float()
        scale = weight.abs().amax(dim=1) / 127
        codes = (weight / scale.clamp_min(torch.finfo(torch.float32).tiny)[:, None]).round()
        self.dtype = layer.weight.dtype
        self.weight = nn.Parameter(codes.to(torch.int8), requires_grad=False)
        self.register_buffer("scale", scale)
        self.bias = layer.bias

    def dequantize(self, rows: slice = slice(None)) -> Tensor:
        """Codes times the scale of their row."""
        return (self.weight[rows].float() * self.get_buffer("scale")[rows, None].float()).to(self.dtype)

    def stored_bytes(self) -> int:
        """One byte a number, four a row."""
        return self.weight.nbytes + self.get_buffer("scale").nbytes

    def again(self, layer: nn.Linear) -> QuantizedLinear:
        """The same for another layer."""
        return Int8Linear(layer)


def check_scheme(scheme: str | None, double_quant: bool) -> None:
    """Refuse a way of quantising that does not exist or cannot work here.

    Raises:
        BadInput: naming the key; nf4 without the package bitsandbytes, too.
    """
    if scheme is not None:
        one_of("backbone.quantize", scheme, SCHEMES)
    if scheme != "nf4" and not double_quant:
        raise BadInput(f"backbone.double_quant=false is for backbone.quantize=nf4, here it is {scheme or 'null'}")
    if scheme == "nf4":
        from glorabench.backbones.bitsandbytes_library import import_bitsandbytes

        import_bitsandbytes("backbone.quantize=nf4")


def quantize_linears(net: nn.Module, scheme: str, double_quant: bool, skip: Iterable[str]) -> None:
    """Replace the linear layers of a network by quantised ones, one after the other, in place.

    Args:
        net: the network; on the meta device its layers are replaced by such that hold nothing.
        scheme: one of `SCHEMES`.
        double_quant: nf4's scales are quantised, too (arXiv 2305.14314, section 3).
        skip: paths of linear layers that stay as they are.
    """
    skip = set(skip)
    for path, module in list(net.named_modules()):
        if type(module) is nn.Linear and path not in skip:
            _replace(net, path, _quantized(module, scheme, double_quant))
    if scheme == "nf4":
        setattr(net, _PEFT_MARK, True)


def quantize_network(
    net: nn.Module, scheme: str | None, double_quant: bool, provenance: dict[str, str | None]
) -> dict[str, str | None]:
    """Quantise the linear layers of a language model but its head, in place, where a scheme is given.

    Returns:
        The provenance of its weights, with the way in words.
    """
    if scheme is None:
        return provenance
    quantize_linears(net, scheme, double_quant, skip=[LANGUAGE_HEAD])
    scales = "double quantisation" if double_quant else "scales in float32"
    words = "int8, one scale for each row" if scheme == "int8" else f"nf4, blocks of 64, {scales}"
    return provenance | {"quantized": f"{words}; all linear layers but the head"}


def _quantized(layer: nn.Linear, scheme: str, double_quant: bool) -> QuantizedLinear:
    if scheme == "int8":
        return Int8Linear(layer)
    from glorabench.backbones.nf4 import NF4Linear

    return NF4Linear(layer, double_quant)


def dequantize_linears(net: nn.Module) -> None:
    """Replace the quantised layers of a network by plain ones with the numbers that they stand for, in place."""
    for path, module in list(net.named_modules()):
        if isinstance(module, QuantizedLinear):
            _replace(net, path, module.plain())
    if hasattr(net, _PEFT_MARK):
        setattr(net, _PEFT_MARK, False)


def round_linears(net: nn.Module, scheme: str, double_quant: bool, skip: Iterable[str]) -> None:
    """Replace the weights of linear layers by the numbers that quantised ones stand for, in place.

    The layers stay plain. The arguments are those of `quantize_linears`.
    """
    quantize_linears(net, scheme, double_quant, skip)
    dequantize_linears(net)


def _replace(net: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(net.get_submodule(parent), name, module)


def quantized_layers(net: nn.Module) -> list[QuantizedLinear]:
    """The quantised layers of a network."""
    return [module for module in net.modules() if isinstance(module, QuantizedLinear)]


def numbers_of(net: nn.Module, parameters: Iterable[nn.Parameter]) -> int:
    """How many numbers some parameters of a network stand for: a byte of nf4 is two."""
    sizes = {id(layer.weight): layer.in_features * layer.out_features for layer in quantized_layers(net)}
    return sum(sizes.get(id(parameter), parameter.numel()) for parameter in parameters)


def frozen_bytes(net: nn.Module) -> int:
    """Bytes of the parameters of a network that are not trained, with the scales of quantised ones."""
    sizes = {id(layer.weight): layer.stored_bytes() for layer in quantized_layers(net)}
    return sum(sizes.get(id(p), p.nbytes) for p in net.parameters() if not p.requires_grad)
