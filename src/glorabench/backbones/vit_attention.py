"""timm's attention for fewer queries or more keys, and the last block of a ViT whose head reads the class token.

Both are exact. The head reads one token of the last block, so the other tokens only matter as keys and values. A prompt
whose output is discarded also matters only as a key and a value.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn


def attend(attn: Attention, x: Tensor, queries: int | None = None, prompts: Tensor | None = None, **_: Any) -> Tensor:
    """The output of `attn(x)` for its first tokens.

    Args:
        attn: timm's attention; its projections may be adapted.
        x: batch x tokens x dim, normalised.
        queries: how many tokens are queries; None is all of them.
        prompts: normalised tokens that are keys and values only: (1 or batch) x count x dim.

    Returns:
        batch x queries x dim.
    """
    batch, size = len(x), attn.attn_dim
    shape = (-1, attn.num_heads, attn.head_dim)
    if queries is None:
        q, k, v = _project(attn, x, 0, 3).unflatten(-1, (3, *shape[1:])).unbind(2)
    else:
        q = _project(attn, x[:, :queries], 0, 1).unflatten(-1, shape[1:])
        k, v = _project(attn, x, 1, 3).unflatten(-1, (2, *shape[1:])).unbind(2)
    if prompts is not None:
        prompt_projections = _project(attn, prompts, 1, 3).unflatten(-1, (2, *shape[1:])).expand(batch, -1, -1, -1, -1)
        k, v = torch.cat([k, prompt_projections[:, :, 0]], dim=1), torch.cat([v, prompt_projections[:, :, 1]], dim=1)
    q, k, v = (tokens.transpose(1, 2) for tokens in (q, k, v))
    dropout = attn.attn_drop.p if attn.training else 0.0
    y = F.scaled_dot_product_attention(attn.q_norm(q), attn.k_norm(k), v, dropout_p=dropout)
    y = y.transpose(1, 2).reshape(batch, -1, size)
    return attn.proj_drop(attn.proj(attn.norm(y)))


def _project(attn: Attention, x: Tensor, start: int, stop: int) -> Tensor:
    """Parts `start` to `stop` of the fused q, k, v projection."""
    rows = slice(start * attn.attn_dim, stop * attn.attn_dim)
    qkv = attn.qkv
    if (start, stop) == (0, 3):
        return qkv(x)
    if isinstance(qkv, nn.Linear):
        return F.linear(x, qkv.weight[rows], None if qkv.bias is None else qkv.bias[rows])
    if hasattr(qkv, "outputs"):
        return qkv.outputs(x, rows)
    return qkv(x)[..., rows]


class ClassTokenBlock(nn.Module):
    """A timm block that returns the first `queries` tokens only; its parts keep their names."""

    norm1: nn.Module
    attn: nn.Module
    ls1: nn.Module
    drop_path1: nn.Module
    norm2: nn.Module
    mlp: nn.Module
    ls2: nn.Module
    drop_path2: nn.Module

    def __init__(self, block: Block, queries: int) -> None:
        super().__init__()
        for name, child in block.named_children():
            self.add_module(name, child)
        self.queries = queries
        self.train(block.training)

    def forward(self, x: Tensor) -> Tensor:
        """Batch x tokens x dim -> batch x queries x dim."""
        z = self.norm1(x)
        if isinstance(self.attn, Attention):
            attention = attend(self.attn, z, self.queries)
        elif hasattr(self.attn, "attend"):  # a method put it there, in terms of `attend`
            attention = self.attn(z, queries=self.queries)
        else:
            attention = self.attn(z)[:, : self.queries]
        x = x[:, : self.queries] + self.drop_path1(self.ls1(attention))
        return x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))))


def compute_class_token_only(net: nn.Module) -> bool:
    """Let the last block of `net` compute the class token alone; False if that would change the output."""
    if not (type(net) is VisionTransformer and net.global_pool == "token" and net.attn_pool is None):
        return False
    last = net.blocks[-1]
    if type(last) is not Block or type(last.attn) is not Attention or last.attn.gate is not None:
        return False
    net.blocks[-1] = ClassTokenBlock(last, 1)
    return True
