"""Where the layers of a network are: sites, roles, the head and what it reads."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from conftest import CLASSES, DIM, SIDE, images, tiny_convnext, tiny_vit
from glorabench.backbones.base import Backbone, Role, Site
from glorabench.backbones.vision import CONVNEXT, VIT, vision_backbone
from glorabench.errors import BadInput

BOTH = pytest.mark.parametrize("build", [tiny_vit, tiny_convnext])

VIT_SITES = {
    "stem": [("patch_embed.proj", -1)],
    "block": [("blocks.0", 0), ("blocks.1", 1)],
    "norm1": [("blocks.0.norm1", 0), ("blocks.1.norm1", 1)],
    "in1": [("blocks.0.norm1", 0), ("blocks.1.norm1", 1)],
    "attn": [("blocks.0.attn", 0), ("blocks.1.attn", 1)],
    "qkv": [("blocks.0.attn.qkv", 0), ("blocks.1.attn.qkv", 1)],
    "q": [("blocks.0.attn.qkv", 0), ("blocks.1.attn.qkv", 1)],
    "k": [("blocks.0.attn.qkv", 0), ("blocks.1.attn.qkv", 1)],
    "v": [("blocks.0.attn.qkv", 0), ("blocks.1.attn.qkv", 1)],
    "o": [("blocks.0.attn.proj", 0), ("blocks.1.attn.proj", 1)],
    "out1": [("blocks.0.drop_path1", 0), ("blocks.1.drop_path1", 1)],
    "norm2": [("blocks.0.norm2", 0), ("blocks.1.norm2", 1)],
    "in2": [("blocks.0.norm2", 0), ("blocks.1.norm2", 1)],
    "mlp": [("blocks.0.mlp", 0), ("blocks.1.mlp", 1)],
    "fc1": [("blocks.0.mlp.fc1", 0), ("blocks.1.mlp.fc1", 1)],
    "fc2": [("blocks.0.mlp.fc2", 0), ("blocks.1.mlp.fc2", 1)],
    "out2": [("blocks.0.drop_path2", 0), ("blocks.1.drop_path2", 1)],
    "norm": [("norm", 2)],
}
CONVNEXT_SITES = {
    "stem": [("stem.0", -1)],
    "stem_norm": [("stem.1", -1)],
    "block": [(f"stages.{i}.blocks.0", i) for i in range(4)],
    "dwconv": [(f"stages.{i}.blocks.0.conv_dw", i) for i in range(4)],
    "norm2": [(f"stages.{i}.blocks.0.norm", i) for i in range(4)],
    "in2": [(f"stages.{i}.blocks.0.norm", i) for i in range(4)],
    "mlp": [(f"stages.{i}.blocks.0.mlp", i) for i in range(4)],
    "fc1": [(f"stages.{i}.blocks.0.mlp.fc1", i) for i in range(4)],
    "fc2": [(f"stages.{i}.blocks.0.mlp.fc2", i) for i in range(4)],
    "out2": [(f"stages.{i}.blocks.0.mlp", i) for i in range(4)],
    "downsample_norm": [(f"stages.{i}.downsample.0", i) for i in (1, 2, 3)],
    "downsample": [(f"stages.{i}.downsample.1", i) for i in (1, 2, 3)],
    "norm": [("head.norm", 4)],
}
KINDS = {
    "stem": nn.Conv2d,
    "stem_norm": nn.LayerNorm,
    "downsample_norm": nn.LayerNorm,
    "qkv": nn.Linear,
    "o": nn.Linear,
    "fc1": nn.Linear,
    "fc2": nn.Linear,
    "norm": nn.LayerNorm,
    "norm1": nn.LayerNorm,
    "norm2": nn.LayerNorm,
    "dwconv": nn.Conv2d,
    "downsample": nn.Conv2d,
}


def convnext(*depths: int) -> Backbone:
    """A narrow ConvNeXt of the package's own builder."""
    shape = {"depths": depths, "dims": (8, 12, 16, 20)}
    return vision_backbone("n", "convnext_atto", "convnext", None, None, 0.0, None, model_args=shape)


@pytest.mark.parametrize("role", VIT)
def test_sites_of_a_vit(role: str) -> None:
    assert [(s.path, s.depth) for s in tiny_vit().sites([role])] == VIT_SITES[role]


@pytest.mark.parametrize("role", CONVNEXT)
def test_sites_of_a_convnext(role: str) -> None:
    assert [(s.path, s.depth) for s in tiny_convnext().sites([role])] == CONVNEXT_SITES[role]


@BOTH
def test_a_role_is_a_layer_of_the_kind_its_name_says(build: type) -> None:
    backbone = build()
    for role in KINDS.keys() & backbone.roles.keys():
        for site in backbone.sites([role]):
            assert isinstance(backbone.net.get_submodule(site.path), KINDS[role])


def test_a_convnext_that_stays_channels_first_has_its_features_there() -> None:
    backbone = convnext(1, 1, 1, 1)  # timm's atto has a convolutional MLP
    assert all(site.axis == 1 for role in ("fc1", "norm2", "mlp") for site in backbone.sites([role]))
    assert all(site.axis == -1 for role in ("fc1", "norm2", "mlp") for site in tiny_convnext().sites([role]))


