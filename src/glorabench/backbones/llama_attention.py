"""Attention of Llama and its relatives with prompts: further keys and values, without position, that every token sees.

The relatives are Mistral, Qwen and Gemma; some normalise queries and keys, or cap the scores (Gemma 2).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb, repeat_kv


def attend_llama(
    attn: Any,
    x: Tensor,
    queries: int | None = None,  # noqa: ARG001 (every token of a text is a query)
    prompts: Tensor | None = None,
    *,
    position_embeddings: tuple[Tensor, Tensor],
    attention_mask: Tensor | None = None,
    past_key_values: Any = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """The output of `attn` when prompts are keys and values, too.

    Args:
        attn: transformers' attention; its projections may be adapted.
        x: batch x tokens x dim, normalised.
        queries: not used.
        prompts: normalised, (1 or batch) x count x dim.
        position_embeddings: cosines and sines of the rotation of the tokens.
        attention_mask: which of the tokens so far each token sees, as transformers makes it; None is those before it.
        past_key_values: cache of keys and values; prompts do not go into it.

    Returns:
        batch x tokens x dim, and None for the weights.
    """
    q, k, v = (_heads(project(x), attn.head_dim) for project in (attn.q_proj, attn.k_proj, attn.v_proj))
    q, k = _normalise(attn, "q", q), _normalise(attn, "k", k)
    q, k = apply_rotary_pos_emb(q, k, *position_embeddings)
    if past_key_values is not None:
        k, v = past_key_values.update(k, v, attn.layer_idx)
    mask = _mask(attention_mask, q.shape[2], k.shape[2], x.device)
    if prompts is not None:
        further_k, further_v = (_heads(project(prompts), attn.head_dim) for project in (attn.k_proj, attn.v_proj))
        further = (_normalise(attn, "k", further_k), further_v)
        k, v = (
            torch.cat([more.expand(len(x), -1, -1, -1), old], dim=2) for more, old in zip(further, (k, v), strict=True)
        )
        mask = F.pad(mask, (prompts.shape[1], 0), value=1 if mask.dtype == torch.bool else 0)
    k, v = (repeat_kv(heads, attn.num_key_value_groups) for heads in (k, v))
    y = _attend(q, k, v, mask, attn.scaling, getattr(attn, "attn_logit_softcapping", None))
    return attn.o_proj(y.transpose(1, 2).flatten(2)), None


def _heads(x: Tensor, width: int) -> Tensor:
    """Batch x tokens x dim to batch x heads x tokens x width."""
    return x.unflatten(-1, (-1, width)).transpose(1, 2)


def _normalise(attn: nn.Module, name: str, heads: Tensor) -> Tensor:
    """Queries or keys after their norm, where the attention has one."""
    norm = getattr(attn, f"{name}_norm", None)
    return heads if norm is None else norm(heads)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float, cap: float | None) -> Tensor:
    """Attention: batch x heads x queries x width; with a cap, scores are cap * tanh(score / cap)."""
    if cap is None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    scores = cap * torch.tanh(scale * (q @ k.mT) / cap)
    scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1, dtype=torch.float32).to(q.dtype) @ v


def _mask(mask: Tensor | None, queries: int, keys: int, device: torch.device) -> Tensor:
    """Which keys each query sees: (1 or batch) x 1 x queries x keys."""
    if mask is not None:
        return mask[..., :keys]
    return torch.ones(1, 1, queries, keys, dtype=torch.bool, device=device).tril(keys - queries)
