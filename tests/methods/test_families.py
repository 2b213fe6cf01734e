"""Models of timm that the role tables were not written for: what fits works, what does not is refused when built."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from conftest import tiny_convnext, tiny_vit
from glorabench.backbones.base import Backbone
from glorabench.backbones.vision import vision_backbone
from glorabench.cli import main
from glorabench.config.compose import compose
from glorabench.config.instantiate import BACKBONE, METHOD, make
from glorabench.errors import BadInput
from glorabench.methods.base import Method
from glorabench.methods.reparam import Reparametrized, merge

SMALL = {"img_size": 32, "patch_size": 16, "embed_dim": 48, "depth": 2, "num_heads": 3}
FIT = [("lora",), ("fact_tk", "method.rank=4", "method.targets=[qkv,o]"), ("dora",), ("houlsby",), ("bitfit",)]
OTHERS = ("eva02_tiny_patch14_224", "beit_base_patch16_224")


def backbone(model: str, family: str = "vit", **args: Any) -> Backbone:
    torch.manual_seed(0)
    sizes = {"size": args["img_size"]} if "img_size" in args else None
    made = vision_backbone("b", model, family, None, None, 0.1, sizes, "class_token", args)
    made.set_head(5)
    return made


def method(name: str, *words: str) -> Method:
    return make(compose([f"method={name}", *words])["method"], METHOD)


def randomised(net: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net.eval()


def images(count: int = 2, side: int = 32) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("model", "family", "said"),
    [
        ("swin_tiny_patch4_window7_224", "vit", r"is a SwinTransformer with no blocks named blocks\.\*"),
        ("resnet18", "vit", r"is a ResNet with no blocks named blocks\.\*"),
        ("resnet18", "convnext", r"is a ResNet with no blocks named stages\.\*\.blocks\.\*"),
        ("vit_tiny_patch16_224", "convnext", r"is a VisionTransformer with no blocks"),
        ("naflexvit_base_patch16_gap", "vit", None),
        ("efficientnet_b0", "vit", r"is a EfficientNet with no linear layer named head"),
    ],
)
def test_a_model_of_another_family_is_refused_with_what_it_lacks(model: str, family: str, said: str | None) -> None:
    with torch.device("meta"):
        if said is None:
            assert not vision_backbone("b", model, family, None, None, 0.0, None).is_standard
            return
        with pytest.raises(BadInput, match=rf"backbone\.model={model} {said}.*backbone\.family.*choose a model"):
            vision_backbone("b", model, family, None, None, 0.0, None)


@pytest.mark.parametrize("command", ["run", "count"])
def test_the_command_says_it_in_one_line(command: str, tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["backbone=vit_b16", "backbone.model=swin_tiny_patch4_window7_224", "method=lora"]
    places = ["backbone.weights_from=null", f"results_dir={tmp_path}", "logger=none"] if command == "run" else []
    assert main([command, *words, *places]) == 2
    said = capsys.readouterr().err
    assert "is a SwinTransformer with no blocks" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("model", OTHERS)
@pytest.mark.parametrize(
    "words", [("lora",), ("fact_tk", "method.rank=4", "method.targets=[qkv,o]"), ("dora",), ("houlsby",), ("bitfit",)]
)
def test_a_method_that_fits_learns_and_merges(model: str, words: tuple[str, ...]) -> None:
    made = backbone(model, **SMALL)
    method(*words).inject(made)
    assert not made.is_standard
    net = randomised(made.net)
    logits = net(images())
    logits.logsumexp(1).sum().backward()
    silent = [name for name, p in net.named_parameters() if p.requires_grad and p.grad is None]
    assert silent == [] or words == ("bitfit",)
    if words[0] not in ("houlsby", "bitfit"):
        merged = merge(copy.deepcopy(net))
        assert not any(isinstance(module, Reparametrized) for module in merged.modules())
        assert torch.allclose(merged(images()), logits, atol=1e-5)


@pytest.mark.parametrize("model", OTHERS)
def test_a_method_that_the_network_would_miss_a_part_of_is_refused(model: str) -> None:
    for words in (("ssf",), ("glora", "method.path={A: lora, B: lora, C: lora, D: none, E: none}")):
        with pytest.raises(
            BadInput, match=r"(SSF|GLoRA) does not fit b, a \w+: its code does not call blocks.0.attn.qkv"
        ):
            method(*words).inject(backbone(model, **SMALL))
    method("glora", "method.path={A: lora, B: vector, C: none, D: none, E: none}").inject(backbone(model, **SMALL))
    with pytest.raises(BadInput, match=r"Peft does not fit b, a \w+: AttributeError: .*has no attribute 'weight'"):
        method("peft").inject(backbone(model, **SMALL))


def test_a_network_with_a_second_head_is_refused() -> None:
    made = backbone("deit_tiny_distilled_patch16_224", **SMALL)
    with pytest.raises(BadInput, match="its output is not that of the head alone"):
        method("lora").inject(made)


def test_a_trial_leaves_no_trace() -> None:
    made = backbone("vit_relpos_small_patch16_224", **SMALL)
    made.net.get_submodule("blocks.1").eval()
    modes = {name: module.training for name, module in made.net.named_modules()}
    tuned = method("lora", "method.targets=[fc1]")
    torch.manual_seed(3)
    tuned.inject(made)
    state = torch.get_rng_state()
    found = {name.replace(".layer", ""): module.training for name, module in made.net.named_modules()}
    assert {name: found[name] for name in modes if "fc1" not in name} == {
        name: mode for name, mode in modes.items() if "fc1" not in name
    }
    assert not any(module._forward_hooks for module in made.net.modules())
    assert all(parameter.grad is None for parameter in made.net.parameters())
    torch.manual_seed(3)
    usual = backbone("vit_relpos_small_patch16_224", **SMALL)
    usual.is_standard = True  # no trial
    torch.manual_seed(3)
    tuned.inject(usual)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("config", ["vit_mini", "vit_b16", "vit_b16_augreg", "vit_b16_mae", "convnext_b", "llama_7b"])
def test_no_shipped_backbone_pays_for_a_trial(config: str) -> None:
    with torch.device("meta"):
        assert make(compose([f"backbone={config}"])["backbone"], BACKBONE).is_standard


@pytest.mark.parametrize("build", [tiny_vit, tiny_convnext])
def test_an_adapted_layer_shows_its_weight_and_bias(build: Any) -> None:
    """As they are folded, in the shape and dtype of the layer; where the layer has no bias, that of the method."""
    made = build(dtype=torch.float64)
    plain = {site.path: copy.deepcopy(made.net.get_submodule(site.path)) for site in made.sites(["fc1", "fc2", "norm"])}
    method("ssf", "method.targets=[fc1,fc2,norm]").inject(made)
    for path, layer in plain.items():
        adapted: Any = made.net.get_submodule(path)
        assert isinstance(adapted, Reparametrized)
        assert adapted.weight.shape == layer.weight.shape
        assert adapted.weight.dtype == torch.float64
        weight, bias = adapted.weight.detach(), adapted.bias.detach()
        merged: Any = copy.deepcopy(adapted).merge()
        assert torch.equal(merged.weight, weight)
        assert torch.equal(merged.bias, bias)
        assert not torch.equal(layer.weight, weight)
        assert "weight" not in dict(adapted.named_parameters(recurse=False))


@pytest.mark.parametrize("pool", ["avg", "map", "token"])
def test_methods_on_norms_know_where_a_vit_normalises_what_it_averages(pool: str) -> None:
    for name in ("ssf", "houlsby"):
        made = backbone("vit_tiny_patch16_224", **SMALL, global_pool=pool)
        last = "fc_norm" if pool == "avg" else "norm"
        assert [site.path for site in made.sites(["norm"])] == [last]
        method(name).inject(made)
        trained = {path for path, p in made.net.named_parameters() if p.requires_grad and path.startswith(last)}
        assert len(trained) == 2
        net = randomised(made.net)
        logits = net(images())
        logits.sum().backward()
        assert all(p.grad is not None for p in net.parameters() if p.requires_grad)
        if name == "ssf":
            assert torch.allclose(merge(net)(images()), logits, atol=1e-4)


def test_a_role_without_weights_is_refused_with_the_reason() -> None:
    made = backbone("vit_tiny_patch16_224", **SMALL, final_norm=False)
    with pytest.raises(BadInput, match="targets: norm of b is a Identity, which has no weights to adapt: leave it out"):
        method("ssf").inject(made)


@pytest.mark.parametrize(
    "words", [("repadapter",), ("repadapter", "method.targets=[fc1,fc2,downsample]")], ids=" ".join
)
def test_repadapter_is_put_on_a_convnext_with_a_convolutional_mlp(words: tuple[str, ...]) -> None:
    """The certificate: the merged network has the logits of the trained one, and the tensors of the plain one."""
    shape = {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)}
    made = backbone("convnext_atto", "convnext", **shape)
    names = {name: tensor.shape for name, tensor in made.net.state_dict().items()}
    chosen = ["backbone=convnext_b", "method=repadapter", "method.rank=4", *words[1:]]
    make(compose(chosen)["method"], METHOD).inject(made)
    net = randomised(made.net.double())
    x = images(side=64).double()
    logits = net(x)
    logits.logsumexp(1).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters() if p.requires_grad)
    merged = merge(copy.deepcopy(net))
    assert torch.allclose(merged(x), logits, rtol=0, atol=1e-9)
    assert {name: tensor.shape for name, tensor in merged.state_dict().items()} == names


@pytest.mark.parametrize("role", ["dwconv", "stem"])
def test_repadapter_is_refused_where_no_kernel_can_absorb_it(role: str) -> None:
    made = backbone("convnext_atto", "convnext", depths=(1, 1, 1, 1), dims=(8, 16, 24, 32))
    said = "no kernel can absorb that" if role == "dwconv" else "method.rank=8 is larger than role 'stem'"
    with pytest.raises(BadInput, match=said):
        method("repadapter", f"method.targets=[{role}]").inject(made)
