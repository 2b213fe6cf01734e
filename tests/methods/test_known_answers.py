"""Independent answers: Hugging Face peft, every method's equation written out, frozen numbers.

`PYTHONPATH=tests python tests/methods/test_known_answers.py` writes expected/logits.json anew, after a change that is
meant to move them.
"""

import copy
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from peft import IA3Config, LoraConfig, get_peft_model
from timm.layers.drop import DropPath
from torch import nn

from conftest import DIM, SIDE, images, tiny_vit
from glorabench.config.paths import options
from glorabench.methods.dora import Decomposed
from glorabench.methods.ia3 import LearnedScale
from glorabench.methods.lora import LowRank
from glorabench.methods.repadapter import LinearAdapter
from glorabench.methods.reparam import Reparametrized, merge
from test_methods import (
    BACKBONES,
    CASES,
    MATRIX,
    NOTHING_TO_MERGE,
    batch,
    composed,
    computed,
    input_of,
    method_of,
    small,
    wrapped,
)

LAYERS = {
    "linear": lambda bias: nn.Linear(6, 5, bias=bias),
    "convolution": lambda bias: nn.Conv2d(4, 5, 3, stride=2, padding=1, bias=bias),
}
every_layer = pytest.mark.parametrize(("kind", "bias"), list(itertools.product(LAYERS, [True, False])))


class OneLayer(nn.Module):
    """What Hugging Face peft needs to see: a named layer."""

    def __init__(self, layer):
        super().__init__()
        self.proj = layer

    def forward(self, x):
        return self.proj(x)


def agree(kind, bias, config, ours, pairs):
    """Outputs, gradients and merged weights with peft's adapter and with ours, on the same random tensors."""
    torch.manual_seed(0)
    theirs = get_peft_model(OneLayer(LAYERS[kind](bias)), config).to(torch.float64)
    peft_layer = theirs.base_model.model.proj
    base = peft_layer.base_layer
    ours = ours(base.weight.detach().flatten(1))
    pairs = pairs(ours, peft_layer)
    with torch.no_grad():
        for mine, other in pairs:
            mine.copy_(other.normal_().reshape(mine.shape))
    x = torch.randn((4, 6) if kind == "linear" else (2, 4, 7, 7), dtype=torch.float64, requires_grad=True)
    wrapper = Reparametrized(base, [(None, ours)])
    y, expected = wrapper(x), theirs(x)
    assert torch.allclose(y, expected, rtol=0, atol=1e-10)
    assert not torch.allclose(y, base(x), rtol=0, atol=1e-3)
    got = torch.autograd.grad(y.square().sum(), [x, *(mine for mine, _ in pairs)])
    want = torch.autograd.grad(expected.square().sum(), [x, *(other for _, other in pairs)])
    for mine, other in zip(got, want, strict=True):
        assert other.abs().max() > 1e-3
        assert torch.allclose(mine, other.reshape(mine.shape), rtol=0, atol=1e-10)
    weight, offset = wrapper.fold()
    theirs.merge_adapter()
    assert torch.allclose(weight.view_as(base.weight), base.weight, rtol=0, atol=1e-10)
    assert (offset is None and base.bias is None) or torch.allclose(offset, base.bias, rtol=0, atol=1e-10)


def low_rank(weight):
    return LowRank(weight, rank=3, scale=7 / 3, dropout=0.0, dropout_on="input", init="zero_up", std=0.02)


def low_rank_pairs(ours, theirs):
    return [(ours.down, theirs.lora_A["default"].weight), (ours.up, theirs.lora_B["default"].weight)]


@every_layer
def test_lora_agrees_with_hugging_face(kind, bias):
    config = LoraConfig(r=3, lora_alpha=7, target_modules=["proj"], init_lora_weights=False)
    agree(kind, bias, config, low_rank, low_rank_pairs)


@every_layer
def test_dora_agrees_with_hugging_face(kind, bias):
    config = LoraConfig(r=3, lora_alpha=7, target_modules=["proj"], init_lora_weights=False, use_dora=True)

    def pairs(ours, theirs):
        magnitude = theirs.lora_magnitude_vector["default"].weight
        return [*low_rank_pairs(ours.low_rank, theirs), (ours.magnitude, magnitude)]

    agree(kind, bias, config, lambda weight: Decomposed(weight, low_rank(weight)), pairs)


