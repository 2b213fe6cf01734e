"""The roles that are found by what a network calls, held against the tables, against behaviour and against traces."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from glorabench.backbones.attentions import PARTS_IN_ORDER, PROJECTIONS
from glorabench.backbones.base import Backbone, Role
from glorabench.backbones.calls import record_calls
from glorabench.backbones.structure import find_roles
from glorabench.backbones.vision import CONVNEXT, VIT
from glorabench.errors import BadInput
from tiny_models import tiny_model

KINDS = {"qkv": nn.Linear, "o": nn.Linear, "fc1": nn.Linear, "fc2": nn.Linear, "norm1": nn.LayerNorm}
MODELS_OF = {  # of each class of PARTS_IN_ORDER a model of timm that has it
    "timm.layers.attention.Attention": "vit_tiny_patch16_224",
    "timm.layers.attention.AttentionRope": "vit_pe_core_tiny_patch16_384",
    "timm.layers.attention_pool.AttentionPoolLatent": "vit_base_patch16_siglip_224",
    "timm.models.beit.Attention": "beit_base_patch16_224",
    "timm.models.cait.TalkingHeadAttn": "cait_xxs24_224",
    "timm.models.convit.GPSA": "convit_tiny",
    "timm.models.convit.MHSA": "convit_tiny",
    "timm.models.davit.WindowAttention": "davit_tiny",
    "timm.models.edgenext.CrossCovarianceAttn": "edgenext_xx_small",
    "timm.models.eva.EvaAttention": "eva02_tiny_patch14_224",
    "timm.models.gcvit.WindowAttentionGlobal": "gcvit_xxtiny",
    "timm.models.hiera.MaskUnitAttention": "hiera_tiny_224",
    "timm.models.hieradet_sam2.MultiScaleAttention": "sam2_hiera_tiny",
    "timm.models.metaformer.Attention": "caformer_s18",
    "timm.models.nest.Attention": "nest_tiny",
    "timm.models.pvt_v2.Attention": "pvt_v2_b0",
    "timm.models.swin_transformer.WindowAttention": "swin_tiny_patch4_window7_224",
    "timm.models.swin_transformer_v2.WindowAttention": "swinv2_tiny_window8_256",
    "timm.models.swin_transformer_v2_cr.WindowMultiHeadAttention": "swinv2_cr_tiny_224",
    "timm.models.tnt.Attention": "tnt_s_patch16_224",
    "timm.models.twins.GlobalSubSampleAttn": "twins_svt_small",
    "timm.models.twins.LocallyGroupedAttn": "twins_svt_small",
    "timm.models.vision_transformer_relpos.RelPosAttention": "vit_relpos_small_patch16_224",
    "timm.models.vision_transformer_sam.Attention": "samvit_base_patch16_224",
    "timm.models.visformer.Attention": "visformer_tiny",
    "timm.models.volo.Attention": "volo_d1_224",
    "timm.models.volo.ClassAttention": "volo_d1_224",
    "timm.models.xcit.XCA": "xcit_nano_12_p16_224",
}


def sites(backbone: Backbone, role: str) -> list[Any]:
    return [(s.path, s.depth, s.width, s.axis, s.rows) for s in backbone.sites([role])]


@pytest.mark.parametrize(("family", "table"), [("vit", VIT), ("dinov2", VIT), ("convnext", CONVNEXT)])
def test_what_is_found_is_what_the_tables_say(family: str, table: dict[str, Role]) -> None:
    found = tiny_model(family)
    by_table = Backbone("t", found.net, table, found.head, None, found.preprocess)
    assert found.roles.keys() == table.keys()
    for role in table:
        assert sites(found, role) == sites(by_table, role), role


@pytest.mark.parametrize("family", ["swin", "eva02", "beit", "cait", "pvt_v2", "hiera", "maxvit", "swinv2"])
def test_every_block_with_attention_has_its_parts(family: str) -> None:
    backbone = tiny_model(family)
    for role, kind in KINDS.items():
        found = backbone.sites([role])
        assert len(found) >= len(backbone.sites(["attn"]))
        assert all(isinstance(backbone.net.get_submodule(site.path), kind) for site in found)
    depths = [site.depth for site in backbone.sites(["o"])]
    assert depths == [site.depth for site in backbone.sites(["attn"])]
    assert all(site.path.endswith("proj") for site in backbone.sites(["o"]))


def test_norms_behind_a_path_are_no_beginnings() -> None:
    """Swin v2 normalises what a path adds: the path begins with its own module."""
    before, behind = tiny_model("swin"), tiny_model("swinv2")
    for number, module in (("1", "attn"), ("2", "mlp")):
        assert sites(before, f"in{number}") == sites(before, f"norm{number}")
        assert sites(behind, f"in{number}") == sites(behind, module)
        paths = {site.path.rpartition(".")[2] for site in behind.sites([f"norm{number}"])}
        assert paths == {f"norm{number}"}


def test_gates_have_roles_of_their_own() -> None:
    backbone = tiny_model("dinov3")
    ends = {role: {s.path.rpartition(".")[2] for s in backbone.sites([role])} for role in ("gate", "up", "down", "fc1")}
    assert ends == {"gate": {"fc1_g"}, "up": {"fc1_x"}, "down": {"fc2"}, "fc1": {"fc1_g", "fc1_x"}}


@pytest.mark.parametrize(
    ("family", "takes_bias"), [("vit", True), ("eva02", False), ("beit", False), ("swinv2", False)]
)
def test_a_layer_whose_weight_alone_is_read_takes_no_bias(family: str, takes_bias: bool) -> None:
    backbone = tiny_model(family)
    assert {site.takes_bias for site in backbone.sites(["qkv"])} == {takes_bias}
    assert {site.takes_bias for site in backbone.sites(["q"])} == {takes_bias}
    assert {site.takes_bias for site in backbone.sites(["fc1"])} == {True}


def test_a_look_changes_nothing() -> None:
    net = timm.create_model("resnet18", num_classes=3, layers=[1, 1, 1, 1], channels=[8, 8, 8, 8])
    net.layer1.eval()
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    torch.manual_seed(7)
    random = torch.get_rng_state()
    find_roles(net, record_calls(net, 32), "fc")
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())
    assert modes == [module.training for module in net.modules()]
    assert torch.equal(random, torch.get_rng_state())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_an_image_that_the_network_cannot_take_is_refused() -> None:
    net = tiny_model("vit").net
    with pytest.raises(BadInput, match=r"VisionTransformer cannot be looked at with an image of 30 x 30 pixels"):
        record_calls(net, 30)


def test_batch_norms_keep_their_statistics_while_training() -> None:
    backbone = tiny_model("resnet")
    before = {name: tensor.clone() for name, tensor in backbone.net.named_buffers()}
    backbone.set_training(True)
    backbone.net(torch.randn(4, 3, 32, 32, dtype=torch.float64)).sum().backward()
    assert backbone.net.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.net.named_buffers())
    assert any("running_mean" in name for name in before)


# Are equal shares of the rows of a fused projection what their roles say?


def attention_call(net: nn.Module, side: int, kind: str) -> tuple[nn.Module, tuple, dict[str, Any]]:
    """The first attention of a class, and the arguments that the network calls it with."""
    names = {f"{type(m).__module__}.{type(m).__name__}": m for m in reversed(list(net.modules()))}
    calls: list[tuple] = []
    hook = names[kind].register_forward_pre_hook(lambda _, args, more: calls.append((args, more)), with_kwargs=True)
    with torch.no_grad():
        net.eval()(torch.randn(1, 3, side, side))
    hook.remove()
    return names[kind], *calls[0]


def parts_are_in_order(attention: nn.Module, args: tuple, more: dict[str, Any]) -> bool:
    """Without values nothing else matters; without queries keys do not; and with all of them every part does."""
    name, layer = next((n, m) for n, m in attention.named_children() if len(PROJECTIONS.get(n, "")) > 1)
    kind, weight = PROJECTIONS[name], layer.get_parameter("weight")
    step = len(weight) // len(kind)
    full = 0.5 * torch.randn_like(weight)

    def output(zero: str = "", other: str = "") -> Tensor:
        changed = full.clone()
        for part, number in ((part, kind.index(part)) for part in zero + other):
            rows = changed[number * step : (number + 1) * step]
            rows.copy_(torch.zeros_like(rows) if part in zero else torch.randn_like(rows))
        with torch.no_grad():
            weight.copy_(changed)
            if getattr(layer, "bias", None) is not None:
                layer.bias.zero_()
            result = attention(*args, **more)
        return result[0] if isinstance(result, tuple) else result

    inert = [("v", part) for part in kind if part != "v"] if "v" in kind else []
    inert += [("q", "k")] if {"q", "k"} <= set(kind) else []
    silent = all(torch.allclose(output(zero), output(zero, other), atol=1e-5) for zero, other in inert)
    return silent and all(not torch.allclose(output(), output("", part), atol=1e-4) for part in kind)


FAST = ("layers.attention.Attention", "pvt_v2", "swin_transformer.", "eva.", "xcit")


def test_every_class_has_a_model() -> None:
    assert MODELS_OF.keys() == PARTS_IN_ORDER


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            k, marks=[] if any(part in k for part in FAST) and not k.endswith("Rope") else pytest.mark.campaign
        )
        for k in sorted(MODELS_OF)
    ],
)
def test_the_parts_of_a_fused_projection_are_what_their_roles_say(kind: str) -> None:
    torch.manual_seed(0)
    net = timm.create_model(MODELS_OF[kind], num_classes=2)
    assert parts_are_in_order(*attention_call(net, net.pretrained_cfg["input_size"][-1], kind))


def test_the_parts_of_other_attentions_are_not() -> None:
    """TinyViT's rows go from head to head: what the check is for."""
    torch.manual_seed(0)
    net = timm.create_model("tiny_vit_5m_224", num_classes=2)
    assert not parts_are_in_order(*attention_call(net, 224, "timm.models.tiny_vit.Attention"))
    assert "q" not in find_roles(net, record_calls(net, 224), "head.fc")
