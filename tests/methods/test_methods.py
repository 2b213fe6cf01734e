"""The conformance matrix: every conf/method/*.yaml, and variants that matter, on every tiny backbone that hosts it."""

import copy
import json
import os
import re
import subprocess
import sys
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from timm.layers.norm import LayerNorm2d
from torch import nn

from conftest import images, tiny_convnext, tiny_llama, tiny_vit
from glorabench.config.compose import compose
from glorabench.config.instantiate import METHOD, make
from glorabench.config.paths import options
from glorabench.errors import BadInput
from glorabench.methods.reparam import Foldable, Reparam, Reparametrized, has_foldable, merge, merge_obstacle
from glorabench.search.space import PathSpace

BACKBONES = {"vit": tiny_vit, "convnext": tiny_convnext, "llama": tiny_llama}
FAMILY = {"vit": "vit_mini", "convnext": "convnext_b", "llama": "llama_7b"}  # whose targets a method's file names
RANK = 4  # at most: tiny layers are small
CONV = "method.targets=[stem,dwconv,downsample,fc1,fc2]"
ALL_LORA = "method.path={A:lora,B:lora,C:lora,D:vector,E:vector}"
VARIANTS = {  # beyond the files' own values: the backbones, and the words
    "lora qkv": ("vit", "method=lora method.targets=[qkv] method.dropout=0.1"),
    "lora of noah": ("vit", "method=lora method.targets=[qkv] method.init=normal_uncut method.dropout=0.1"),
    "lora of adapter+": ("vit", "method=lora method.targets=[q,k] method.init=normal method.std=0.01"),
    "lora everywhere": ("vit", "method=lora method.targets=[q,k,v,o,fc1,fc2] method.alpha=3"),
    "lora on all linears": ("llama", "method=lora method.targets=[q,k,v,o,gate,up,down] method.dropout=0.1"),
    "lora on convolutions": ("convnext", f"method=lora {CONV}"),
    "lora on patches": ("vit", "method=lora method.targets=[stem]"),
    "dora everywhere": ("vit", "method=dora method.targets=[stem,q,k,v,o,fc1,fc2] method.alpha=3"),
    "dora on convolutions": ("convnext", f"method=dora {CONV}"),
    "ia3 on convolutions": ("convnext", f"method=ia3 {CONV}"),
    "ssf everywhere": (
        "convnext",
        "method=ssf method.targets=[stem,stem_norm,dwconv,norm2,fc1,fc2,downsample_norm,downsample,norm]",
    ),
    "ssf on q, k and v": ("vit", "method=ssf method.targets=[norm1,q,k,v]"),
    "glora all lora": ("vit convnext", f"method=glora {ALL_LORA}"),
    "glora lora on llama": ("llama", "method=glora method.path={A:lora,B:lora,C:lora,D:none,E:vector}"),
    "glora on convolutions": ("convnext", f"method=glora {CONV} {ALL_LORA}"),
    "glora matmul on convolutions": ("convnext", f"method=glora {CONV} {ALL_LORA} method.product=matmul"),
    "glora vectors on convolutions": (
        "convnext",
        f"method=glora {CONV} method.path={{A:vector,B:vector,C:vector,D:vector,E:vector}}",
    ),
    "glora vector matmul": (
        "vit convnext",
        "method=glora method.path={A:vector,B:vector,C:vector,D:scalar,E:scalar} method.product=matmul",
    ),
    "glora supernet": ("vit convnext llama", "method=glora method.path=supernet"),
    "vpt_deep as tokens": ("vit", "method=vpt_deep method.keys_only=false"),
    "fact_tt on q, k, v": ("vit", "method=fact_tt method.targets=[q,k,v,o,fc1,fc2]"),
    "fact_tk of the code": ("vit", "method=fact_tk method.form=tk_code"),
    "fact_tk of the code on parts": ("vit", "method=fact_tk method.form=tk_code method.targets=[q,k,v,o,fc1,fc2]"),
    "fact_tk on q, k, v": ("vit", "method=fact_tk method.targets=[q,k,v,o,fc1,fc2]"),
    "adapter of noah": (
        "vit convnext llama",
        "method=pfeiffer method.targets=[out2] method.activation=quick_gelu method.init=normal_uncut "
        "method.dropout=0.1",
    ),
    "adapters behind drop-path": ("vit llama", "method=houlsby method.targets=[out1,out2] method.norms=false"),
    "repadapter on q, k, v": ("vit", "method=repadapter method.targets=[q,k,v,fc1]"),
    "repadapter on convnext's hidden": ("convnext", "method=repadapter method.targets=[fc1,fc2]"),
    "convpass identity": ("vit", "method=convpass method.init=identity method.targets=[attn]"),
    "bitfit without norms": ("vit convnext", "method=bitfit method.norms=false"),
}
CASES = {**{name: f"method={name}" for name in options("method")}, **{k: words for k, (_, words) in VARIANTS.items()}}
UNSUPPORTED = {  # (file, backbone): the reason that the error gives
    ("linear", "llama"): "trains nothing on tiny_llama: it has no head",
    ("bitfit", "llama"): "tiny_llama: it has no biases",
    ("vpt_deep", "convnext"): "tokens of a ViT; tiny_convnext is none",
    ("vpt_shallow", "convnext"): "tokens of a ViT; tiny_convnext is none",
    ("fact_tt", "convnext"): r"one width; those of tiny_convnext have widths \[8, 16, 24, 32\]",
    ("fact_tk", "convnext"): r"one width; those of tiny_convnext have widths \[8, 16, 24, 32\]",
    ("repadapter_attn", "convnext"): "in front of the convolution .* no kernel can absorb that",
    ("convpass", "convnext"): "patch tokens of a ViT; tiny_convnext has none",
    ("convpass", "llama"): "patch tokens of a ViT; tiny_llama has none",
}
MATRIX = [(file, backbone) for file in options("method") for backbone in BACKBONES]
MATRIX = [pair for pair in MATRIX if pair not in UNSUPPORTED]
MATRIX += [(name, backbone) for name, (backbones, _) in VARIANTS.items() for backbone in backbones.split()]
MOVED = {  # cases that do not start as the pretrained network, with the reason
    "ssf": "scales and shifts are random",
    "ssf everywhere": "scales and shifts are random",
    "ssf on q, k and v": "scales and shifts are random",
    "houlsby": "both matrices are random, though small",
    "adapters behind drop-path": "both matrices are random, though small",
    "adapter of noah": "both matrices are random",
    "adapter_plus": "both matrices are random",
    "lora of noah": "both matrices are random",
    "lora of adapter+": "both matrices are random",
    "vpt_deep": "prompts are tokens more",
    "vpt_deep as tokens": "prompts are tokens more",
    "vpt_shallow": "prompts are tokens more",
}
TRAINED = {  # cases that train parameters of the backbone itself: their names
    "full": r".*",
    "bitfit": r".*bias",
    "bitfit without norms": r"(patch_embed|.*(attn|mlp|conv_dw)\.|stem\.0|.*downsample\.1).*bias",
    "houlsby": r".*norm.*|stem\.1.*|.*downsample\.0.*",
}
STREAM = "one number added to all features of the stream: the next norm takes it away"
SILENT = {  # tensors that no loss depends on: the gradient is exactly zero, up to rounding; and why
    ("ssf on q, k and v", "vit"): (r".*attn\.qkv\.reparams\.1\.beta", "the softmax ignores what all keys share"),
    ("glora", "vit"): (r"blocks\.0\.attn\.proj\.reparams\.0\.supports\.[BE]\.left", f"both are scalars, {STREAM}"),
    ("glora vector matmul", "vit"): (r".*(attn\.proj|mlp\.fc2)\.reparams\.0\.supports\.E\.left", STREAM),
}
UNMERGEABLE = {
    *("vpt_deep", "vpt_shallow", "vpt_deep as tokens", "pfeiffer", "houlsby", "adapter_plus", "adaptformer"),
    *("adapter of noah", "adapters behind drop-path", "convpass", "convpass identity"),
}
NOTHING_TO_MERGE = {"full", "linear", "bitfit", "bitfit without norms"}
MERGED = [pair for pair in MATRIX if pair[0] not in UNMERGEABLE | NOTHING_TO_MERGE]
every_case = pytest.mark.parametrize(("case", "backbone"), MATRIX)
every_merged_case = pytest.mark.parametrize(("case", "backbone"), MERGED)


