"""Hugging Face peft on quantised weights: the same as our LoRA, and refused where it would misread them."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model

from glorabench.config.compose import compose
from glorabench.config.instantiate import METHOD, make
from glorabench.errors import BadInput
from glorabench.methods.lora import LowRank
from glorabench.methods.reparam import merge, merge_obstacle
from test_quantized_methods import inject, loss, move, near, quantised_llama

QV = ("self_attn.q_proj", "self_attn.v_proj")


def qlora(net):
    """The network with peft's own QLoRA."""
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"])
    return get_peft_model(copy.deepcopy(net), config)


def test_our_lora_is_pefts_qlora():
    """The same A and B on the same nf4 weights: outputs, and gradients of A and B."""
    made, _ = quantised_llama("nf4")
    theirs = qlora(made.net)
    inject("method=lora method.alpha=8", made)
    move(made.net)
    pairs = []
    for path, part in made.net.named_modules():
        if isinstance(part, LowRank):
            layer = theirs.base_model.model.get_submodule(path.partition(".reparams")[0])
            assert type(layer).__module__ == "peft.tuners.lora.bnb"
            pairs += [(part.down, layer.lora_A["default"].weight), (part.up, layer.lora_B["default"].weight)]
    assert len(pairs) == 8
    with torch.no_grad():
        for own, other in pairs:
            other.copy_(own)
    tokens = torch.arange(24).view(3, 8)
    for training in (True, False):
        with torch.no_grad():
            assert near(made.net.train(training)(tokens), theirs.train(training).base_model.model(tokens))
    loss(made.net).backward()
    loss(theirs.base_model.model).backward()
    for own, other in pairs:
        assert float(own.grad.abs().max()) > 0
        assert near(own.grad, other.grad)


def peft_method(config, **args):
    node = compose(["method=peft", f"method.config={config}", "backbone=llama_7b", "method.targets=[q,v]"])["method"]
    return make({**node, "args": args}, METHOD)


@pytest.mark.parametrize("dora", [False, True])
def test_pefts_layers_merge_into_plain_ones(dora):
    """peft itself would quantise the sum again, which can round the adapter away."""
    made, _ = quantised_llama("nf4")
    peft_method("LoraConfig", r=4, use_dora=dora).inject(made)
    move(made.net)
    tokens = torch.arange(24).view(3, 8)
    with torch.no_grad():
        logits = made.net.eval()(tokens)
        assert merge_obstacle(made.net) is None
        merged = merge(copy.deepcopy(made.net))
        assert near(merged(tokens), logits)
    assert all(type(merged.model.layers[0].get_submodule(path)) is torch.nn.Linear for path in QV)


@pytest.mark.parametrize(
    ("scheme", "config", "args"), [("int8", "LoraConfig", {"r": 4}), ("nf4", "HRAConfig", {"r": 4})]
)
def test_what_would_misread_codes_is_refused(scheme, config, args):
    made, _ = quantised_llama(scheme)
    with pytest.raises(BadInput, match=rf"{config} (does not read the quantised weight of|cannot adapt)"):
        peft_method(config, **args).inject(made)