@every_layer
def test_ia3_of_the_output_agrees_with_hugging_face(kind, bias):
    config = IA3Config(target_modules=["proj"], feedforward_modules=[])
    agree(
        kind,
        bias,
        config,
        lambda w: LearnedScale(w, False),
        lambda ours, theirs: [(ours.scale, theirs.ia3_l["default"])],
    )


@pytest.mark.parametrize("bias", [True, False])
def test_ia3_of_the_input_agrees_with_hugging_face(bias):
    config = IA3Config(target_modules=["proj"], feedforward_modules=["proj"])
    agree(
        "linear",
        bias,
        config,
        lambda w: LearnedScale(w, True),
        lambda ours, theirs: [(ours.scale, theirs.ia3_l["default"])],
    )


# Equations of weights, layer by layer


def random_method(words, backbone="vit", made=None):
    """A backbone with a method, all of whose new tensors are random; and a copy from before."""
    made = made or BACKBONES[backbone](dtype=torch.float64)
    plain, old = copy.deepcopy(made.net), {id(p) for p in made.net.parameters()}
    method_of(words, backbone).inject(made)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in made.net.parameters():
            if id(parameter) not in old:
                parameter.normal_(0, 0.5)
    made.net.eval()
    return made, plain


def matrix(tensor):
    return tensor.detach().numpy()


def holds(made, plain, formula):
    """Every wrapped layer computes W', b' = formula(path, module, W0, b0), which NumPy computed."""
    layers = wrapped(made.net)
    assert layers
    for path, module in layers.items():
        layer = plain.get_submodule(path)
        W, b = (matrix(t) for t in (layer.weight, layer.bias))
        W, b = (torch.from_numpy(np.array(t)) for t in formula(path, module, W.reshape(len(W), -1).copy(), b.copy()))
        x = input_of(layer)
        assert torch.allclose(module(x), computed(layer, x, W, b), rtol=0, atol=1e-10), path


def rows_of(module):
    """(rows, reparam) for each part."""
    return [(rows, reparam) for rows, reparam in module.parts()]


def test_lora_adds_alpha_over_rank_times_up_down_to_the_rows_of_q_and_v():
    made, plain = random_method("method=lora method.rank=4 method.alpha=6")

    def formula(path, module, W, b):
        (q, first), (v, second) = rows_of(module)
        assert (q, v) == (slice(0, 32), slice(64, 96))
        for rows, part in ((q, first), (v, second)):
            W[rows] += 6 / 4 * matrix(part.up) @ matrix(part.down)
        return W, b

    holds(made, plain, formula)


def test_ia3_scales_keys_values_and_the_hidden_units():
    made, plain = random_method("method=ia3")

    def formula(path, module, W, b):
        scales = [matrix(part.scale) for _, part in rows_of(module)]
        if path.endswith("fc2"):
            return W @ np.diag(scales[0]), b
        factors = np.concatenate([np.ones(32), *scales])
        return np.diag(factors) @ W, factors * b

    holds(made, plain, formula)


@pytest.mark.parametrize(
    ("backbone", "targets"),
    [
        ("vit", "stem,norm1,qkv,o,norm2,fc1,fc2,norm"),
        ("convnext", "stem,stem_norm,dwconv,norm2,fc1,fc2,downsample_norm,downsample,norm"),
    ],
)
def test_ssf_scales_and_shifts_what_every_layer_and_norm_gives(backbone, targets):
    """On the outputs: y = gamma z + beta."""
    made, plain = random_method(f"method=ssf method.targets=[{targets}]", backbone)
    assert {type(module.layer).__name__ for module in wrapped(made.net).values()} >= {"Linear", "Conv2d", "LayerNorm"}
    for path, module in wrapped(made.net).items():
        ((_, part),) = rows_of(module)
        x, layer = input_of(module.layer), plain.get_submodule(path)
        axis = 1 if isinstance(layer, nn.Conv2d) or type(layer).__name__ == "LayerNorm2d" else -1
        expected = (layer(x).movedim(axis, -1) * part.gamma + part.beta).movedim(-1, axis)
        assert torch.allclose(module(x), expected, rtol=0, atol=1e-10), path