@cache
def composed(words, backbone):
    return compose([*words.split(), f"backbone={FAMILY[backbone]}"])["method"]


def method_of(words, backbone, **changes):
    return make(copy.deepcopy(composed(words, backbone)) | changes, METHOD)


def config_of(case, backbone):
    """The config of a case, with a rank that fits."""
    config = composed(CASES[case], backbone)
    return config | ({"rank": min(config["rank"], RANK)} if "rank" in config else {})


def small(case, backbone):
    return make(copy.deepcopy(config_of(case, backbone)), METHOD)


def injected(case, backbone, dtype=torch.float64, seed=0):
    """The backbone with the method in it, and a copy from before."""
    made = BACKBONES[backbone](dtype=dtype)
    plain = copy.deepcopy(made.net)
    torch.manual_seed(seed)
    small(case, backbone).inject(made)
    return made, plain


def batch(backbone, dtype=torch.float64):
    """Inputs, and a label for each row of logits."""
    if backbone == "llama":
        tokens = torch.randint(60, (3, 8), generator=torch.Generator().manual_seed(1))
        return tokens[:, :-1], tokens[:, 1:]
    return images(4, seed=1, dtype=dtype), torch.tensor([0, 1, 2, 3])


def loss(net, backbone):
    inputs, labels = batch(backbone, next(net.parameters()).dtype)
    return F.cross_entropy(net(inputs).flatten(0, -2), labels.flatten())