def test_a_layer_between_stages_has_the_depth_of_the_block_it_feeds() -> None:
    backbone = convnext(2, 3, 1, 2)
    assert [s.depth for s in backbone.sites(["block"])] == list(range(8))
    assert [s.depth for s in backbone.sites(["fc1"])] == list(range(8))
    assert [(s.path, s.depth) for s in backbone.sites(["downsample"])] == [
        ("stages.1.downsample.1", 2),
        ("stages.2.downsample.1", 5),
        ("stages.3.downsample.1", 6),
    ]
    assert [s.depth for s in backbone.sites(["norm"])] == [8]


def test_the_rows_of_q_k_and_v_split_the_fused_weight_exactly() -> None:
    backbone = tiny_vit()
    sites = [s for s in backbone.sites(["v", "q", "k"]) if s.depth == 1]
    assert [s.role for s in sites] == ["q", "k", "v"]
    weight = backbone.net.get_submodule(sites[0].path).get_parameter("weight")
    assert torch.equal(torch.cat([weight[s.rows] for s in sites]), weight)
    assert [s.width for s in sites] == [DIM] * 3
    assert backbone.sites(["qkv"])[0].width == 3 * DIM


def test_the_rows_of_q_are_what_attention_uses_as_queries() -> None:
    """Zero queries make attention uniform: every token gets the mean of the values."""
    backbone = tiny_vit(dtype=torch.float64)
    site = backbone.sites(["q"])[0]
    fused = backbone.net.get_submodule(site.path)
    with torch.no_grad():
        fused.get_parameter("weight")[site.rows] = 0
        fused.get_parameter("bias")[site.rows] = 0
    x = torch.randn(1, 4, DIM, dtype=torch.float64)
    out = backbone.net.get_submodule("blocks.0.attn")(x)
    assert torch.allclose(out, out[:, :1].expand_as(out), atol=1e-12)


def test_sites_come_in_the_order_of_the_network() -> None:
    backbone = tiny_vit()
    order = [path for path, _ in backbone.net.named_modules()]
    sites = backbone.sites(["fc2", "norm", "v", "q", "stem", "norm1"])
    assert [order.index(s.path) for s in sites] == sorted(order.index(s.path) for s in sites)
    assert [(s.role, s.depth) for s in sites] == [
        ("stem", -1),
        *((role, depth) for depth in (0, 1) for role in ("norm1", "q", "v", "fc2")),
        ("norm", 2),
    ]


def test_blocks_are_counted_in_order_beyond_nine() -> None:
    assert [s.depth for s in tiny_vit(depth=12).sites(["fc1"])] == list(range(12))
    assert tiny_vit(depth=12).sites(["fc1"])[10].path == "blocks.10.mlp.fc1"


def test_a_site_is_a_plain_value() -> None:
    assert tiny_vit().sites(["k"])[0] == Site("blocks.0.attn.qkv", "k", 0, DIM, -1, slice(DIM, 2 * DIM))


def test_no_roles_are_no_sites() -> None:
    assert tiny_vit().sites([]) == []


def test_an_unknown_role_is_named_with_the_nearest() -> None:
    with pytest.raises(BadInput, match=r"tiny_vit has no role 'qvk'; did you mean 'qkv'"):
        tiny_vit().sites(["q", "qvk"])


def test_a_role_that_matches_nothing_is_named() -> None:
    backbone = tiny_vit()
    backbone.roles = {**VIT, "gate": Role("blocks.*.mlp.gate")}
    with pytest.raises(BadInput, match="role 'gate' matches no layer of tiny_vit"):
        backbone.sites(["q", "gate"])


@pytest.mark.parametrize("targets", [["q", "q"], ["qkv", "v"], ["q", "qkv"], ["fc1", "fc1"]])
def test_roles_that_overlap_are_refused(targets: list[str]) -> None:
    with pytest.raises(BadInput, match=f"(?s)(?=.*{targets[0]})(?=.*{targets[1]}).*overlap"):
        tiny_vit().sites(targets)


@BOTH
def test_width_and_axis_are_those_of_the_output(build: type) -> None:
    """Of every role that is a module of the network, watched while it runs."""
    backbone = build()
    sites = [site for role in backbone.roles for site in backbone.sites([role]) if site.rows is None]
    shapes: dict[str, torch.Size] = {}

    def watch(path: str) -> None:
        def note(module: nn.Module, args: object, output: torch.Tensor) -> None:
            shapes[path] = output.shape

        backbone.net.get_submodule(path).register_forward_hook(note)

    for path in {site.path for site in sites}:
        watch(path)
    backbone.net(images(3))
    assert len(sites) > 20
    assert {site.axis for site in sites} == {-1, 1}
    for site in sites:
        assert shapes[site.path][site.axis] == site.width, site
        assert len(shapes[site.path]) == 4 or site.axis == -1, site


@BOTH
def test_the_network_is_its_features_and_its_head(build: type) -> None:
    backbone = build(dtype=torch.float64)
    x = images(3, dtype=torch.float64)
    features = backbone.features(x)
    assert features.shape == (3, backbone.classifier.in_features)
    assert torch.equal(backbone.classifier(features), backbone.net(x))
    assert not torch.allclose(features[0], features[1])


