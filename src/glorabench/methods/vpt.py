"""VPT (Jia et al. 2022, arXiv 2203.12119): learned tokens beside the patches. Shallow (eq. 4-6): p prompts enter the
first block and stay. Deep (eq. 7-8): every block gets p prompts of its own, and their outputs are discarded.

On a language model the shallow form is prompt tuning (Lester et al. 2021, arXiv 2104.08691): embeddings in front of
each text, which take its first positions. The deep form is prefix tuning (Li & Liang 2021, arXiv 2101.00190) with keys
and values that the model's own norm and projections make of the prompts.

Other prompts have no position, so their place among the tokens changes nothing. If the output of a prompt is discarded,
only its key and its value matter: `keys_only` computes nothing else, and only once per batch if there is no dropout.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glorabench.backbones.base import Backbone, Site
from glorabench.errors import BadInput
from glorabench.methods.base import Method, like_of

_OBSTACLE = "prompts are tokens, no weight can absorb them"


class Prompts(nn.Module):
    """A block with prompts inserted before it (after the prefix tokens), or removed after it, or both."""

    obstacle = _OBSTACLE

    def __init__(self, block: nn.Module, prompts: nn.Parameter | None, prefix: int, drop: int, dropout: float) -> None:
        super().__init__()
        self.layer, self.prompts = block, prompts
        self.prefix, self.drop, self.dropout = prefix, drop, dropout

    def forward(self, x: Tensor) -> Tensor:
        """Batch x tokens x dim."""
        if self.prompts is not None:
            prompts = F.dropout(self.prompts.expand(len(x), -1, -1), self.dropout, self.training)
            x = torch.cat([x[:, : self.prefix], prompts.to(x.dtype), x[:, self.prefix :]], dim=1)
        x = self.layer(x)
        return torch.cat([x[:, : self.prefix], x[:, self.prefix + self.drop :]], dim=1) if self.drop else x


class PromptedAttention(nn.Module):
    """Attention with prompts as further keys and values."""

    obstacle = _OBSTACLE

    def __init__(
        self,
        attn: nn.Module,
        prompts: nn.Parameter,
        norm: nn.Module,
        attend: Callable[..., Any],
        dropout: float,
    ) -> None:
        super().__init__()
        self.layer, self.prompts, self.attend, self.dropout = attn, prompts, attend, dropout
        self._norm = (norm,)  # in a tuple: it is registered where it stands

    def forward(self, x: Tensor | None = None, queries: int | None = None, **settings: Any) -> Any:
        """What the attention gives for batch x tokens x dim, normalised, and the first `queries` tokens.

        Transformers passes the tokens as `hidden_states`, with further settings of its attention.
        """
        x = cast(Tensor, settings.pop("hidden_states") if x is None else x)
        prompts = self.prompts[None]
        if self.dropout and self.training:
            prompts = F.dropout(prompts.expand(len(x), -1, -1), self.dropout)
        norm = self._norm[0]
        prompts = norm(prompts.to(norm.get_parameter("weight").dtype))
        return self.attend(self.layer, x, queries, prompts, **settings)


class PromptedTrunk(nn.Module):
    """A language model without its head, with prompts in front of all tokens; it gives what the tokens get."""

    obstacle = _OBSTACLE

    def __init__(self, trunk: nn.Module, prompts: nn.Parameter, prepend: Callable[..., Any], dropout: float) -> None:
        super().__init__()
        self.layer, self.prompts, self.prepend, self.dropout = trunk, prompts, prepend, dropout

    def forward(self, **inputs: Any) -> Any:
        """The output of the trunk, with its own arguments."""
        prompts = self.prompts[None]
        if self.dropout and self.training:
            prompts = F.dropout(prompts.expand(len(inputs["input_ids"]), -1, -1), self.dropout)
        return self.prepend(self.layer, prompts, **inputs)


@dataclass(frozen=True)
class VPT(Method):
    """Prompts for the blocks of a ViT or a language model; targets is [block].

    With `blocks`, shallow prompts enter the first of these and leave after the last one. Those of a language model
    enter with the tokens.

    Args:
        prompts: p.
        deep: for every block, or for the first.
        dropout: rate on the prompts while training.
        keys_only: the cheap form of `deep`; the shallow form needs its prompts as tokens.
    """

    prompts: int
    deep: bool
    dropout: float
    keys_only: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.targets != ("block",):
            raise BadInput(f"VPT puts prompts in front of blocks: method.targets=[block], not {list(self.targets)}")
        if self.keys_only and not self.deep:
            raise BadInput("method.keys_only: prompts of VPT-Shallow go through all blocks as tokens, set it to false")

    def adapted_roles(self, backbone: Backbone) -> tuple[str, ...]:
        """The attention of the blocks, or the blocks, or all of a language model without its head."""
        if self.keys_only:
            return ("attn",)
        return ("trunk",) if self._is_in_front(backbone) else ("block",)

    def _is_in_front(self, backbone: Backbone) -> bool:
        """Whether prompts are embeddings in front of a text."""
        return backbone.prepend is not None and not self.deep

    def setup(self, backbone: Backbone) -> tuple[Backbone, tuple[int, int], float, list[nn.Module]]:
        """The backbone, its first and its last adapted block, the bound of the initial values, and the norms.

        The norms are those before attention.

        Raises:
            BadInput: the backbone has no token axis.
        """
        if backbone.attend is None:
            raise BadInput(
                f"VPT puts prompts among the tokens of a ViT; {backbone.name} is none: choose another method"
            )
        if self._is_in_front(backbone):
            backbone.prompt_tokens = self.prompts
        elif backbone.prefix_tokens is None and not self.keys_only:
            raise BadInput(
                f"{backbone.name} has no class token to put prompts behind, so prompts are keys and values: "
                "method=vpt_deep method.keys_only=true"
            )
        backbone.shortcuts["prompts"] = "keys_and_values" if self.keys_only else "tokens"
        norms = [backbone.net.get_submodule(site.path) for site in backbone.sites(["norm1"])]
        blocks = self.blocks or range(len(norms))
        return backbone, (blocks[0], blocks[-1]), _bound(backbone), norms

    def adapt(self, site: Site, layer: nn.Module, shared: Any) -> nn.Module:
        """A block, or its attention, with prompts. They are removed after every block, or after the last one."""
        backbone, (first, last), bound, norms = shared
        prompts = None
        if self.deep or site.depth == first:
            prompts = nn.Parameter(like_of(backbone).new_empty(self.prompts, site.width))
            nn.init.uniform_(prompts, -bound, bound)
        if site.role == "trunk":
            assert prompts is not None  # it is the first of one
            return PromptedTrunk(layer, prompts, backbone.prepend, self.dropout)
        if self.keys_only:
            assert prompts is not None  # it is deep
            return PromptedAttention(layer, prompts, norms[site.depth], backbone.attend, self.dropout)
        drop = self.prompts if self.deep or site.depth == last else 0
        return Prompts(layer, prompts, backbone.prefix_tokens, drop, self.dropout)


def _bound(backbone: Backbone) -> float:
    """The bound of the initial values: that of Xavier for the layer that makes tokens.

    Where tokens come out of a table, it is that of a square layer.
    """
    if "stem" not in backbone.roles:
        return math.sqrt(3 / backbone.sites(["block"])[0].width)
    (stem,) = backbone.sites(["stem"])
    kernel = backbone.net.get_submodule(stem.path).get_parameter("weight")
    return math.sqrt(6 / (kernel[0].numel() + stem.width))
