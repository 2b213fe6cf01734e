"""Prompts in front of a text of a Llama. The reference is PromptTuning of Hugging Face's peft."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from peft import PromptTuningConfig, get_peft_model
from transformers import LlamaForCausalLM

from conftest import tiny_llama
from glorabench.backbones.generation import generate
from glorabench.data.text.batches import TextBatch
from glorabench.errors import BadInput
from glorabench.methods.vpt import VPT
from glorabench.training.objectives.language import LanguageObjective, token_losses

COUNT = 3
METHOD = VPT(targets=("block",), prompts=COUNT, deep=False, dropout=0.0, keys_only=False)


def prompted_and_reference(kv_heads: int = 2) -> tuple[Any, Any]:
    """Our network, and peft's with the same weights and the same prompts, which are far from zero."""
    backbone = tiny_llama(dtype=torch.float64, kv_heads=kv_heads)
    plain = LlamaForCausalLM(cast(Any, backbone.net).config).double().eval()
    plain.load_state_dict(backbone.net.state_dict())
    METHOD.inject(backbone)
    net: Any = backbone.net.double().eval()
    theirs: Any = get_peft_model(plain, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=COUNT))
    theirs.double().eval()
    with torch.no_grad():
        net.model.prompts.normal_(generator=torch.Generator().manual_seed(1))
        theirs.prompt_encoder.default.embedding.weight.copy_(net.model.prompts)
    return net, theirs


def tokens_of(rows: int, width: int) -> torch.Tensor:
    return torch.randint(1, 60, (rows, width), generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_logits_are_those_of_peft() -> None:
    net, theirs = prompted_and_reference()
    tokens = tokens_of(2, 7)
    expected = theirs(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits[:, COUNT:]
    torch.testing.assert_close(net(tokens), expected)
    torch.testing.assert_close(net.logits(net.hidden(tokens)), expected)


def test_loss_and_gradient_are_those_of_peft() -> None:
    """The loss covers the second half of each row, and the second row ends with padding."""
    net, theirs = prompted_and_reference()
    tokens = tokens_of(2, 8)
    labels = torch.full_like(tokens, -100)
    labels[0, 4:], labels[1, 3:6] = tokens[0, 4:], tokens[1, 3:6]
    mask = torch.ones_like(tokens)
    mask[1, 6:] = 0
    scored = labels.flatten().ne(-100).nonzero()[:, 0]
    batch = TextBatch(tokens, scored - 1, tokens.flatten()[scored], scored // 8, examples=())
    ours, expected = (
        LanguageObjective(["loss"]).loss(net, batch),
        theirs(input_ids=tokens, attention_mask=mask, labels=labels).loss,
    )
    assert ours.item() == pytest.approx(expected.item(), abs=1e-6)  # transformers computes it in single precision
    ours.backward()
    expected.backward()
    gradient = theirs.prompt_encoder.default.embedding.weight.grad
    torch.testing.assert_close(net.model.prompts.grad, gradient, rtol=1e-4, atol=1e-6)
    assert gradient.abs().max() > 1e-3
    assert [name for name, p in net.named_parameters() if p.grad is not None] == ["model.prompts"]


@torch.no_grad()
def test_generation_is_that_of_peft_and_padding_changes_nothing() -> None:
    net, theirs = prompted_and_reference()
    prompts = tokens_of(2, 5)
    mask = torch.ones_like(prompts)
    mask[0, :2] = 0
    expected = []
    for row in (prompts[:1, 2:], prompts[1:]):
        theirs.generation_config.eos_token_id = None
        output = theirs.generate(
            input_ids=row, attention_mask=torch.ones_like(row), max_new_tokens=6, do_sample=False, pad_token_id=0
        )
        expected.append(output[0, -6:].tolist())
    assert generate(net, prompts, mask, 6, end=-1) == expected


@torch.no_grad()
def test_each_step_of_generation_has_the_logits_of_the_whole_text() -> None:
    net, _ = prompted_and_reference()
    tokens = tokens_of(1, 6)
    cache, whole = net.new_cache(), net(tokens)
    mask, positions = torch.ones_like(tokens), torch.arange(6)[None]
    torch.testing.assert_close(net.step(tokens[:, :4], mask[:, :4], positions[:, :4], cache), whole[:, 3])
    for at in (4, 5):
        step = net.step(tokens[:, at : at + 1], mask[:, : at + 1], positions[:, at : at + 1], cache)
        torch.testing.assert_close(step, whole[:, at])


def test_a_row_of_several_texts_is_refused() -> None:
    net, _ = prompted_and_reference()
    tokens = tokens_of(1, 6)
    with pytest.raises(ValueError, match="a row holds one text"):
        net.hidden(tokens, torch.tensor([[0, 1, 2, 0, 1, 2]]))


def test_blocks_are_refused() -> None:
    method = VPT(targets=("block",), prompts=3, deep=False, dropout=0.0, keys_only=False, blocks=(0,))
    with pytest.raises(BadInput, match="adapts nothing inside these blocks of tiny_llama: leave it null"):
        method.inject(tiny_llama())


def test_dropout_on_prompts_acts_while_training_only() -> None:
    backbone = tiny_llama()
    VPT(targets=("block",), prompts=COUNT, deep=False, dropout=0.5, keys_only=False).inject(backbone)
    net: Any = backbone.net
    tokens = tokens_of(2, 5)
    batch = TextBatch(tokens, torch.tensor([3]), tokens.flatten()[4:5], torch.tensor([0]), examples=())
    assert token_losses(net.eval(), batch) == token_losses(net, batch)
    assert token_losses(net.train(), batch) != token_losses(net, batch)