def train(net, backbone, steps=2):
    """A few steps of SGD large enough to move every trained tensor; the gradients of all of them, step by step."""
    trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
    optimizer = torch.optim.SGD(trained.values(), lr=0.05)
    space = PathSpace(net)
    for step in range(steps):
        if space.is_supernet and step:  # its first path is all lora
            space.set(space.draw(0, step))
        optimizer.zero_grad()
        loss(net, backbone).backward()
        yield {name: p.grad for name, p in trained.items() if p.grad is not None}
        optimizer.step()


def trained(case, backbone, **kwargs):
    made, plain = injected(case, backbone, **kwargs)
    for _ in train(made.net, backbone):
        pass
    return made, plain


def logits(net, backbone):
    with torch.no_grad():
        return net.eval()(batch(backbone, next(net.parameters()).dtype)[0])


def silent(case, backbone, name):
    return re.fullmatch(SILENT.get((case, backbone), ("-",))[0], name) is not None


def wrapped(net):
    return {path: module for path, module in net.named_modules() if isinstance(module, Foldable)}


@every_case
def test_trained_set_is_what_is_new_plus_what_is_named_plus_the_head(case, backbone):
    made = BACKBONES[backbone]()
    old = dict(made.net.named_parameters())
    small(case, backbone).inject(made)
    named = {id(p) for name, p in old.items() if re.fullmatch(TRAINED.get(case, "-"), name)}
    head = {id(p) for p in made.head_parameters()}
    frozen = {id(p) for p in old.values()} - named - head
    now = {id(p): p.requires_grad for p in made.net.parameters()}
    assert frozen <= now.keys(), "a pretrained tensor was replaced"
    assert {key for key, trains in now.items() if not trains} == frozen
    assert any(trains for key, trains in now.items() if key not in head) or case == "linear"


@every_case
def test_starts_as_the_pretrained_network_where_the_method_claims_it(case, backbone):
    made, plain = injected(case, backbone)
    moved = (logits(made.net, backbone) - logits(plain, backbone)).abs().max()
    assert moved > 1e-9 if case in MOVED else moved <= 1e-12, MOVED.get(case)


@every_case
def test_frozen_tensors_stay_bit_identical_and_trained_ones_move(case, backbone):
    made, _ = injected(case, backbone)
    before = {name: p.detach().clone() for name, p in made.net.named_parameters()}
    for _ in train(made.net, backbone, steps=40 if "supernet" in case else 3):
        pass
    for name, parameter in made.net.named_parameters():
        assert torch.equal(parameter, before[name]) != parameter.requires_grad or silent(case, backbone, name), name


@every_case
def test_every_trained_tensor_gets_a_gradient_within_two_steps(case, backbone):
    """Those of the table get none, which is shown too. A supernet has two steps of its first path, all lora."""
    made, _ = injected(case, backbone)
    alive = set()
    for _ in range(2):
        for gradients in train(made.net, backbone, steps=1):
            alive |= {name for name, gradient in gradients.items() if gradient.abs().max() > 1e-12}
    trains = {name for name, p in made.net.named_parameters() if p.requires_grad}
    assert trains - alive == {name for name in trains if silent(case, backbone, name)}
    assert (trains != alive) == ((case, backbone) in SILENT)


