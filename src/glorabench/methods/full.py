"""Full fine-tuning: every parameter of the backbone, and the head."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from glorabench.backbones.base import Backbone
from glorabench.methods.base import Method


@dataclass(frozen=True)
class Full(Method):
    """Train everything; the upper end of the parameter axis."""

    def unfreeze(self, backbone: Backbone) -> Iterable[nn.Parameter]:
        """All parameters."""
        return backbone.net.parameters()
