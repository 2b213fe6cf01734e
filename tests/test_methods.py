"""The conformance matrix: every conf/method/*.yaml, and variants that matter, on every tiny backbone."""

import copy
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from conftest import tiny_convnext, tiny_vit
from glorabench.compose import compose, make, options
from glorabench.errors import BadInput
from glorabench.methods.reparam import Reparam, Reparametrized, merge, mergeable
from glorabench.search import PathSpace

BACKBONES = {"vit": tiny_vit, "convnext": tiny_convnext}
VARIANTS = {  # beyond the file's own values
    "lora qkv": ["method=lora", "method.targets=[qkv]"],
    "lora everywhere": ["method=lora", "method.targets=[q,k,v,o,fc1,fc2]", "method.alpha=3"],
    "glora all lora": ["method=glora", "method.path={A: lora, B: lora, C: lora, D: vector, E: vector}"],
    "glora vector matmul": [
        "method=glora",
        "method.path={A: vector, B: vector, C: vector, D: scalar, E: scalar}",
        "method.product=matmul",
    ],
    "glora supernet": ["method=glora", "method.path=supernet"],
}
CASES = {**{name: [f"method={name}"] for name in options("method")}, **VARIANTS}
TARGETS = {"convnext": ["fc1", "fc2"]}  # where a method's default roles do not exist
UNSUPPORTED = {  # (case, backbone): the reason that the error gives
    ("lora", "convnext"): "no role 'q'",
    ("lora qkv", "convnext"): "no role 'qkv'",
    ("lora everywhere", "convnext"): "no role 'q'",
    ("glora", "convnext"): "no role 'qkv'",
    ("glora all lora", "convnext"): "no role 'qkv'",
    ("glora vector matmul", "convnext"): "no role 'qkv'",
    ("glora supernet", "convnext"): "no role 'qkv'",
}
MATRIX = [(case, backbone) for case in CASES for backbone in BACKBONES]


@cache
def config_of(case):
    return compose(CASES[case])["method"]


def injected(case, backbone, dtype=torch.float64, seed=0, retarget=True):
    config = copy.deepcopy(config_of(case))
    if retarget and config["targets"] and (case, backbone) in UNSUPPORTED:
        config["targets"] = TARGETS[backbone]
    torch.manual_seed(seed)
    made = BACKBONES[backbone](dtype=dtype)
    plain = copy.deepcopy(made.net)
    make(config).inject(made)
    return made, plain


def batch(dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(4, 3, 32, 32, generator=generator, dtype=torch.float64).to(dtype)
    return images, torch.tensor([0, 1, 2, 3])


def train(net, steps=2):
    """A few steps of SGD large enough to move every trained tensor away from its start."""
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.05)
    images, labels = batch(next(net.parameters()).dtype)
    space = PathSpace(net)
    for step in range(steps):
        if space.is_supernet:
            space.set(space.draw(0, step))
        optimizer.zero_grad()
        F.cross_entropy(net(images), labels).backward()
        optimizer.step()


@pytest.mark.parametrize(("case", "backbone"), MATRIX)
def test_trained_set_is_what_is_new_plus_what_is_named_plus_the_head(case, backbone):
    made, plain = injected(case, backbone)
    old_names = {name for name, _ in plain.named_parameters()}
    head = {id(p) for p in made.head_parameters()}
    config = config_of(case)
    for name, parameter in made.net.named_parameters():
        original = name.replace(".layer.", ".")
        is_new = name not in old_names and original not in old_names
        named = config["_target_"].endswith("Full") or (config["_target_"].endswith("BitFit") and name.endswith("bias"))
        assert parameter.requires_grad == (is_new or named or id(parameter) in head), name


@pytest.mark.parametrize(("case", "backbone"), MATRIX)
def test_starts_as_the_pretrained_network(case, backbone):
    made, plain = injected(case, backbone)
    images, _ = batch()
    assert torch.allclose(made.net.eval()(images), plain.eval()(images), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("case", "backbone"), MATRIX)
def test_frozen_tensors_stay_bit_identical_and_trained_ones_move(case, backbone):
    made, _ = injected(case, backbone)
    before = {name: p.detach().clone() for name, p in made.net.named_parameters()}
    train(made.net, steps=3 if "supernet" not in case else 40)
    for name, parameter in made.net.named_parameters():
        if not parameter.requires_grad:
            assert torch.equal(parameter, before[name]), name
        else:
            assert not torch.equal(parameter, before[name]), name


