"""The cheap ways are exact: each against the plain way it stands for, and what it saves, to the multiply-add."""

import pytest
import torch
import torch.nn.functional as F
from timm.layers.drop import DropPath
from torch.utils.flop_counter import FlopCounterMode

from conftest import images, tiny_vit
from glorabench.backbones.vision import vision_backbone
from glorabench.backbones.vit_attention import ClassTokenBlock, compute_class_token_only
from glorabench.config.compose import compose
from glorabench.config.instantiate import BACKBONE, make
from glorabench.errors import BadInput
from glorabench.methods.reparam import Reparametrized, merge
from test_methods import MATRIX, UNMERGEABLE, batch, method_of, small

VIT_CASES = [case for case, backbone in MATRIX if backbone == "vit"]
B, T, D, P, R = 2, 197, 768, 10, 16  # images, tokens, width, prompts, rank
BLOCK = 12 * D * D  # multiply-adds of the linear layers of a block, a token


def vit(last_block="all", depth=2, rate=0.0):
    made = tiny_vit(dtype=torch.float64, depth=depth)
    if rate:
        for block in made.net.blocks:
            block.drop_path1, block.drop_path2 = DropPath(rate), DropPath(rate)
    if last_block == "class_token":
        assert compute_class_token_only(made.net)
    return made