def computed(layer, x, weight, bias):
    """What a layer of this kind computes with W' and b', by torch's functions."""
    if isinstance(layer, nn.Conv2d):
        size = layer.weight.shape
        return F.conv2d(x, weight.reshape(size), bias, layer.stride, layer.padding, layer.dilation, layer.groups)
    if isinstance(layer, LayerNorm2d):
        return computed(nn.LayerNorm(len(weight), layer.eps), x.movedim(1, -1), weight, bias).movedim(-1, 1)
    if isinstance(layer, nn.LayerNorm):
        return F.layer_norm(x, layer.normalized_shape, weight[:, 0], bias, layer.eps)
    return F.linear(x, weight, bias)


def input_of(layer):
    if isinstance(layer, nn.Conv2d):
        return torch.randn(2, layer.in_channels, 16, 16, dtype=torch.float64)
    width = len(layer.weight) if isinstance(layer, nn.LayerNorm) else layer.in_features
    return torch.randn(2, width, 3, 3).double() if isinstance(layer, LayerNorm2d) else torch.randn(2, 5, width).double()


@every_merged_case
def test_the_cheap_way_equals_the_folded_weights_after_training(case, backbone):
    made, _ = trained(case, backbone)
    made.net.eval()
    assert wrapped(made.net)
    for path, module in wrapped(made.net).items():
        x = input_of(module.layer)
        y = module(x)
        assert not torch.allclose(module.layer(x), y, rtol=0, atol=1e-6), path
        if isinstance(module, Reparametrized):
            assert torch.allclose(computed(module.layer, x, *module.fold()), y, rtol=0, atol=1e-10), path


@every_merged_case
def test_merge_is_exact_idempotent_and_leaves_the_original_keys(case, backbone):
    """Logits of a Llama within 1e-5: its norms round to fp32; each of its layers within 1e-10."""
    made, plain = trained(case, backbone)
    before = logits(made.net, backbone)
    layers = {path: (x := input_of(m.layer), m(x)) for path, m in wrapped(made.net).items()}
    formulas = [(path, m) for path, m in wrapped(made.net).items() if isinstance(m, Reparametrized)]
    biases = {f"{path}.bias" for path, m in formulas if m.layer.bias is None and m.fold()[1] is not None}
    assert has_foldable(made.net)
    assert merge_obstacle(made.net) is None
    merged = merge(made.net)
    assert (logits(merged, backbone) - before).abs().max() <= (1e-5 if backbone == "llama" else 1e-10)
    for path, (x, expected) in layers.items():
        assert torch.allclose(merged.get_submodule(path)(x), expected, rtol=0, atol=1e-10), path
    assert [key for key in merged.state_dict() if key not in biases] == list(plain.state_dict())
    assert biases <= merged.state_dict().keys()
    assert not biases or backbone == "llama"
    assert not any(isinstance(module, Reparam | Foldable) for module in merged.modules())
    assert not has_foldable(merged)
    once = copy.deepcopy(merged.state_dict())
    assert all(torch.equal(value, once[key]) for key, value in merge(merged).state_dict().items())


@every_merged_case
def test_merging_bf16_weights_rounds_once(case, backbone):
    """Computed in fp32, then cast: each merged weight is the float64 one, rounded to bf16's 8 bits."""
    made, _ = trained(case, backbone, dtype=torch.float32)
    made.net.to(torch.bfloat16)
    exact = copy.deepcopy(made.net).to(torch.float64)
    for (name, got), want in zip(merge(made.net).named_parameters(), merge(exact).parameters(), strict=True):
        assert got.dtype == torch.bfloat16
        assert ((got.double() - want).abs() <= want.abs() * 2**-8 + 1e-6).all(), name


@every_case
def test_half_precision_trains_and_stays_close_to_single(case, backbone):
    """bf16 has 8 bits: logits within 5 % of the largest, under autocast, with bf16 tensors, and those merged."""
    made, _ = trained(case, backbone, dtype=torch.float32)
    exact = logits(made.net, backbone)
    with torch.autocast("cpu", torch.bfloat16):
        loss(made.net, backbone).backward()
        found = [logits(made.net, backbone)]
    made.net.to(torch.bfloat16)
    loss(made.net, backbone).backward()
    found.append(logits(made.net, backbone))
    if case not in UNMERGEABLE:
        found.append(logits(merge(made.net), backbone))
    for y in found:
        assert y.dtype == torch.bfloat16
        assert (y.float() - exact).abs().max() <= 0.05 * exact.abs().max()


