"""What it costs to quantise merged weights again: a small update does not survive four bits."""

from __future__ import annotations

import copy

import pytest
import torch

from conftest import tiny_llama
from glorabench.methods.reparam import Reparametrized, merge
from glorabench.training.measure.requantizing import requantizing_cost
from test_quantized_methods import inject, move, quantised_llama

TOKENS = torch.randint(60, (64, 8), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("scheme", "worst"), [("nf4", 1e9), ("int8", 0.5)])
def test_the_cost_is_that_of_weights_quantised_again(scheme: str, worst: float) -> None:
    made, _ = quantised_llama(scheme)
    inject("method=lora method.targets=[q,k,v,o,gate,up,down]", made)
    move(made.net)
    made.net.eval()
    merged = merge(copy.deepcopy(made.net))
    before = {name: p.clone() for name, p in merged.named_parameters()}
    cost = requantizing_cost(made.net, merged, TOKENS)
    assert all(torch.equal(p, before[name]) for name, p in merged.named_parameters())
    error = update = 0.0
    again = copy.deepcopy(merged)
    for path, wrapper in made.net.named_modules():
        if isinstance(wrapper, Reparametrized):
            plain, base = merged.get_submodule(path), wrapper.layer
            again.set_submodule(path, type(base)(plain, *([base.double_quant] if scheme == "nf4" else [])).plain())
            error += float((again.get_submodule(path).weight - plain.weight).square().sum())
            update += float((plain.weight - base.dequantize()).square().sum())
    assert cost["error_by_update"] == pytest.approx((error / update) ** 0.5, rel=1e-5)
    assert 0 < cost["error_by_update"] < worst
    with torch.no_grad():
        expected = (again(TOKENS) - made.net(TOKENS)).abs().max()
    assert cost["max_abs_diff"] == pytest.approx(float(expected), rel=1e-3)


def test_four_bits_erase_a_small_update() -> None:
    """An update of a small share of the weights is less than a step of nf4: most of it does not come back."""
    made, _ = quantised_llama("nf4")
    inject("method=lora method.targets=[q,k,v,o,gate,up,down]", made)
    with torch.no_grad():
        for name, p in made.net.named_parameters():
            if name.endswith("up"):
                p.normal_(0, 3e-3, generator=torch.Generator().manual_seed(1))
    cost = requantizing_cost(made.net, merge(copy.deepcopy(made.net)), TOKENS)
    assert cost["error_by_update"] > 0.5


def test_nothing_is_said_of_a_plain_base() -> None:
    made = tiny_llama()
    inject("method=lora", made)
    assert requantizing_cost(made.net, merge(copy.deepcopy(made.net)), TOKENS) is None
