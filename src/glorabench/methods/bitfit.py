"""BitFit (Ben Zaken et al. 2022, arXiv 2106.10199): train the biases that are there, nothing else."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from glorabench.backbones.base import Backbone
from glorabench.errors import BadInput
from glorabench.methods.base import Method


@dataclass(frozen=True)
class BitFit(Method):
    """b' = b0 + e for every bias of the trunk.

    Args:
        norms: train the biases of normalisation layers too (the original does).
    """

    norms: bool

    def unfreeze(self, backbone: Backbone) -> Iterable[nn.Parameter]:
        """The biases of every layer outside the head, found by what the layer is."""
        kinds = (nn.Linear, nn.Conv2d, nn.LayerNorm, nn.GroupNorm, nn.BatchNorm2d)
        layers = [m for m in backbone.net.modules() if isinstance(m, kinds) and m is not backbone.classifier]
        if not self.norms:
            layers = [m for m in layers if isinstance(m, nn.Linear | nn.Conv2d)]
        biases = [m.bias for m in layers if isinstance(m.bias, nn.Parameter)]
        if not biases:
            raise BadInput(f"BitFit trains nothing on {backbone.name}: it has no biases. Use LoRA or (IA)3.")
        return biases