@pytest.mark.parametrize(("case", "backbone"), [pair for pair in MATRIX if pair[0] in UNMERGEABLE])
def test_what_cannot_be_merged_says_why_and_is_left_as_it_is(case, backbone):
    made, _ = trained(case, backbone)
    reason, before = merge_obstacle(made.net), copy.deepcopy(made.net.state_dict())
    assert len(reason.split()) > 5
    with pytest.raises(BadInput, match=f"cannot be merged: {reason}"):
        merge(made.net)
    after = made.net.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], value) for key, value in before.items())


@pytest.mark.parametrize(("case", "backbone"), [pair for pair in MATRIX if pair[0] in NOTHING_TO_MERGE])
def test_methods_without_a_module_are_merged_as_they_are(case, backbone):
    made, plain = trained(case, backbone)
    assert not has_foldable(made.net)
    before = copy.deepcopy(made.net.state_dict())
    after = merge(made.net).state_dict()
    assert list(after) == list(plain.state_dict())
    assert all(torch.equal(after[key], value) for key, value in before.items())


_LOADER = """
import json, sys, torch
from pathlib import Path
from safetensors.torch import load_file
from test_methods import BACKBONES, logits
from glorabench.config.instantiate import METHOD, make
from glorabench.search.space import PathSpace
for folder in map(Path, sys.argv[1:]):
    case, backbone, config, paths = json.loads((folder / "case.json").read_text())
    made = BACKBONES[backbone]()
    torch.manual_seed(0)
    make(config, METHOD).inject(made)
    made.net.load_state_dict(load_file(folder / "adapter.safetensors"), strict=False)
    space = PathSpace(made.net)
    space.set(space.genome(paths))
    assert torch.equal(logits(made.net, backbone), load_file(folder / "logits.safetensors")["logits"]), (case, backbone)
print("equal", len(sys.argv) - 1)
"""


