"""Greedy generation with a cache of keys and values, for a batch of prompts of different lengths."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def generate(net: Any, prompts: Tensor, mask: Tensor, limit: int, end: int) -> list[list[int]]:
    """The likeliest next token again and again, until each row has ended.

    Args:
        net: with `new_cache` and `step(tokens, mask, positions, cache)` -> logits of the last position, as `CausalLM`
            and `T5Writer` have them.
        prompts: rows x width, padded on the left.
        mask: 1 where a token is no padding.
        limit: the most new tokens of a row.
        end: the token that ends a row.

    Returns:
        The new tokens of each row, without `end`.
    """
    cache = net.new_cache()
    tokens, positions = prompts, (mask.cumsum(-1) - 1).clamp(min=0)
    rows = prompts.new_empty((len(prompts), 0))
    ended = prompts.new_zeros(len(prompts), dtype=torch.bool)
    for _ in range(limit):
        logits = net.step(tokens, mask, positions, cache)
        following = logits.argmax(-1).masked_fill(ended, end)
        rows = torch.cat([rows, following[:, None]], dim=1)
        ended = ended | (following == end)
        if bool(ended.all()):
            break
        tokens, positions = following[:, None], positions[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
    return [row[: row.index(end)] if end in row else row for row in rows.tolist()]