def test_dora_is_magnitude_times_direction():
    """The row norms, which training takes from products of the factors, are those of V."""
    made, plain = random_method("method=dora method.rank=4 method.alpha=6 method.targets=[stem,q,v,fc1]")

    def formula(path, module, W, b):
        for rows, part in rows_of(module):
            V = W[rows] + 6 / 4 * matrix(part.low_rank.up) @ matrix(part.low_rank.down)
            norms = np.sqrt((V**2).sum(1))
            assert np.allclose(matrix(part.row_norms(torch.from_numpy(W[rows]))), norms, rtol=0, atol=1e-12)
            W[rows] = matrix(part.magnitude)[:, None] * V / norms[:, None]
        return W, b

    holds(made, plain, formula)


def test_the_row_norms_of_dora_are_precise_under_autocast_and_exact_at_the_start():
    weight = torch.randn(64, 48, generator=torch.Generator().manual_seed(0))
    part = Decomposed(weight, low_rank(weight))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(part.row_norms(weight), part.magnitude)
        nn.init.normal_(part.low_rank.up)
        V = weight.double() + 7 / 3 * part.low_rank.up.double() @ part.low_rank.down.double()
        assert torch.allclose(part.row_norms(weight).double(), V.norm(dim=1), rtol=1e-5)
    half = weight.bfloat16()
    part = Decomposed(half, low_rank(half))
    assert torch.equal(part.row_norms(half), part.magnitude)