def test_saved_and_loaded_in_a_fresh_process_gives_the_same_logits(tmp_path):
    """One process for all of them: starting one for each would take minutes."""
    for index, (case, backbone) in enumerate(MATRIX):
        made, plain = trained(case, backbone, dtype=torch.float32)
        folder = tmp_path / str(index)
        folder.mkdir()
        kept = {n: p.detach().contiguous() for n, p in made.net.named_parameters() if p.requires_grad}
        save_file(kept, folder / "adapter.safetensors")
        (folder / "case.json").write_text(
            json.dumps([case, backbone, config_of(case, backbone), PathSpace(made.net).current()])
        )
        after = logits(made.net, backbone)
        assert not torch.allclose(after, logits(plain, backbone)), "training changed nothing"
        save_file({"logits": after}, folder / "logits.safetensors")
    words = [sys.executable, "-c", _LOADER, *map(str, tmp_path.iterdir())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == f"equal {len(MATRIX)}", done.stderr


@every_case
def test_eval_twice_is_bit_equal_and_same_seed_gives_same_parameters(case, backbone):
    made, _ = injected(case, backbone)
    again, _ = injected(case, backbone)
    assert torch.equal(logits(made.net, backbone), logits(made.net, backbone))
    for (name, a), b in zip(made.net.named_parameters(), again.net.parameters(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize(("case", "backbone"), UNSUPPORTED)
def test_unsupported_pairs_raise_with_the_reason(case, backbone):
    with pytest.raises(BadInput, match=UNSUPPORTED[case, backbone]):
        injected(case, backbone)


def refused(words, backbone="vit", **changes):
    """The one line that a wrong hyper-parameter is answered with."""
    with pytest.raises(BadInput) as caught:
        method_of(words, backbone, **changes).inject(BACKBONES[backbone]())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_rank_that_no_layer_allows_is_refused_by_every_method_with_a_rank():
    found = set()
    for file in options("method"):
        config = composed(f"method={file}", "vit")
        if "rank" in config:
            said = refused(f"method={file}", rank=33, **({"groups": 1} if "groups" in config else {}))
            assert re.search(
                r"rank=33 is (larger than role '\w+' \(\S+\) allows: .* so at most|no bottleneck in) ", said
            ), file
            assert " 32" in said
            found.add(file)
    assert {"lora", "dora", "glora", "fact_tt", "fact_tk", "repadapter", "houlsby", "adaptformer", "convpass"} <= found


def test_the_largest_rank_that_a_layer_allows_is_taken():
    for file in ("lora", "glora", "fact_tt", "pfeiffer", "convpass"):
        method_of(f"method={file}", "vit", rank=32).inject(tiny_vit())


def test_the_rank_of_a_depth_wise_kernel_is_bounded_by_its_own_width():
    said = refused("method=lora method.targets=[stem,dwconv]", "convnext", rank=25)
    assert "role 'stem' (stem.0) allows: its weight is 8 x 48, so at most 8" in said
    said = refused("method=lora method.targets=[dwconv]", "convnext", rank=9)
    assert "stages.0.blocks.0.conv_dw" in said
    assert "8 x 49, so at most 8" in said


WRONG = {  # words, backbone: what is said
    ("method=repadapter method.rank=6 method.groups=4", "vit"): "groups=4 does not divide method.rank=6",
    (
        "method=repadapter method.rank=9 method.groups=3",
        "vit",
    ): "groups=3 does not divide the width 32 of blocks.0.attn.qkv",
    ("method=adapter_plus method.channel_scale=no", "vit"): "method.channel_scale must be true or false, got 'no'",
    ("method=pfeiffer method.targets=[block,fc2]", "vit"): r"'fc2' \(blocks.0.mlp.fc2\) is inside 'block'",
    ("method=ia3 method.inputs=[fc_2]", "vit"): "has no role 'fc_2'",
    ("method=lora method.alpha=0", "vit"): "method.alpha=0 leaves the method without effect",
    ("method=lora method.alpha=nan", "vit"): "method.alpha must be a number, got nan",
    ("method=lora method.dropout_on=output", "vit"): "method.dropout_on 'output'",
    ("method=pfeiffer method.targets=[attn]", "vit"): "name o or out1 instead of attn",
    ("method=pfeiffer method.targets=[q]", "vit"): r"role 'q' is a part of blocks.0.attn.qkv: name the whole",
    ("method=pfeiffer method.activation=[1]", "vit"): r"method.activation '\[1\]'",
    ("method=lora method.rank=true", "vit"): "method.rank must be a whole number of at least 1, got True",
    ("method=repadapter method.groups=0", "vit"): "method.groups must be a whole number of at least 1, got 0",
    ("method=vpt_deep method.prompts=0", "vit"): "method.prompts must be a whole number of at least 1, got 0",
    ("method=vpt_shallow method.prompts=-1", "vit"): "method.prompts must be a whole number of at least 1, got -1",
    ("method=vpt_shallow method.keys_only=true", "vit"): "set it to false",
    ("method=vpt_deep method.targets=[attn]", "vit"): r"method.targets=\[block\]",
    ("method=lora method.rank=0", "vit"): "method.rank must be a whole number of at least 1, got 0",
    ("method=lora method.rank=2.5", "vit"): "method.rank must be a whole number of at least 1, got 2.5",
    ("method=lora method.alpha=big", "vit"): "method.alpha must be a number, got 'big'",
    ("method=lora method.dropout=1", "vit"): "method.dropout must be a number from 0 to below 1, got 1",
    ("method=adapter_plus method.drop_path=-0.1", "vit"): "method.drop_path must be a number from 0 to below 1",
    ("method=lora method.init=normul", "vit"): "method.init 'normul'; did you mean 'normal'",
    ("method=dora method.init=svd", "vit"): "method.init 'svd'. Known: normal, normal_uncut, zero_up",
    ("method=pfeiffer method.init=zeros", "vit"): "method.init 'zeros'; did you mean 'zero'",
    ("method=pfeiffer method.activation=gelo", "vit"): "method.activation 'gelo'; did you mean 'gelu'",
    ("method=convpass method.init=zero", "vit"): r"method.init 'zero'.* Known: identity, xavier",
    ("method=convpass method.targets=[fc1]", "vit"): r"method.targets=\[attn,mlp\]",
    ("method=adaptformer method.targets=[attn]", "vit"): r"method.targets=\[mlp\]",
    ("method=fact_tt method.form=tucker", "vit"): r"method.form 'tucker'.* Known: tk, tk_code, tt",
    ("method=fact_tt method.targets=[stem]", "vit"): "Conv2d, this method needs a linear layer: take it out of targets",
    (
        "method=fact_tt method.targets=[q,gate]",
        "llama",
    ): r"32 x 32 slices; role 'gate' \(.*\) is 88 x 32: take it out of targets",
    ("method=glora method.path=randum", "vit"): "method.path 'randum'; did you mean 'random'",
    ("method=glora method.product=dot", "vit"): "method.product 'dot'",
    ("method=glora method.path={A:lora}", "vit"): "needs exactly the supports A, B, C, D, E",
    ("method=glora method.path={A:lora,B:lora,C:scalar,D:none,E:none}", "vit"): "method.path.C 'scalar'",
    ("method=glora method.path={A:none,B:none,C:none,D:none,E:none}", "vit"): "no effect",
    ("method=glora method.path={A:none,B:lora,C:none,D:vector,E:none}", "llama"): "D=vector has no effect on .*q_proj",
    ("method=lora method.targets=[qq]", "vit"): "tiny_vit has no role 'qq'",
    ("method=lora method.targets=[fc3]", "vit"): "has no role 'fc3'; did you mean 'fc",
    ("method=lora method.targets=[q]", "convnext"): "tiny_convnext has no role 'q'",
    ("method=lora method.targets=[fc1]", "llama"): "tiny_llama has no role 'fc1'",
    ("method=lora method.targets=q", "vit"): r"a list of roles: method.targets=\[q\]",
    ("method=lora method.targets=[q,qkv]", "vit"): "'qkv' and 'q' overlap in blocks.0.attn.qkv|'q' and 'qkv' overlap",
    ("method=ia3 method.inputs=fc2", "vit"): r"method.inputs=\[fc2\]",
    (
        "method=ia3 method.targets=[dwconv] method.inputs=[dwconv]",
        "convnext",
    ): "Conv2d, this method needs a linear layer",
    ("method=lora method.targets=[norm1]", "vit"): "LayerNorm, this method needs a linear layer or convolution",
    ("method=ssf method.targets=[norm1]", "llama"): "RMSNorm, this method needs .*: take it out of targets",
    ("method=lora method.targets=[block]", "vit"): "Block, this method needs",
    ("method=lora method.targets=[stem] method.dropout=0.1", "vit"): "patch_embed.proj is none: set it to 0",
    ("method=dora method.targets=[dwconv] method.dropout=0.1", "convnext"): "conv_dw is none: set it to 0",
    ("method=repadapter method.targets=[stem]", "vit"): "its weight is 32 x 3, so at most 3",
    ("method=bitfit", "llama"): "it has no biases. Use",
}


@pytest.mark.parametrize(("words", "backbone"), WRONG)
def test_what_a_method_cannot_do_is_said_in_one_line_that_names_the_fix(words, backbone):
    assert re.search(WRONG[words, backbone], refused(words, backbone))


def test_a_method_without_targets_would_train_the_head_alone():
    files = [name for name in options("method") if composed(f"method={name}", "vit")["targets"]]
    assert len(files) > 10
    for file in files:
        assert "method.targets is empty" in refused(f"method={file} method.targets=[]")


def test_d_on_a_layer_without_bias_is_named():
    made = tiny_vit()
    for block in made.net.blocks:
        block.mlp.fc1.bias = None
    method = method_of("method=glora method.targets=[fc1] method.path={A:none,B:lora,C:none,D:vector,E:none}", "vit")
    with pytest.raises(BadInput, match=r"method.path.D=vector has no effect on blocks.0.mlp.fc1"):
        method.inject(made)


@pytest.mark.parametrize(
    ("words", "build"),
    [
        (["method=adapter_plus", "method.norms=true"], tiny_vit),
        (["method=houlsby", "backbone=convnext_b", "method.targets=[norm2,fc2]"], tiny_convnext),
    ],
)
def test_norms_are_trained_wherever_the_adapters_are(words, build):
    made = build()
    make({**compose(words)["method"], "rank": 4}, METHOD).inject(made)
    norms = [module for module in made.net.modules() if isinstance(module, nn.LayerNorm)]
    assert norms
    assert all(p.requires_grad for norm in norms for p in norm.parameters())
