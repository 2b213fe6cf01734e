"""The conformance matrix on models of timm whose roles are found: every method on a tiny model of every family.

A method that fits trains what it put in and nothing else, merges exactly where it can, and is saved and loaded. A
method that does not fit is refused when it is put in. The normal suite has one method of each kind, `campaign` all.
"""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from glorabench.backbones.base import Backbone
from glorabench.config.auto_family import AUTO
from glorabench.config.instantiate import METHOD, make
from glorabench.config.method_defaults import default_method_node
from glorabench.config.paths import options
from glorabench.errors import BadInput
from glorabench.methods.reparam import Foldable, Reparametrized, has_foldable, merge, merge_obstacle
from glorabench.methods.ssf import ScaleShift
from tiny_models import TINY, tiny_model

ALL_LOW_RANK = {"A": "lora", "B": "lora", "C": "lora", "D": "vector", "E": "vector"}
WIDTHS = {"fact_tk", "fact_tt"}  # one width for all blocks, and layers of whole slices of it
TOKENS = {"convpass", "vpt_deep", "vpt_shallow"}  # a class token and patches
PROMPTS = {"vpt_deep", "vpt_shallow"}  # a plain ViT, whose tokens have no positions relative to each other
PATHS = {"adaptformer", "houlsby", "pfeiffer", "repadapter", "repadapter_attn"}  # attention or feed-forward paths
OWN_BIAS = {"ia3", "peft", "repadapter", "repadapter_attn", "ssf"}  # no bias that the network adds to q, k and v itself
REFUSED: dict[str, set[str]] = {
    **{family: set() for family in TINY},
    "dinov2_swiglu": WIDTHS,
    "parallel": {*WIDTHS, *TOKENS, *PATHS},
    "dinov3": PROMPTS,
    "eva02": {*WIDTHS, *OWN_BIAS, *PROMPTS},
    "beit": {*OWN_BIAS, *PROMPTS},
    "cait": TOKENS,
    "swin": {*WIDTHS, *TOKENS},
    "swinv2": {*WIDTHS, *TOKENS, *OWN_BIAS},
    "pvt_v2": {*WIDTHS, *TOKENS},
    "hiera": {*WIDTHS, *TOKENS},
    "maxvit": {*WIDTHS, *TOKENS, "lora", "dora", "ia3"},  # q, k and v of unknown rows
    "convnext": {*WIDTHS, *TOKENS, "repadapter_attn"},
    "convnextv2": {*WIDTHS, *TOKENS, "repadapter_attn"},
    "resnet": {*WIDTHS, *TOKENS, *PATHS},
    "mobilenet": {*WIDTHS, *TOKENS, *PATHS},
}
SMALL = {"rank": 2, "prompts": 2, "groups": 1, "dropout": 0.0, "drop_path": 0.0}
FAST = ("glora", "adaptformer")
FAST_PAIRS = {
    *(("swin", "lora"), ("maxvit", "lora"), ("pvt_v2", "ssf"), ("eva02", "ssf"), ("swinv2", "ia3"), ("beit", "peft")),
    *(("convnextv2", "houlsby"), ("maxvit", "repadapter"), ("resnet", "bitfit"), ("hiera", "adapter_plus")),
}
MATRIX = [(family, method) for family in TINY for method in options("method")]
CASES = [
    pytest.param(*pair, marks=[] if pair[1] in FAST or pair in FAST_PAIRS else pytest.mark.campaign, id="-".join(pair))
    for pair in MATRIX
]


def put_in(backbone: Backbone, name: str) -> None:
    """Put a method with small values into a backbone, as `backbone=timm` would."""
    node = default_method_node(name, AUTO, None, {}, list(backbone.roles))
    node |= {key: value for key, value in SMALL.items() if key in node}
    if name == "glora":
        has_bias = all(getattr(backbone.net.get_submodule(s.path), "bias", None) is not None and s.takes_bias
                       for s in backbone.sites(node["targets"]))  # fmt: skip
        node["path"] = ALL_LOW_RANK if has_bias else "supernet"
    if name == "peft":
        node["args"] = {"r": 2, "lora_alpha": 2}
    torch.manual_seed(1)
    make(node, METHOD).inject(backbone)


def batch(backbone: Backbone) -> tuple[Tensor, Tensor]:
    side = backbone.preprocess.size
    images = torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return images, torch.arange(4)


def logits(net: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return net.eval()(images)


@pytest.mark.parametrize(("family", "method"), CASES)
def test_a_method_trains_merges_and_is_saved_or_it_is_refused(family: str, method: str) -> None:
    backbone = tiny_model(family)
    if method in REFUSED[family]:
        with pytest.raises(BadInput, match=r"\w"):
            put_in(backbone, method)
        return
    plain = copy.deepcopy(backbone.net)
    put_in(backbone, method)
    net, (images, labels) = backbone.net, batch(backbone)
    before = logits(net, images)
    frozen = {name: p.clone() for name, p in net.named_parameters() if not p.requires_grad}
    trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
    backbone.set_training(True)
    F.cross_entropy(net(images), labels).backward()
    assert [name for name, p in trained.items() if p.grad is None] == []
    with torch.no_grad():
        for p in trained.values():
            p.add_(0.05 * torch.randn_like(p))
    after = logits(net, images)
    assert not torch.allclose(after, before)
    assert all(torch.equal(p, frozen[name]) for name, p in net.named_parameters() if name in frozen)
    check_merge(net, plain, images, after)
    fresh = tiny_model(family)
    put_in(fresh, method)
    fresh.net.load_state_dict({name: p.detach() for name, p in trained.items()}, strict=False)
    assert torch.equal(logits(fresh.net, images), after)


def check_merge(net: nn.Module, plain: nn.Module, images: Tensor, expected: Tensor) -> None:
    """The certificate: a merged network is a plain one, and computes the same."""
    if merge_obstacle(net) or not has_foldable(net):
        return
    merged = merge(copy.deepcopy(net))
    assert not any(isinstance(module, Foldable) for module in merged.modules())
    assert torch.allclose(logits(merged, images), expected, rtol=0, atol=1e-9)
    names = {name for name in merged.state_dict() if not name.endswith(".bias")}
    assert names == {name for name in plain.state_dict() if not name.endswith(".bias")}


def test_a_norm_of_images_without_a_bias_takes_a_shift() -> None:
    norm = LayerNorm2d(4).double()
    norm.bias = None
    wrapper = Reparametrized(norm, [(None, ScaleShift(norm.weight.detach()[:, None], 0.5))])
    image = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    shift = wrapper.reparams[0].beta.detach()[:, None, None]
    scale = wrapper.reparams[0].gamma.detach()[:, None, None]
    with torch.no_grad():
        expected = F.layer_norm(image.movedim(1, -1), (4,), eps=norm.eps).movedim(-1, 1) * scale + shift
        assert torch.allclose(wrapper(image), expected, atol=1e-12)
        assert torch.allclose(wrapper.merge()(image), expected, atol=1e-12)
