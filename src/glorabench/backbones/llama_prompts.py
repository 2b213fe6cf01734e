"""Llama's trunk with prompts in front of all tokens: they take the first positions, and every token sees them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def prepend_llama(
    trunk: nn.Module,
    prompts: Tensor,
    *,
    input_ids: Tensor,
    attention_mask: Tensor | None = None,
    position_ids: Tensor | None = None,
    past_key_values: Any = None,
    inputs_embeds: None = None,  # noqa: ARG001 (transformers names it; tokens come as ids)
    **settings: Any,
) -> Any:
    """The output of transformers' `LlamaModel` for the tokens alone, when prompts stand in front of them.

    With a cache the prompts go through the trunk once, together with the first tokens; the cache keeps their keys and
    values. Padding on the left stands between prompts and text, and its positions are not counted.

    Args:
        trunk: the model without its head.
        prompts: (1 or batch) x count x width, as embeddings.
        input_ids: batch x new tokens.
        attention_mask: batch x all tokens so far, without prompts; 0 for padding.
        position_ids: of the new tokens, without prompts and padding.
        past_key_values: cache of keys and values.
        settings: further settings of the trunk.

    Raises:
        ValueError: several texts share a row, and the prompts would stand in front of the first alone.
    """
    if position_ids is not None and past_key_values is None:
        raise ValueError("prompts stand in front of a whole row, so a row holds one text")
    count, x = prompts.shape[1], trunk.embed_tokens(input_ids)  # type: ignore[operator]
    is_first = past_key_values is None or past_key_values.get_seq_length() == 0
    if attention_mask is not None:
        attention_mask = torch.cat([attention_mask.new_ones(len(x), count), attention_mask], dim=1)
    if position_ids is not None:
        position_ids = position_ids + count
    if is_first:
        x = torch.cat([prompts.to(x.dtype).expand(len(x), -1, -1), x], dim=1)
        if position_ids is not None:
            own = torch.arange(count, device=x.device).expand(len(x), -1)
            position_ids = torch.cat([own, position_ids], dim=1)
    output = trunk(
        inputs_embeds=x,
        attention_mask=attention_mask,
        position_ids=position_ids,
        past_key_values=past_key_values,
        **settings,
    )
    if is_first:
        output.last_hidden_state = output.last_hidden_state[:, count:]
    return output
