"""A causal language model of transformers as a run uses it: tokens in, logits out, and single steps for generation."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from transformers import DynamicCache, LlamaModel


class CausalLM:
    """What is put in front of a class of transformers, such as `LlamaForCausalLM`."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the next token at every position: batch x tokens x vocabulary."""
        return super().forward(input_ids=tokens, use_cache=False).logits  # type: ignore[misc]

    def hidden(self, tokens: Tensor, positions: Tensor | None = None) -> Tensor:
        """What the head reads: batch x tokens x width.

        Args:
            tokens: batch x tokens; rows end with padding, if any, which no earlier token sees.
            positions: of the tokens in their texts, where several texts share a row. A text begins where they restart
                at 0, and sees itself only.
        """
        net = cast(Any, self)
        is_plain = type(net.model) is LlamaModel and net.config._attn_implementation == "sdpa"
        if positions is not None or not is_plain:
            return net.model(input_ids=tokens, position_ids=positions, use_cache=False).last_hidden_state
        # `model` would ask the device whether its own positions restart, and wait for the answer in every step
        x = net.model.embed_tokens(tokens)
        rotation = net.model.rotary_emb(x, position_ids=torch.arange(tokens.shape[1], device=x.device)[None])
        for layer in net.model.layers:
            x = layer(x, attention_mask=None, position_embeddings=rotation)
        return net.model.norm(x)

    def logits(self, states: Tensor) -> Tensor:
        """Logits over the vocabulary of hidden states (... x width)."""
        net = cast(Any, self)
        logits, cap = net.lm_head(states), getattr(net.config, "final_logit_softcapping", None)
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def get_input_embeddings(self) -> Any:
        """The table of tokens, also where a method wraps the trunk."""
        model = cast(Any, self).model
        return getattr(model, "layer", model).embed_tokens

    def new_cache(self) -> DynamicCache:
        """An empty cache of keys and values, for `step`."""
        return DynamicCache(config=cast(Any, self).config)

    def step(self, tokens: Tensor, mask: Tensor, positions: Tensor, cache: DynamicCache) -> Tensor:
        """Logits of the token after the last one: batch x vocabulary. The cache takes the tokens in.

        Args:
            tokens: batch x new tokens.
            mask: batch x all tokens so far; 0 for padding.
            positions: of the new tokens, without counting padding.
            cache: keys and values of the tokens before.
        """
        output = cast(Any, self).model(
            input_ids=tokens, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
        )
        return self.logits(output.last_hidden_state[:, -1])