def shaken(made):
    """Every trained tensor a little away from its start, by the same numbers for the same tensors."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.net.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return made


def injected_into(made, method):
    torch.manual_seed(0)
    method.inject(made)
    return shaken(made)


def answers(made, mode="eval", seed=3):
    """Logits, and the gradient of every trained tensor."""
    made.net.train(mode == "train").zero_grad()
    torch.manual_seed(seed)
    x, labels = batch("vit")
    y = made.net(x)
    F.cross_entropy(y, labels).backward()
    return y.detach(), {name: p.grad for name, p in made.net.named_parameters() if p.grad is not None}


def same(one, two, rename=lambda name: name):
    (y, gradients), (other_y, others) = one, two
    assert torch.allclose(y, other_y, rtol=0, atol=1e-12)
    others = {rename(name): gradient for name, gradient in others.items()}
    assert gradients.keys() == others.keys()
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, others[name], rtol=0, atol=1e-12), name


# Prompts of VPT-Deep as keys and values


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("last_block", ["all", "class_token"])
def test_prompts_as_keys_and_values_are_prompts_as_tokens(last_block, mode):
    """Also with dropout, which tells the images of a batch apart."""
    cheap, plain = (
        injected_into(vit(last_block), method_of(f"method=vpt_deep method.keys_only={keys_only}", "vit"))
        for keys_only in ("true", "false")
    )
    assert hasattr(cheap.net.blocks[0].attn, "prompts")
    assert hasattr(plain.net.blocks[0], "prompts")
    assert (cheap.shortcuts["prompts"], plain.shortcuts["prompts"]) == ("keys_and_values", "tokens")
    x, _ = batch("vit")
    assert not torch.allclose(cheap.net.eval()(x), vit().net(x), atol=1e-6)
    same(answers(cheap, mode), answers(plain, mode), lambda name: name.replace(".prompts", ".attn.prompts"))


def test_dropout_of_prompts_is_drawn_for_every_image():
    made = injected_into(vit(), method_of("method=vpt_deep method.dropout=0.5", "vit"))
    one = images(1, dtype=torch.float64).expand(4, -1, -1, -1)
    torch.manual_seed(0)
    y = made.net.train()(one)
    assert len({round(value, 9) for value in y[:, 0].tolist()}) == 4
    assert torch.allclose(made.net.eval()(one), made.net(one[:1]).expand(4, -1), rtol=0, atol=1e-12)


# The last block for the class token alone


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("depth", [1, 3])
def test_a_vit_whose_last_block_computes_the_class_token_alone_is_the_same(depth, mode):
    """Also under drop-path, which draws once an image."""
    cheap, plain = (vit(last_block, depth, rate=0.5) for last_block in ("class_token", "all"))
    assert list(cheap.net.state_dict()) == list(plain.net.state_dict())
    same(answers(cheap, mode), answers(plain, mode))


@pytest.mark.parametrize("case", VIT_CASES)
def test_every_method_is_the_same_with_the_last_block_for_the_class_token(case):
    """Logits and gradients; merged too."""
    cheap, plain = (injected_into(vit(last_block), small(case, "vit")) for last_block in ("class_token", "all"))
    assert isinstance(dict(cheap.net.named_modules()).get("blocks.1.layer", cheap.net.blocks[1]), ClassTokenBlock)
    found = answers(cheap)
    same(found, answers(plain))
    if case not in UNMERGEABLE:
        merged = merge(cheap.net)
        assert torch.allclose(merged(batch("vit")[0]), found[0], rtol=0, atol=1e-10)
        assert list(merged.state_dict()) == list(vit().net.state_dict())


def built(last_block, **model_args):
    sizes = {"embed_dim": 32, "depth": 2, "num_heads": 2, **model_args}
    torch.manual_seed(0)
    return vision_backbone("v", "vit_mini", "vit", None, None, 0.0, None, last_block, sizes)


def test_the_builder_says_which_way_the_last_block_goes():
    cheap, plain = built("class_token"), built("all")
    assert cheap.shortcuts == {"last_block": "class_token"}
    assert plain.shortcuts == {"last_block": "all"}
    assert isinstance(cheap.net.blocks[-1], ClassTokenBlock)
    assert not any(isinstance(block, ClassTokenBlock) for block in (*cheap.net.blocks[:-1], *plain.net.blocks))
    x = images(2)
    assert torch.allclose(cheap.net.eval()(x), plain.net.eval()(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("model_args", [{"global_pool": "avg"}, {"global_pool": "map"}, {"class_token": False}])
def test_a_head_that_reads_all_tokens_keeps_the_whole_last_block(model_args):
    if "class_token" in model_args:
        model_args = {**model_args, "global_pool": "avg"}
    made = built("class_token", **model_args)
    assert made.shortcuts == {"last_block": "all"}
    assert not isinstance(made.net.blocks[-1], ClassTokenBlock)
    assert made.net(images(2)).shape == (2, 1)


def test_an_unknown_way_is_named():
    with pytest.raises(BadInput, match=r"backbone.last_block 'cls'.*Known: all, class_token"):
        built("cls")


@pytest.mark.parametrize(("words", "way"), [([], "class_token"), (["backbone.last_block=all"], "all")])
def test_the_configuration_takes_the_cheap_way_and_can_be_told_not_to(words, way):
    made = make(compose(["backbone=vit_mini", *words])["backbone"], BACKBONE)
    assert made.shortcuts == {"last_block": way}


# The shared factors of FacT


@pytest.mark.parametrize("last_block", ["all", "class_token"])
@pytest.mark.parametrize("form", ["tt", "tk"])
def test_fact_on_the_fused_role_is_fact_on_its_parts(form, last_block):
    words = f"method=fact_{form} method.rank=4 method.scale=3 method.dropout=0"
    fused = injected_into(vit(last_block), method_of(words, "vit"))
    parts = injected_into(vit(last_block), method_of(f"{words} method.targets=[q,k,v,o,fc1,fc2]", "vit"))

    assert fused.shortcuts["shared_factors"] != parts.shortcuts["shared_factors"]

    def slices(made):
        """The slices of every layer, in the order of the network."""
        return [part for m in made.net.modules() if isinstance(m, Reparametrized) for _, part in m.parts()]

    with torch.no_grad():
        shared = slices(parts)[0].factors
        for name, parameter in slices(fused)[0].factors.named_parameters():
            shared.get_parameter(name).copy_(parameter)
        parts.net.head.load_state_dict(fused.net.head.state_dict())
        if form == "tt":
            stacked = torch.cat([part.S for part in slices(fused)])
            sizes = [len(part.S) for part in slices(parts)]
            assert sizes == [1, 1, 1, 1, 4, 4] * 2
            for part, S in zip(slices(parts), stacked.split(sizes), strict=True):
                part.S.copy_(S)
    (y, _), (other, _) = answers(fused), answers(parts)
    assert torch.allclose(y, other, rtol=0, atol=1e-12)

    def gradients(made):
        shared = slices(made)[0].factors
        own = [torch.cat([part.S.grad for part in slices(made)])] if form == "tt" else []
        return [*(p.grad for p in shared.parameters()), *own]

    found = gradients(fused)
    assert len(found) == (3 if form == "tt" else 4)
    for one, two in zip(found, gradients(parts), strict=True):
        assert one.abs().max() > 1e-6
        assert torch.allclose(one, two, rtol=0, atol=1e-12)


# Some rows of a layer

ON_QKV = [  # by `delta` and by `through`, on parts and on the whole
    *("lora", "lora qkv", "lora everywhere", "dora", "ia3", "ssf", "ssf on q, k and v", "fact_tt", "fact_tk"),
    *("fact_tt on q, k, v", "repadapter", "repadapter on q, k, v", "glora all lora", "glora vector matmul"),
]


@pytest.mark.parametrize("case", ON_QKV)
def test_some_rows_of_an_adapted_layer_are_those_of_its_output(case):
    made = injected_into(vit(), small(case, "vit"))
    layers = [m for m in made.net.eval().modules() if isinstance(m, Reparametrized) and m.out_features == 96]
    x = torch.randn(2, 5, 32, dtype=torch.float64)
    assert len(layers) == 2
    for layer in layers:
        whole = layer(x)
        for rows in (slice(0, 32), slice(32, 96), slice(32, 64), slice(64, 96), slice(16, 48), slice(0, 96)):
            assert torch.allclose(layer.outputs(x, rows), whole[..., rows], rtol=0, atol=1e-12)


# What they save


def flops(made, backward=False):
    """Of one batch, as torch counts them."""
    x = torch.empty(B, 3, 224, 224, device="meta")
    made.net.eval()
    with FlopCounterMode(display=False) as counter:
        y = made.net(x)
        if backward:
            y.sum().backward()
    return counter.get_total_flops()


def vit_b16(method="", last_block="all"):
    with torch.device("meta"):
        made = make(compose(["backbone=vit_b16", f"backbone.last_block={last_block}"])["backbone"], BACKBONE)
        if method:
            method_of(method, "vit").inject(made)
    return made


def attention(queries, keys):
    """Multiply-adds of attention of a block, an image: scores and their product with the values."""
    return 2 * queries * keys * D


def test_the_last_block_saves_queries_projection_and_feed_forward_network_of_all_other_tokens():
    """6.9 % of the linear layers, forward and backward."""
    saved = B * ((T - 1) * (BLOCK - 2 * D * D) + attention(T, T) - attention(1, T))
    assert flops(vit_b16()) - flops(vit_b16(last_block="class_token")) == 2 * saved
    assert pytest.approx(0.069, abs=5e-4) == B * (T - 1) * (BLOCK - 2 * D * D) / (B * T * 12 * BLOCK)
    plain = flops(vit_b16("method=lora"), backward=True)
    cheap = flops(vit_b16("method=lora", "class_token"), backward=True)
    assert 1 - cheap / plain == pytest.approx(0.069, abs=0.004)


def test_prompts_as_keys_and_values_cost_keys_and_values_once_a_batch():
    """No query, projection or feed-forward network of a prompt; as tokens they cost all of it, for every image."""
    floor, words = flops(vit_b16()), f"method=vpt_deep method.prompts={P}"
    keys = 12 * (2 * P * D * D + B * (attention(T, T + P) - attention(T, T)))
    tokens = 12 * B * (P * BLOCK + attention(T + P, T + P) - attention(T, T))
    assert flops(vit_b16(words)) - floor == 2 * keys
    assert flops(vit_b16(f"{words} method.keys_only=false")) - floor == 2 * tokens


def test_the_fused_role_applies_the_shared_factor_of_fact_once():
    words = f"method=fact_tt method.rank={R}"
    parts = flops(vit_b16(f"{words} method.targets=[q,k,v,o,fc1,fc2]"))
    assert parts - flops(vit_b16(words)) == 2 * 12 * 2 * B * T * R * D


def test_rows_that_no_one_asks_for_are_not_computed():
    made = vit_b16("method=lora")
    layer = made.net.blocks[0].attn.qkv
    with FlopCounterMode(display=False) as counter:
        layer.outputs(torch.empty(T, D, device="meta"), slice(0, D))
    assert counter.get_total_flops() == 2 * T * (D * D + 2 * 8 * D)