@pytest.mark.parametrize("place", ["input", "hidden"])
def test_dropout_of_lora_is_where_its_name_says(place):
    weight, x = torch.randn(6, 5, dtype=torch.float64), torch.randn(200, 5, dtype=torch.float64)
    part = LowRank(weight, rank=2, scale=1.0, dropout=0.5, dropout_on=place, init="normal", std=1.0)
    torch.manual_seed(0)
    dropped = part.delta(x)
    torch.manual_seed(0)
    h = F.dropout(x, 0.5) @ part.down.T if place == "input" else F.dropout(x @ part.down.T, 0.5)
    assert torch.allclose(dropped, h @ part.up.T, rtol=0, atol=1e-12)
    assert torch.allclose(part.eval().delta(x), x @ part.down.T @ part.up.T, rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", ["tt", "tk"])
def test_fact_adds_v_s_u_to_every_slice_in_the_order_of_the_network(form):
    """Twelve slices a block: q, k, v, o, four row blocks of fc1, four column blocks of fc2."""
    made, plain = random_method(f"method=fact_{form} method.rank=3 method.scale=0.7")
    factors = rows_of(made.net.blocks[0].mlp.fc1)[0][1].factors
    U, V = matrix(factors.U), matrix(factors.V)
    if form == "tk":
        assert factors.P.shape == (3, 24)
    first = {"attn.qkv": 0, "attn.proj": 3, "mlp.fc1": 4, "mlp.fc2": 8}
    seen = set()

    def formula(path, module, W, b):
        _, block, layer = path.split(".", 2)
        ((_, part),) = rows_of(module)
        for m in range(max(W.shape) // DIM):
            k = 12 * int(block) + first[layer] + m
            seen.add(k)
            S = (
                matrix(part.S)[m]
                if form == "tt"
                else sum(matrix(factors.C[:, :, c] * factors.P[c, k]) for c in range(3))
            )
            update = np.zeros((DIM, DIM))
            for i, j in itertools.product(range(3), range(3)):
                update += 0.7 * np.outer(V[:, i], U[j]) * S[i, j]
            block_of = slice(m * DIM, (m + 1) * DIM)
            W[(slice(None), block_of) if layer == "mlp.fc2" else block_of] += update
        return W, b

    holds(made, plain, formula)
    assert seen == set(range(24))


@pytest.mark.parametrize("layer", [(nn.Conv2d(8, 12, 1)), nn.Conv2d(8, 12, 1, bias=False), nn.Conv2d(8, 12, 2, 2)])
def test_repadapter_is_absorbed_by_a_convolution_that_sees_all_channels_and_pads_nothing(layer):
    """At every place of the kernel the same mix: f on the channels of each pixel, then the layer."""
    part = LinearAdapter(layer.weight.flatten(1), 8, rank=4, groups=2, scale=0.3, dropout=0.0)
    adapted = Reparametrized(copy.deepcopy(layer), [(None, part)]).double().eval()
    torch.manual_seed(0)
    for parameter in part.parameters():
        nn.init.normal_(parameter)
    x, up = torch.randn(2, 8, 6, 4, dtype=torch.float64), torch.block_diag(*part.up.double())
    mixed = torch.einsum("wr,nrhv->nwhv", up @ part.down.double(), x)
    shift = up @ part.down_bias.double() + part.up_bias.double()
    wanted = layer.double()(x + 0.3 * (mixed + shift[:, None, None]))
    assert torch.allclose(adapted(x), wanted, rtol=0, atol=1e-12)
    with torch.no_grad():
        assert torch.allclose(merge(nn.Sequential(adapted))(x), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_repadapter_stands_in_front_of_the_layer_and_mixes_within_groups(groups):
    """On the inputs: f(x) = x + s (W_B (W_A x + a) + b); group g of the width reads group g of the hidden units."""
    made, plain = random_method(f"method=repadapter method.rank=8 method.groups={groups} method.scale=0.3")
    for path, module in wrapped(made.net).items():
        ((_, part),) = rows_of(module)
        x = torch.randn(6, DIM, dtype=torch.float64)
        hidden = matrix(x) @ matrix(part.down).T + matrix(part.down_bias)
        width, units = DIM // groups, 8 // groups
        mixed = np.zeros((6, DIM))
        for g in range(groups):
            for w, h in itertools.product(range(width), range(units)):
                mixed[:, g * width + w] += matrix(part.up)[g, w, h] * hidden[:, g * units + h]
        adapted = torch.from_numpy(matrix(x) + 0.3 * (mixed + matrix(part.up_bias)))
        assert torch.allclose(module(x), plain.get_submodule(path)(adapted), rtol=0, atol=1e-10), path


def test_repadapter_is_one_adapter_for_all_that_read_the_same():
    made, _ = random_method("method=repadapter method.targets=[q,k,v,fc1]")
    for block in made.net.blocks:
        assert len({id(part) for _, part in block.attn.qkv.parts()}) == 1
        assert len({id(part) for layer in (block.attn.qkv, block.mlp.fc1) for _, part in layer.parts()}) == 2


def test_bitfit_moves_biases_by_the_gradient_that_full_fine_tuning_has_for_them():
    nets = [copy.deepcopy(tiny_vit(dtype=torch.float64)) for _ in range(2)]
    for made, name in zip(nets, ("bitfit", "full"), strict=True):
        method_of(f"method={name}", "vit").inject(made)
        x, labels = batch("vit")
        F.cross_entropy(made.net(x), labels).backward()
    bitfit, full = (dict(made.net.named_parameters()) for made in nets)
    moved = {name for name, p in bitfit.items() if p.grad is not None}
    assert moved == {name for name in full if name.endswith("bias")} | {"head.weight"}
    assert all(torch.equal(bitfit[name].grad, full[name].grad) for name in moved)


# A ViT written out, with places where a method may differ


def literal(net, x, **at):
    """Logits of a ViT.

    at[place](block, h, x, z) changes h at: `enter` and `leave` of a block; `o`, `path1`, `out1`: after the output
    projection, at drop-path, behind it; `fc2`, `path2`, `out2` likewise. x is what the sub-layer's path starts from,
    z what its norm gives.
    """

    def norm(h, layer):
        centred = h - h.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + layer.eps).sqrt() * layer.weight + layer.bias

    def change(places, block, h, x, z):
        for place in places:
            h = at[place](block, h, x, z) if place in at else h
        return h

    patches = net.patch_embed.proj
    size = patches.kernel_size[0]
    cut = x.unfold(2, size, size).unfold(3, size, size).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
    x = cut @ patches.weight.flatten(1).T + patches.bias
    x = torch.cat([net.cls_token.expand(len(x), -1, -1), x], dim=1) + net.pos_embed
    for b, block in enumerate(net.blocks):
        x = change(["enter"], b, x, x, None)
        z = norm(x, block.norm1)
        attn = block.attn
        q, k, v = (z @ attn.qkv.weight.T + attn.qkv.bias).chunk(3, dim=-1)
        heads = []
        for one in torch.arange(attn.num_heads * attn.head_dim).chunk(attn.num_heads):
            scores = q[..., one] @ k[..., one].mT / math.sqrt(attn.head_dim)
            heads.append((scores.exp() / scores.exp().sum(-1, keepdim=True)) @ v[..., one])
        h = torch.cat(heads, dim=-1) @ attn.proj.weight.T + attn.proj.bias
        x1 = x + change(["o", "path1", "out1"], b, h, x, z)
        z = norm(x1, block.norm2)
        h = gelu(z @ block.mlp.fc1.weight.T + block.mlp.fc1.bias) @ block.mlp.fc2.weight.T + block.mlp.fc2.bias
        x = x1 + change(["fc2", "path2", "out2"], b, h, x1, z)
        x = change(["leave"], b, x, x1, None)
    return norm(x, net.norm)[:, 0] @ net.head.weight.T + net.head.bias


def gelu(h):
    return 0.5 * h * (1 + torch.erf(h / math.sqrt(2)))


def quick_gelu(h):
    return h / (1 + torch.exp(-1.702 * h))


def relu(h):
    return torch.where(h > 0, h, 0)


def bottleneck(branch, phi, h):
    return phi(h @ branch.down.T + branch.down_bias) @ branch.up.T + branch.up_bias


def agrees(made, plain, mode="eval", seed=0, **at):
    """Logits, and the gradients of all new tensors."""
    made.net.train(mode == "train")
    x, new = images(3, seed=2, dtype=torch.float64), [p for p in made.net.parameters() if p.requires_grad]
    new = [p for p in new if not any(p is q for q in made.head_parameters())]
    torch.manual_seed(seed)
    y = made.net(x)
    torch.manual_seed(seed)
    expected = literal(plain, x, **at)
    assert torch.allclose(y, expected, rtol=0, atol=1e-10)
    got, want = (torch.autograd.grad(out.square().sum(), new, allow_unused=True) for out in (y, expected))
    for mine, other in zip(got, want, strict=True):
        mine, other = (torch.zeros((), dtype=y.dtype) if g is None else g for g in (mine, other))
        assert torch.allclose(mine, other, rtol=0, atol=1e-9)
    return y


def test_the_written_out_vit_is_timms():
    made = tiny_vit(dtype=torch.float64)
    x = images(3, seed=2, dtype=torch.float64)
    assert torch.allclose(literal(made.net, x), made.net(x), rtol=0, atol=1e-12)


def with_prompts(prompts):
    """The places of VPT: prompts for a block are put behind the class token, and taken out behind it."""

    def enter(b, h, x, z):
        return torch.cat([h[:, :1], prompts[b].expand(len(h), -1, -1), h[:, 1:]], dim=1) if b in prompts else h

    def leave(b, h, x, z):
        return torch.cat([h[:, :1], h[:, 1 + len(prompts[b]) :]], dim=1) if len(prompts) > 1 else h

    return {"enter": enter, "leave": leave}


@pytest.mark.parametrize("keys_only", ["true", "false"])
def test_vpt_deep_gives_every_block_prompts_of_its_own(keys_only):
    made, plain = random_method(f"method=vpt_deep method.prompts=3 method.keys_only={keys_only}")
    owners = [block.attn if keys_only == "true" else block for block in made.net.blocks]
    agrees(made, plain, **with_prompts({b: owner.prompts for b, owner in enumerate(owners)}))


def test_vpt_shallow_sends_its_prompts_through_all_blocks():
    made, plain = random_method("method=vpt_shallow method.prompts=3")
    assert made.net.blocks[1].prompts is None
    agrees(made, plain, **with_prompts({0: made.net.blocks[0].prompts}))


def test_prompts_start_uniform_within_the_bound_of_the_patch_embedding():
    made = tiny_vit()
    method_of("method=vpt_deep method.prompts=200", "vit").inject(made)
    prompts = torch.stack([block.attn.prompts for block in made.net.blocks])
    bound = math.sqrt(6 / (3 * 8 * 8 + DIM))
    assert 0.99 * bound < prompts.abs().max() <= bound
    assert prompts.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.03)


PHI = {"gelu": gelu, "relu": relu, "quick_gelu": quick_gelu}


@pytest.mark.parametrize("activation", PHI)
def test_houlsby_stands_behind_both_sub_layers(activation):
    words = f"method=houlsby method.norms=false method.scale=0.7 method.activation={activation}"
    made, plain = random_method(words)

    def adapter(of):
        return lambda b, h, x, z: h + 0.7 * bottleneck(of(made.net.blocks[b]).branch, PHI[activation], h)

    agrees(made, plain, o=adapter(lambda block: block.attn.proj), fc2=adapter(lambda block: block.mlp.fc2))


def test_pfeiffer_stands_behind_the_feed_forward_network():
    made, plain = random_method("method=pfeiffer method.scale=0.7")
    blocks = made.net.blocks
    agrees(made, plain, fc2=lambda b, h, x, z: h + 0.7 * bottleneck(blocks[b].mlp.fc2.branch, gelu, h))


def adapter_plus(made, draw=lambda h: 1.0):
    def leave(b, h, x, z):
        block = made.net.blocks[b]
        return h + draw(h) * block.channel_scale * bottleneck(block.branch, gelu, h)

    return leave


def test_adapter_plus_stands_behind_the_block_with_a_scale_for_every_channel():
    made, plain = random_method("method=adapter_plus")
    agrees(made, plain, leave=adapter_plus(made))


def adaptformer(made):
    return lambda b, h, x, z: h + 0.3 * bottleneck(made.net.blocks[b].drop_path2.branch, relu, x)


def test_adaptformer_reads_what_the_norm_reads():
    made, plain = random_method("method=adaptformer method.rank=8 method.scale=0.3")
    agrees(made, plain, out2=adaptformer(made))


def convolved(branch, z):
    """Down, 3 x 3 on the grid of patches, up; the class token as an image of one pixel."""
    h = quick_gelu(z @ branch.down.T + branch.down_bias)
    side = math.isqrt(h.shape[1] - 1)
    tokens = F.conv2d(h[:, :1].mT[..., None], branch.kernel, branch.kernel_bias, padding=1).flatten(2).mT
    grid = h[:, 1:].reshape(len(h), side, side, -1)
    padded = F.pad(grid, (0, 0, 1, 1, 1, 1))
    image = branch.kernel_bias.expand_as(grid)
    for i, j in itertools.product(range(3), range(3)):
        image = image + padded[:, i : i + side, j : j + side] @ branch.kernel[:, :, i, j].T
    return quick_gelu(torch.cat([tokens, image.flatten(1, 2)], dim=1)) @ branch.up.T + branch.up_bias


def convpass(made, draw=lambda h: 1.0):
    """A path and its branch draw one after the other."""

    def path(end):
        def change(b, h, x, z):
            branch = made.net.blocks[b].get_submodule(end).branch
            return draw(h) * h + draw(h) * (0.3 * convolved(branch, z))

        return change

    return {"path1": path("drop_path1"), "path2": path("drop_path2")}


@pytest.mark.parametrize("init", ["xavier", "identity"])
def test_convpass_stands_beside_both_paths_and_reads_what_they_read(init):
    made, plain = random_method(f"method=convpass method.scale=0.3 method.init={init}")
    agrees(made, plain, **convpass(made))


def test_the_identity_kernel_of_convpass_is_the_centre_tap():
    made = tiny_vit()
    method_of("method=convpass method.init=identity method.rank=5", "vit").inject(made)
    kernel = made.net.blocks[0].drop_path1.branch.kernel
    assert torch.equal(kernel[:, :, 1, 1], torch.eye(5))
    assert kernel.sum() == 5


# What drop-path drops


def with_drop_path(rate):
    made = tiny_vit(dtype=torch.float64)
    for block in made.net.blocks:
        block.drop_path1, block.drop_path2 = DropPath(rate), DropPath(rate)
    return made


def nothing(b, h, x, z):
    return torch.zeros_like(h)


def test_drop_path_takes_an_adapter_on_fc2_with_the_layer():
    made, plain = random_method("method=pfeiffer method.targets=[fc2]", made=with_drop_path(1.0))
    agrees(made, plain, "train", path1=nothing, path2=nothing)


def test_an_adapter_on_out2_follows_drop_path():
    made, plain = random_method("method=pfeiffer method.targets=[out2]", made=with_drop_path(1.0))
    blocks = made.net.blocks
    behind = {"out2": lambda b, h, x, z: h + bottleneck(blocks[b].drop_path2.branch, gelu, h)}
    kept = agrees(made, plain, "train", path1=nothing, path2=nothing, **behind)
    assert not torch.allclose(kept, literal(plain, images(3, seed=2).double(), path1=nothing, path2=nothing))


def test_drop_path_does_not_take_adaptformer():
    words = "method=adaptformer method.rank=8 method.scale=0.3 method.dropout=0"
    made, plain = random_method(words, made=with_drop_path(1.0))
    kept = agrees(made, plain, "train", path1=nothing, path2=nothing, out2=adaptformer(made))
    assert not torch.allclose(kept, literal(plain, images(3, seed=2).double(), path1=nothing, path2=nothing))


def test_drop_path_of_the_trunk_does_not_take_adapter_plus():
    made, plain = random_method("method=adapter_plus method.drop_path=0", made=with_drop_path(1.0))
    agrees(made, plain, "train", path1=nothing, path2=nothing, leave=adapter_plus(made))


class Half:
    """Drop-path of rate 1/2, which keeps its draws."""

    def __init__(self):
        self.drawn = []

    def __call__(self, h):
        self.drawn.append(h.new_empty(len(h), 1, 1).bernoulli_(0.5) / 0.5)
        return self.drawn[-1]


def test_convpass_has_a_draw_of_its_own():
    made, plain = random_method("method=convpass method.scale=0.3 method.dropout=0", made=with_drop_path(0.5))
    draw = Half()
    agrees(made, plain, "train", **convpass(made, draw))
    paths, branches = torch.cat(draw.drawn[::2]), torch.cat(draw.drawn[1::2])
    assert {(a, b) for a, b in zip(paths.flatten().tolist(), branches.flatten().tolist(), strict=True)} == {
        *((0.0, 0.0), (0.0, 2.0), (2.0, 0.0), (2.0, 2.0))
    }


def test_adapter_plus_has_a_drop_path_of_its_own():
    made, plain = random_method("method=adapter_plus method.drop_path=0.5")
    drawn = []

    def draw(h):
        drawn.append(F.dropout(h.new_ones(len(h), 1, 1), 0.5))
        return drawn[-1]

    agrees(made, plain, "train", leave=adapter_plus(made, draw))
    assert set(torch.cat(drawn).flatten().tolist()) == {0.0, 2.0}


def test_adapters_in_front_of_drop_path_are_dropped_with_their_examples():
    made, plain = random_method("method=houlsby method.norms=false", made=with_drop_path(0.5))
    draw, blocks = Half(), made.net.blocks
    places = {
        "o": lambda b, h, x, z: h + bottleneck(blocks[b].attn.proj.branch, gelu, h),
        "fc2": lambda b, h, x, z: h + bottleneck(blocks[b].mlp.fc2.branch, gelu, h),
        "path1": lambda b, h, x, z: draw(h) * h,
        "path2": lambda b, h, x, z: draw(h) * h,
    }
    agrees(made, plain, "train", **places)
    assert set(torch.cat(draw.drawn).flatten().tolist()) == {0.0, 2.0}


def test_of_an_adapter_that_starts_at_zero_only_the_last_bias_learns():
    """As in the published VPT code: every other gradient is zero for ever."""
    made = tiny_vit(dtype=torch.float64)
    method_of("method=pfeiffer method.init=zero", "vit").inject(made)
    optimizer = torch.optim.SGD(made.net.parameters(), lr=0.1)
    for _ in range(3):
        x, labels = batch("vit")
        optimizer.zero_grad()
        F.cross_entropy(made.net(x), labels).backward()
        optimizer.step()
    for block in made.net.blocks:
        branch = block.mlp.fc2.branch
        assert branch.up_bias.abs().max() > 0
        assert not any(p.any() for p in (branch.down, branch.down_bias, branch.up))


def test_adaptformer_and_adapters_reach_convnext_where_the_features_are():
    """The branch beside the feed-forward path reads what the norm reads: features last, before the layer scale."""
    made, plain = random_method("method=adaptformer method.rank=8", "convnext")
    block, old = made.net.stages[0].blocks[0], plain.stages[0].blocks[0]
    x = torch.randn(2, 8, 5, 5, dtype=torch.float64)
    z = old.conv_dw(x).permute(0, 2, 3, 1)
    h = old.mlp(old.norm(z)) + 0.1 * bottleneck(block.mlp.branch, relu, z)
    expected = x + (old.gamma[:, None, None] * h.permute(0, 3, 1, 2))
    assert torch.allclose(block(x), expected, rtol=0, atol=1e-10)


def test_an_adapter_behind_a_convolution_reads_its_channels():
    made, plain = random_method("method=pfeiffer method.targets=[dwconv]", "convnext")
    layer, x = made.net.stages[1].blocks[0].conv_dw, torch.randn(2, 16, 5, 5, dtype=torch.float64)
    h = plain.stages[1].blocks[0].conv_dw(x)
    expected = h + bottleneck(layer.branch, gelu, h.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    assert torch.allclose(layer(x), expected, rtol=0, atol=1e-10)


# Frozen numbers

EXPECTED = Path(__file__).parent / "expected" / "logits.json"
TOLERANCE = {"vit": 1e-9, "convnext": 1e-9, "llama": 1e-6}  # the norms of a Llama round to fp32
FROZEN = json.loads(EXPECTED.read_text())


def kept():
    """Every case but peft, whose numbers are another project's, and random paths, which are draws."""
    cases = [pair for pair in MATRIX if pair[0] != "peft"]
    return [(case, name) for case, name in cases if composed(CASES[case], name).get("path") != "random"]


def fill(named, done=()):
    """Parameter k gets 0.1 sin(k + 7 sqrt(n)), n = 0, 1, ...; what scales gets 1 more. No random number is involved."""
    done = set(done)
    fresh = [(name, p) for name, p in named if id(p) not in done]
    with torch.no_grad():
        for k, (name, p) in enumerate(fresh):
            wave = 0.1 * torch.sin(k + 7 * torch.arange(p.numel(), dtype=p.dtype).sqrt())
            one = name.endswith(("scale", "gamma", "magnitude")) or ("norm" in name and name.endswith("weight"))
            p.copy_((wave + one).view_as(p))
    return done | {id(p) for _, p in fresh}


def numbers(case, backbone):
    """A few logits of a filled network with a filled method, for inputs in closed form."""
    made = BACKBONES[backbone](dtype=torch.float64)
    trunk = fill(made.net.named_parameters())
    small(case, backbone).inject(made)
    fill(made.net.named_parameters(), trunk)
    x = torch.arange(2 * 3 * SIDE * SIDE, dtype=torch.float64)
    x = (7 * x[:16].long() % 60).view(2, 8) if backbone == "llama" else torch.sin(3 * x.sqrt()).view(2, 3, SIDE, SIDE)
    with torch.no_grad():
        return made.net.eval()(x).flatten(1)[:, -3:].flatten().tolist()


@pytest.mark.parametrize(("case", "backbone"), [(case, backbone) for backbone in FROZEN for case in FROZEN[backbone]])
def test_logits_are_those_that_were_frozen(case, backbone):
    found = numbers(case, backbone)
    assert found == pytest.approx(FROZEN[backbone][case], rel=0, abs=TOLERANCE[backbone])
    moved = max(abs(a - b) for a, b in zip(found, FROZEN[backbone]["full"], strict=True))
    assert moved < 1e-12 if case in NOTHING_TO_MERGE else moved > 1e-5


def test_every_case_is_frozen():
    """But that of a method which has just been added: it needs no edit here."""
    frozen = {(case, backbone) for backbone in FROZEN for case in FROZEN[backbone]}
    new = {case for case, _ in kept()} - {case for case, _ in frozen}
    assert {(case, backbone) for case, backbone in kept() if case not in new} == frozen, "write it anew"
    assert new <= set(options("method")), "write it anew"


if __name__ == "__main__":
    rows: dict[str, dict[str, list[float]]] = {backbone: {} for backbone in BACKBONES}
    for case, backbone in kept():
        rows[backbone][case] = numbers(case, backbone)
    EXPECTED.write_text(json.dumps(rows, indent=1) + "\n")
