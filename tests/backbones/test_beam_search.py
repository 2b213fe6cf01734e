"""Beam search equals that of transformers, whatever the padding and the batch."""

from __future__ import annotations

import pytest
import torch

from conftest import tiny_llama
from glorabench.backbones.beam_search import beam_search
from glorabench.backbones.generation import generate


def padded(lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    prompts = torch.randint(8, 60, (len(lengths), max(lengths)), generator=generator)
    mask = torch.tensor([[0] * (max(lengths) - n) + [1] * n for n in lengths])
    return prompts.masked_fill(mask == 0, 0), mask


def network_and_end(seed: int) -> tuple[torch.nn.Module, int]:
    """A network with sharp likelihoods, and a token that it writes soon after some prompts."""
    net = tiny_llama(seed).net
    net.lm_head.weight.data *= 4
    return net, generate(net, *padded([5, 9, 3, 9]), 12, -1)[1][4]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("beams", [2, 4])
def test_it_is_that_of_transformers(seed: int, beams: int) -> None:
    from transformers import LlamaForCausalLM

    net, end = network_and_end(seed)
    reference = LlamaForCausalLM(net.config).eval()
    reference.load_state_dict(net.state_dict())
    prompts, mask = padded([5, 9, 3, 9])
    ours = beam_search(net, prompts, mask, 12, end, beams)
    rows = reference.generate(
        input_ids=prompts, attention_mask=mask, num_beams=beams, do_sample=False, max_new_tokens=12,
        eos_token_id=end, pad_token_id=end,
    )[:, prompts.shape[1] :].tolist()  # fmt: skip
    assert ours == [row[: row.index(end)] if end in row else row for row in rows]
    assert ours == [beam_search(net, prompts[i : i + 1], mask[i : i + 1], 12, end, beams)[0] for i in range(4)]


def test_some_of_these_completions_end_early_and_differ_from_the_likeliest_tokens() -> None:
    prompts, mask = padded([5, 9, 3, 9])
    networks = [network_and_end(seed) for seed in range(4)]
    beams = [row for net, end in networks for row in beam_search(net, prompts, mask, 12, end, 4)]
    greedy = [row for net, end in networks for row in generate(net, prompts, mask, 12, end)]
    assert min(map(len, beams)) < 12 < 1 + max(map(len, beams))
    assert beams != greedy
