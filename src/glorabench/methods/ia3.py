"""(IA)3 (Liu et al. 2022, arXiv 2205.05638, section 3.3): keys and values times a vector, and the hidden
activations of the feed-forward network, which is the input of its last layer: W' = diag(l) W0 or W0 diag(l)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from glorabench.backbones.base import Backbone, Site
from glorabench.errors import BadInput, nearest
from glorabench.methods.base import Method, check_bias, weight_of
from glorabench.methods.reparam import LayerRows, Reparam


class LearnedScale(Reparam):
    """W' = diag(l) W0 and b' = l * b0, or W' = W0 diag(l); l starts at one."""

    def __init__(self, weight: Tensor, of_input: bool) -> None:
        super().__init__()
        self.scale = nn.Parameter(weight.new_ones(weight.shape[1 if of_input else 0]))
        self.of_input = of_input

    def forward(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Rows and bias, or columns, times l."""
        if self.of_input:
            return weight * self.scale, bias
        return weight * self.scale[:, None], None if bias is None else bias * self.scale

    def through(self, x: Tensor, layer: LayerRows) -> Tensor:
        """The input or the output times l."""
        if self.of_input:
            return layer.linear(x * self.scale.to(x.dtype), layer.bias)
        y = layer(x)
        return y * layer.along(self.scale).to(y.dtype)


@dataclass(frozen=True)
class IA3(Method):
    """A vector for every target.

    Args:
        inputs: the roles whose input is scaled; the output of the others is.
    """

    inputs: tuple[str, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.inputs, str):
            raise BadInput(f"method.inputs is a list of roles: method.inputs=[{self.inputs}]")

    def setup(self, backbone: Backbone) -> None:
        """Nothing is shared.

        Raises:
            BadInput: `inputs` names no role of the backbone.
        """
        for role in self.inputs:
            if role not in backbone.roles:
                raise BadInput(f"method.inputs: {backbone.name} has no role '{role}'{nearest(role, backbone.roles)}")

    def adapt(self, site: Site, layer: nn.Module, shared: Any) -> Reparam:
        """One vector; a convolution has no input of its own width to scale."""
        of_input = site.role in self.inputs
        if not of_input:
            check_bias(site)  # it scales the bias, too
        return LearnedScale(weight_of(site, layer, (nn.Linear,) if of_input else (nn.Linear, nn.Conv2d)), of_input)
