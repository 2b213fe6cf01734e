"""What it would cost to quantise merged weights again: the steps of the grid can be coarser than what was learned."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from glorabench.backbones.quantized import QuantizedLinear
from glorabench.methods.reparam import Foldable
from glorabench.training.measure.profiling import certificate


@torch.no_grad()
def requantizing_cost(net: nn.Module, merged: nn.Module, inputs: Tensor) -> dict[str, Any] | None:
    """Compare the network with its merged weights quantised again, in the way of its base. Nothing is changed.

    Args:
        net: the trained network.
        merged: the same, merged into plain layers.
        inputs: a batch.

    Returns:
        max_abs_diff, flipped: of the logits and the predictions, as in `certificate`. error_by_update: the norm of what
        quantising again moves the weights by, relative to the norm of what training moved them by. None where no
        adapted layer is quantised.
    """
    layers = {path: m.layer for path, m in net.named_modules() if isinstance(m, Foldable)}
    bases = {path: layer for path, layer in layers.items() if isinstance(layer, QuantizedLinear)}
    if not bases:
        return None
    again, error, update = copy.deepcopy(merged), 0.0, 0.0
    for path, base in bases.items():
        plain = again.get_submodule(path)
        assert isinstance(plain, nn.Linear)
        layer, weight = base.again(plain), plain.weight.float()
        error += float((layer.dequantize().float() - weight).square().sum())
        update += float((weight - base.dequantize().float()).square().sum())
        parent, _, name = path.rpartition(".")
        setattr(again.get_submodule(parent), name, layer)
    proof = certificate(net, again, inputs)
    cost = {"max_abs_diff": proof["max_abs_diff"], "flipped": proof["flipped"]}
    return cost | ({"error_by_update": (error / update) ** 0.5} if update else {})
