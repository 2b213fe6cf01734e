"""Prompts as keys and values of a Llama. The reference is transformers with a cache that is filled by hand."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from transformers import DynamicCache, LlamaForCausalLM

from conftest import tiny_llama
from glorabench.backbones.generation import generate
from glorabench.methods.vpt import VPT, PromptedAttention

METHOD = VPT(targets=("block",), prompts=3, deep=True, dropout=0.0, keys_only=True)


def prompted_and_plain() -> tuple[Any, Any]:
    backbone, plain = tiny_llama(dtype=torch.float64, kv_heads=2), tiny_llama(dtype=torch.float64, kv_heads=2)
    METHOD.inject(backbone)
    backbone.net.double().eval()
    with torch.no_grad():
        for parameter in backbone.net.parameters():
            if parameter.requires_grad:
                parameter.normal_(generator=torch.Generator().manual_seed(1))
    return backbone.net, plain.net


def filled_cache(net: Any, plain: Any, rows: int) -> DynamicCache:
    """The keys and values of the prompts of each layer, without a rotation."""
    cache = DynamicCache(config=plain.config)
    for index, (layer, old) in enumerate(zip(net.model.layers, plain.model.layers, strict=True)):
        assert isinstance(layer.self_attn, PromptedAttention)
        x = old.input_layernorm(layer.self_attn.prompts)[None].expand(rows, -1, -1)
        heads = [
            project(x).unflatten(-1, (-1, old.self_attn.head_dim)).transpose(1, 2)
            for project in (old.self_attn.k_proj, old.self_attn.v_proj)
        ]
        cache.update(*heads, index)
    return cache


def reference(net: Any, plain: Any, tokens: Tensor) -> Tensor:
    positions = torch.arange(tokens.shape[1]).expand_as(tokens)
    output = LlamaForCausalLM.forward(
        plain, input_ids=tokens, position_ids=positions, past_key_values=filled_cache(net, plain, len(tokens))
    )
    return cast(Tensor, output.logits)


@torch.no_grad()
def test_prompts_are_further_keys_and_values_without_a_position() -> None:
    net, plain = prompted_and_plain()
    tokens = torch.randint(60, (2, 7), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(net(tokens), reference(net, plain, tokens))
    assert (net(tokens) - plain(tokens)).abs().max() > 0.01


@torch.no_grad()
def test_generation_sees_the_prompts_and_padding_changes_nothing() -> None:
    net, plain = prompted_and_plain()
    prompts = torch.randint(1, 60, (2, 5), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(prompts)
    mask[0, :2] = 0
    expected = []
    for row, kept in ((prompts[0, 2:], 3), (prompts[1], 5)):
        tokens = row[None]
        for _ in range(6):
            tokens = torch.cat([tokens, reference(net, plain, tokens)[:, -1].argmax(-1, keepdim=True)], dim=1)
        expected.append(tokens[0, kept:].tolist())
    assert generate(net, prompts, mask, 6, end=-1) == expected