@BOTH
def test_reading_features_leaves_no_hook_behind(build: type) -> None:
    backbone = build()
    backbone.features(images(1))
    with pytest.raises(RuntimeError):
        backbone.features(torch.zeros(1, 4, SIDE, SIDE))  # four channels
    assert not backbone.classifier._forward_pre_hooks


@BOTH
def test_a_fresh_head_follows_the_vit_convention(build: type) -> None:
    backbone = build(dtype=torch.float64)
    features = backbone.features(images(2, dtype=torch.float64))
    old = backbone.classifier
    torch.manual_seed(0)
    backbone.set_head(400)
    head = backbone.classifier
    assert head is not old
    assert head.weight.shape == (400, old.in_features)
    assert head.weight.dtype == torch.float64
    assert head.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert head.weight.mean().item() == pytest.approx(0, abs=1e-3)
    assert not head.bias.any()
    assert backbone.net(images(2, dtype=torch.float64)).shape == (2, 400)
    assert torch.equal(backbone.features(images(2, dtype=torch.float64)), features)
    assert {id(p) for p in backbone.head_parameters()} == {id(head.weight), id(head.bias)}


def test_a_head_on_the_meta_device_stays_there() -> None:
    with torch.device("meta"):
        backbone = convnext(1, 1, 1, 1)
    backbone.set_head(7)
    assert backbone.classifier.weight.is_meta


@BOTH
def test_the_trunk_is_frozen_when_only_the_head_learns(build: type) -> None:
    backbone = build()
    assert not backbone.trunk_is_frozen()
    backbone.net.requires_grad_(False)
    assert backbone.trunk_is_frozen()
    backbone.classifier.requires_grad_(True)
    assert backbone.trunk_is_frozen()
    next(p for p in backbone.net.parameters() if p.ndim == 1).requires_grad_(True)
    assert not backbone.trunk_is_frozen()


def test_a_module_is_put_where_the_path_says() -> None:
    backbone = tiny_vit()
    new = nn.Identity()
    backbone.replace("blocks.1.mlp.fc1", new)
    assert backbone.net.get_submodule("blocks.1.mlp.fc1") is new
    assert isinstance(backbone.net.get_submodule("blocks.0.mlp.fc1"), nn.Linear)
    backbone.replace("norm", new)
    assert backbone.net.get_submodule("norm") is new


def test_the_dtype_and_the_seed_of_the_tiny_networks_are_those_asked_for() -> None:
    x = images(1)
    assert torch.equal(tiny_vit(1).net(x), tiny_vit(1).net(x))
    assert not torch.allclose(tiny_vit(1).net(x), tiny_vit(2).net(x))
    assert tiny_vit(dtype=torch.float64).net(x.double()).shape == (1, CLASSES)


def of_model(model: str, overrides: dict[str, object] | None = None) -> Backbone:
    family = "convnext" if model.startswith("convnext") else "vit"
    with torch.device("meta"):
        return vision_backbone("b", model, family, None, None, 0.0, overrides)


def test_preprocessing_is_what_the_checkpoint_says() -> None:
    mini = of_model("vit_mini").preprocess
    assert (mini.size, mini.mean, mini.std) == (32, (0.5,) * 3, (0.5,) * 3)
    assert of_model("vit_base_patch16_224").preprocess.mean == (0.5, 0.5, 0.5)
    conv = of_model("convnext_base").preprocess
    assert (conv.size, conv.interpolation) == (224, "bicubic")
    assert conv.mean == (0.485, 0.456, 0.406)


def test_preprocessing_can_be_overridden_value_by_value() -> None:
    changed = of_model("vit_base_patch16_224", {"mean": [0.0, 0.0, 0.0], "interpolation": "bilinear"})
    assert changed.preprocess.mean == (0.0, 0.0, 0.0)
    assert changed.preprocess.interpolation == "bilinear"
    assert (changed.preprocess.size, changed.preprocess.std) == (224, (0.5, 0.5, 0.5))


def test_prefix_tokens_are_those_of_the_network() -> None:
    assert of_model("vit_mini").prefix_tokens == 1
    assert of_model("convnext_base").prefix_tokens is None


@pytest.mark.parametrize(
    ("model", "family", "message"),
    [
        ("vit_mini", "vitt", r"family 'vitt' .*did you mean 'vit'"),
        ("vit_minni", "vit", r"no model 'vit_minni'; did you mean 'vit_mini'"),
    ],
)
def test_an_unknown_network_is_named_with_the_nearest(model: str, family: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        vision_backbone("b", model, family, None, None, 0.0, None)


def test_drop_path_grows_to_the_rate_asked_for() -> None:
    net = vision_backbone("b", "vit_mini", "vit", None, None, 0.3, None).net
    rates = [m.drop_prob for m in net.modules() if type(m).__name__ == "DropPath"]
    assert max(rates) == pytest.approx(0.3)  # type: ignore[type-var]
    assert rates == sorted(rates)  # type: ignore[type-var]
