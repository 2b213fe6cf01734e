"""backbone=timm: building, weights of a file, image sizes, role patterns, refusals."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from glorabench.backbones.base import Backbone
from glorabench.backbones.timm_models import timm_backbone
from glorabench.backbones.weights import UNDECIDED
from glorabench.cli import main
from glorabench.config.compose import compose
from glorabench.errors import BadInput
from tiny_models import TINY, tiny_model


def build(model: str, weights_from: str | None = None, drop_path: float = 0.0, **more: Any) -> Backbone:
    return timm_backbone("b", model, "auto", weights_from, None, drop_path, **more)


@pytest.mark.parametrize("family", TINY)
def test_a_file_of_the_library_is_read_back(family: str, tmp_path: Path) -> None:
    """With other classes in its head: the trunk must give the same features."""
    tiny = TINY[family]
    written = tiny_model(family, dtype=torch.float32)
    save_file({k: t.contiguous() for k, t in written.net.state_dict().items()}, tmp_path / "w.safetensors")
    made = build(tiny.model, str(tmp_path / "w.safetensors"), image_size=tiny.side, model_args=tiny.args)
    images = torch.randn(2, 3, tiny.side, tiny.side)
    with torch.no_grad():
        assert torch.allclose(_features(made, images), _features(written, images), rtol=0, atol=1e-6)
    assert made.weights["source"] == "w.safetensors"
    assert "resampled" not in made.weights


def _features(backbone: Backbone, images: torch.Tensor) -> torch.Tensor:
    backbone.net.eval()
    return backbone.features(images)


@pytest.mark.parametrize(
    ("family", "side", "said"),
    [
        ("vit", 48, "position embedding, from 4 x 4 to 6 x 6 patches (bicubic)"),
        ("swin", 32, None),
        ("eva02", 48, "pos_embed, from 1 x 17 x 32 to 1 x 37 x 32"),
        ("resnet", 64, None),
    ],
)
def test_another_image_size_is_recorded(family: str, side: int, said: str | None, tmp_path: Path) -> None:
    tiny = TINY[family]
    net = tiny_model(family, dtype=torch.float32).net
    save_file({k: t.contiguous() for k, t in net.state_dict().items()}, tmp_path / "w.safetensors")
    made = build(tiny.model, str(tmp_path / "w.safetensors"), image_size=side, model_args=tiny.args)
    assert made.preprocess.size == side
    assert made.net.eval()(torch.randn(1, 3, side, side)).shape == (1, 1)
    assert made.weights.get("resampled") == said


def test_images_are_prepared_as_the_checkpoint_says() -> None:
    with torch.device("meta"):
        clip = build("vit_base_patch16_clip_224.openai").preprocess
        other = build("vit_base_patch16_clip_224.openai", preprocess={"interpolation": "bilinear"}).preprocess
    config = timm.get_pretrained_cfg("vit_base_patch16_clip_224.openai")
    assert (clip.size, clip.mean, clip.std, clip.interpolation) == (224, config.mean, config.std, "bicubic")
    assert (other.mean, other.interpolation) == (config.mean, "bilinear")


def test_weights_are_never_guessed() -> None:
    with pytest.raises(BadInput, match=r"weights_from is not chosen: .*=hub .*=PATH .*=null"):
        build("resnet18", UNDECIDED)
    assert compose(["backbone=timm", "backbone.model=resnet18"])["backbone"]["weights_from"] == UNDECIDED


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"model": "swin_tinny"}, "timm has no model 'swin_tinny'; did you mean"),
        ({"model": "resnet18.a9_in1k"}, "timm's resnet18 has no checkpoint 'a9_in1k'"),
        ({"model": "deit_tiny_distilled_patch16_224"}, "has 2 heads, and a run trains one"),
        ({"model": "vgg11", "drop_path": 0.1}, "drop_path.*train.drop_path=0"),
        ({"model": "vit_tiny_patch16_224", "image_size": 8}, "cannot be built|cannot be looked at"),
        ({"model": "vit_tiny_patch16_224", "model_args": {"deph": 2}}, "cannot be built with these values .*deph"),
        ({"model": "resnet18", "roles": {"fc9": "layer*.conv1"}}, "there is no role 'fc9'; did you mean 'fc"),
        ({"model": "resnet18", "roles": {"o": "layer*.conv9"}}, "'layer\\*.conv9' matches no layer"),
        ({"model": "resnet18", "roles": {"q": "layer1.0.conv1[0/3]"}}, "64 outputs, which are no 3 equal parts"),
        ({"model": "resnet18", "roles": {"q": "layer1.0.conv1[3/3]"}}, "a part is written \\[0/3\\]"),
    ],
    ids=str,
)
def test_what_is_wrong_is_refused_by_name(words: dict[str, Any], said: str) -> None:
    with torch.device("meta"), pytest.raises(BadInput, match=said) as refusal:
        build(**words)
    assert "\n" not in str(refusal.value)


def test_a_network_without_a_head_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    net = timm.create_model("resnet18", num_classes=0)
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: net)
    with pytest.raises(BadInput, match="has a head of kind Identity, no linear layer: choose a model with one linear"):
        build("resnet18")


def test_patterns_take_the_place_of_what_is_found() -> None:
    tiny = TINY["maxvit"]
    patterns = {"q": "*.attn.qkv[0/3]", "fc1": None, "o": ["stages.0.*.attn.proj", "stages.1.*.attn.proj"]}
    with torch.device("meta"):
        made = build(tiny.model, image_size=tiny.side, model_args=tiny.args, roles=patterns)
    found = tiny_model("maxvit")
    assert [s.path for s in made.sites(["q"])] == [s.path for s in found.sites(["qkv"])]
    assert {(s.rows.start, s.rows.stop) for s in made.sites(["q"])} == {(0, 32), (0, 64)}
    assert [(s.path, s.depth) for s in made.sites(["o"])] == [(s.path, s.depth) for s in found.sites(["o"])]
    assert "fc1" not in made.roles


@pytest.mark.parametrize(
    ("model", "method", "key", "roles"),
    [
        ("swin_tiny_patch4_window7_224", "ssf", "targets", "stem norm1 qkv o norm2 fc1 fc2 norm"),
        ("vit_small_plus_patch16_dinov3", "lora", "targets", "q v"),
        ("convnext_tiny", "glora", "targets", "fc1 fc2"),
        ("resnet18", "lora", "targets", "conv"),
        ("resnet18", "ia3", "inputs", ""),
        ("resnet18", "ssf", "targets", "stem conv downsample"),
    ],
)
def test_a_method_adapts_by_default_what_its_list_names_and_the_network_has(
    model: str, method: str, key: str, roles: str
) -> None:
    config = compose(["backbone=timm", f"backbone.model={model}", f"method={method}"])
    assert config["method"][key] == roles.split()
    assert config["names"]["backbone"] == config["backbone"]["name"] == model


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("backbone=timm method=lora", "this backbone needs a model: backbone.model=NAME"),
        ("backbone=timm backbone.model=nonsense method=lora", "timm has no model 'nonsense'"),
        ("backbone=timm backbone.model=resnet18 method=lora", "backbone.weights_from is not chosen"),
        ("backbone=timm backbone.model=resnet18 backbone.weights_from=null method=houlsby", "method.targets=\\[conv,"),
        ("backbone=timm backbone.model=maxvit_tiny_tf_224 method=lora", "q and v, which this network has in one layer"),
        ("backbone=timm backbone.model=resnet18 method=adaptformer backbone.weights_from=null", "no feed-forward path"),
        (
            "backbone=timm backbone.model=resnet18 method=lora backbone.weights_from=/no/such.pth",
            "no file /no/such.pth",
        ),
    ],
)
def test_a_run_says_what_to_change_in_one_line(
    words: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *words.split(), f"results_dir={tmp_path}", "logger=none"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(said, error), error
    assert list(tmp_path.rglob("*.json")) == []