@pytest.mark.parametrize(("case", "backbone"), MATRIX)
def test_every_trained_tensor_gets_a_gradient_within_two_steps(case, backbone):
    made, _ = injected(case, backbone)
    alive = set()
    images, labels = batch()
    optimizer = torch.optim.SGD([p for p in made.net.parameters() if p.requires_grad], lr=0.05)
    for _ in range(2):  # a supernet computes its first path here: all lora
        optimizer.zero_grad()
        F.cross_entropy(made.net(images), labels).backward()
        alive |= {n for n, p in made.net.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
        optimizer.step()
    assert alive == {name for name, p in made.net.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(("case", "backbone"), MATRIX)
def test_cheap_way_equals_folded_weights_after_training(case, backbone):
    made, _ = injected(case, backbone)
    train(made.net)
    wrapped = [module for module in made.net.modules() if isinstance(module, Reparametrized)]
    for module in wrapped:
        x = torch.randn(3, 5, module.layer.in_features, dtype=torch.float64)
        assert torch.allclose(module(x), F.linear(x, *module.folded()), rtol=0, atol=1e-10)
    assert bool(wrapped) == mergeable(made.net)


@pytest.mark.parametrize(("case", "backbone"), MATRIX)
def test_merge_is_exact_idempotent_and_leaves_the_original_keys(case, backbone):
    made, plain = injected(case, backbone)
    train(made.net)
    images, _ = batch()
    before = made.net.eval()(images)
    merged = merge(made.net)
    assert torch.allclose(merged(images), before, rtol=0, atol=1e-10)
    assert list(merged.state_dict()) == list(plain.state_dict())
    assert not any(isinstance(module, (Reparam, Reparametrized)) for module in merged.modules())
    once = {key: value.clone() for key, value in merged.state_dict().items()}
    assert all(torch.equal(value, once[key]) for key, value in merge(merged).state_dict().items())


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("case", ["lora everywhere", "glora all lora", "glora vector matmul"])
def test_merging_bf16_weights_rounds_once(case, backbone):
    """Computed in fp32, then cast: each merged weight is the float64 one, rounded to bf16's 8 bits."""
    made, _ = injected(case, backbone, dtype=torch.float32)
    train(made.net)
    made.net.to(torch.bfloat16)
    exact = copy.deepcopy(made.net).to(torch.float64)
    for (name, got), want in zip(merge(made.net).named_parameters(), merge(exact).parameters(), strict=True):
        error = (got.double() - want).abs()
        assert (error <= want.abs() * 2**-8 + 1e-7).all(), name


_LOADER = """
import json, sys, torch
from pathlib import Path
from safetensors.torch import load_file
from test_methods import batch, injected
from glorabench.search import PathSpace
for folder in map(Path, sys.argv[1:]):
    case, backbone, paths = json.loads((folder / "case.json").read_text())
    made, _ = injected(case, backbone, dtype=torch.float32)
    made.net.load_state_dict(load_file(folder / "adapter.safetensors"), strict=False)
    PathSpace(made.net).set(paths)
    with torch.no_grad():
        logits = made.net.eval()(batch(torch.float32)[0])
    assert torch.equal(logits, load_file(folder / "logits.safetensors")["logits"]), (case, backbone)
print("equal", len(sys.argv) - 1)
"""


def test_saved_and_loaded_in_a_fresh_process_gives_the_same_logits(tmp_path):
    """One process for all of them: starting one for each would take minutes."""
    images, _ = batch(torch.float32)
    for index, (case, backbone) in enumerate(MATRIX):
        made, _ = injected(case, backbone, dtype=torch.float32)
        train(made.net)
        folder = tmp_path / str(index)
        folder.mkdir()
        trained = {n: p.detach().contiguous() for n, p in made.net.named_parameters() if p.requires_grad}
        save_file(trained, folder / "adapter.safetensors")
        (folder / "case.json").write_text(json.dumps([case, backbone, PathSpace(made.net).current()]))
        with torch.no_grad():
            save_file({"logits": made.net.eval()(images)}, folder / "logits.safetensors")
    words = [sys.executable, "-c", _LOADER, *map(str, tmp_path.iterdir())]
    done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parent)
    assert done.stdout.strip() == f"equal {len(MATRIX)}", done.stderr


@pytest.mark.parametrize(("case", "backbone"), MATRIX)
def test_eval_twice_is_bit_equal_and_same_seed_gives_same_parameters(case, backbone):
    made, _ = injected(case, backbone)
    again, _ = injected(case, backbone)
    images, _ = batch()
    made.net.eval()
    assert torch.equal(made.net(images), made.net(images))
    for (name, a), b in zip(made.net.named_parameters(), again.net.parameters(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize(("case", "backbone"), UNSUPPORTED)
def test_unsupported_pairs_raise_with_the_reason(case, backbone):
    with pytest.raises(BadInput, match=UNSUPPORTED[case, backbone]):
        injected(case, backbone, retarget=False)


def test_norm_biases_are_a_choice_of_bitfit():
    made = tiny_vit()
    make(compose(["method=bitfit", "method.norms=false"])["method"]).inject(made)
    norms = [module for module in made.net.modules() if isinstance(module, nn.LayerNorm)]
    assert norms
    assert not any(norm.bias.requires_grad for norm in norms)


def test_a_method_that_needs_linear_layers_says_so():
    made = tiny_vit()
    with pytest.raises(BadInput, match=r"LayerNorm.*needs a linear layer"):
        make(compose(["method=lora", "method.targets=[norm1]"])["method"]).inject(made)


def test_a_path_without_effect_raises():
    with pytest.raises(BadInput, match="no effect"):
        make(compose(["method=glora", "method.path={A: none, B: none, C: none, D: none, E: none}"])["method"])


def test_d_on_a_layer_without_bias_raises():
    made = tiny_vit()
    for block in made.net.blocks:
        block.mlp.fc1.bias = None
    words = ["method=glora", "method.targets=[fc1]", "method.path={A: none, B: lora, C: none, D: vector, E: none}"]
    with pytest.raises(BadInput, match=r"method.path.D=vector has no effect on blocks.0.mlp.fc1"):
        make(compose(words)["method"]).inject(made)
