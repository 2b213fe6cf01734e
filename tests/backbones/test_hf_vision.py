"""backbone=hf_vision: image models of transformers from a folder or a type, their images, and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    Dinov2Config,
    Dinov2ForImageClassification,
    PreTrainedModel,
    SiglipConfig,
    SiglipForImageClassification,
    SiglipVisionConfig,
    SiglipVisionModel,
    SwinConfig,
    SwinForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

from glorabench.backbones.base import Backbone
from glorabench.backbones.hf_vision import hf_vision_backbone
from glorabench.cli import main
from glorabench.config.compose import compose
from glorabench.config.instantiate import BACKBONE, METHOD, make
from glorabench.errors import BadInput
from glorabench.methods.reparam import merge

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
IMAGES = {"image_size": 32, "patch_size": 8}
SWIN = {"image_size": 32, "patch_size": 2, "embed_dim": 16, "depths": [1, 2], "num_heads": [2, 2], "window_size": 4}
PROCESSOR = {
    "size": {"height": 32, "width": 32},
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.2, 0.1],
    "resample": 2,
}


def written(kind: str) -> PreTrainedModel:
    """A tiny random model, as its own library makes it."""
    torch.manual_seed(0)
    models = {
        "vit": lambda: ViTForImageClassification(ViTConfig(**SIZES, **IMAGES, num_labels=3)),
        "vit_bare": lambda: ViTModel(ViTConfig(**SIZES, **IMAGES)),
        "dinov2": lambda: Dinov2ForImageClassification(Dinov2Config(**SIZES, **IMAGES, num_labels=3)),
        "swin": lambda: SwinForImageClassification(SwinConfig(**SWIN, num_labels=3)),
        "siglip": lambda: SiglipForImageClassification(
            SiglipConfig(vision_config={**SIZES, **IMAGES}, text_config={**SIZES, "vocab_size": 20}, num_labels=3)
        ),
        "siglip_tower": lambda: SiglipVisionModel(SiglipVisionConfig(**SIZES, **IMAGES)),
    }
    return models[kind]().eval()


def patches_of(tensors: dict[str, torch.Tensor]) -> str:
    """The name of the weight of the patch embedding."""
    return next(key for key in tensors if "patch_embedding" in key and key.endswith("weight"))


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    place = tmp_path / f"tiny-{request.param}"
    written(request.param).save_pretrained(place)
    (place / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return place


def build(place: Path, *words: str) -> tuple[Backbone, dict[str, Any]]:
    config = compose(["backbone=hf_vision", f"backbone.model={place}", "method=lora", "method.rank=2", *words])
    return make(config["backbone"], BACKBONE), config


@pytest.mark.parametrize("folder", ["vit", "dinov2", "swin", "siglip"], indirect=True)
def test_a_folder_is_read_and_computes_what_its_library_computes(folder: Path) -> None:
    backbone, config = build(folder)
    library = written(folder.name.removeprefix("tiny-"))
    backbone.net.classifier = library.classifier
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(backbone.net.eval()(images), library(pixel_values=images).logits, atol=1e-6)
    assert (backbone.preprocess.mean, backbone.preprocess.interpolation) == ((0.5, 0.4, 0.3), "bilinear")
    assert config["backbone"]["preprocess"]["std"] == [0.2, 0.2, 0.1]
    assert config["names"]["backbone"] == folder.name
    assert backbone.weights["source"] == folder.name
    roles = {"qkv", "q", "k", "v", "o", "fc1", "fc2", "norm1", "norm2", "stem", "norm", "mlp", "in2"}
    assert roles <= backbone.roles.keys()
    assert ("block" in backbone.roles) == (folder.name != "tiny-swin")  # whose blocks give more than one tensor
    assert {type(backbone.net.get_submodule(s.path)).__name__ for s in backbone.sites(["q"])} == {"Linear"}
    assert all(s.path.endswith("q_proj") for s in backbone.sites(["q"]))


@pytest.mark.parametrize("folder", ["vit_bare", "siglip_tower"], indirect=True)
def test_a_trunk_without_a_head_is_read(folder: Path) -> None:
    backbone, _ = build(folder)
    tensors = load_file(folder / "model.safetensors")
    name = patches_of(tensors)
    (own,) = [tensor for key, tensor in backbone.net.named_parameters() if key.endswith(name)]
    assert torch.equal(own, tensors[name])


@pytest.mark.parametrize("folder", ["dinov2", "swin"], indirect=True)
def test_a_method_trains_and_merges(folder: Path) -> None:
    backbone, config = build(folder)
    backbone.set_head(4)
    make(config["method"], METHOD).inject(backbone)
    images = torch.randn(2, 3, 32, 32)
    backbone.net(images).sum().backward()
    assert all(p.grad is not None for p in backbone.net.parameters() if p.requires_grad)
    with torch.no_grad():
        for p in backbone.net.parameters():
            p.add_(0.1 * torch.randn_like(p) if p.requires_grad else 0)
        logits = backbone.net.eval()(images)
        assert torch.allclose(merge(backbone.net)(images), logits, atol=1e-5)


def test_the_id_of_a_run_does_not_depend_on_where_the_folder_is(tmp_path: Path) -> None:
    from glorabench.records.record import run_id

    ids = set()
    for parent in ("a", "b"):
        place = tmp_path / parent / "tiny-vit"
        written("vit").save_pretrained(place)
        (place / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
        ids.add(run_id(compose(["backbone=hf_vision", f"backbone.model={place}"])))
    assert len(ids) == 1


@pytest.mark.parametrize("folder", ["vit"], indirect=True)
def test_another_image_size_resamples_positions_and_says_so(folder: Path) -> None:
    backbone, _ = build(folder, "backbone.image_size=48")
    images = torch.randn(1, 3, 48, 48)
    library = written("vit")
    backbone.net.classifier = library.classifier
    with torch.no_grad():
        expected = library(pixel_values=images, interpolate_pos_encoding=True).logits
        assert torch.allclose(backbone.net.eval()(images), expected, atol=1e-6)
    assert backbone.weights["resampled"] == "positions, of each image, from 32 to 48 pixels a side"
    assert backbone.preprocess.size == 48


def test_a_type_with_random_weights_needs_no_folder() -> None:
    args = "backbone.model_args={hidden_size:32,num_hidden_layers:1,num_attention_heads:2,intermediate_size:64}"
    words = ["backbone=hf_vision", "backbone.model=vit", args, "backbone.weights_from=null", "backbone.image_size=32"]
    backbone = make(compose([*words, "method=lora"])["backbone"], BACKBONE)
    assert len(backbone.sites(["block"])) == 1
    assert backbone.weights["source"] == "random initialisation"


@pytest.mark.parametrize("folder", ["vit"], indirect=True)
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("no processor", "has no preprocessor_config.json, so nothing says how images are prepared"),
        ("no config", "config.json cannot be read"),
        ("no weights", "no \\*.safetensors in"),
        ("another depth", "holds another architecture than a ViTForImageClassification"),
        ("nan", "holds NaN"),
        ("sha256", "have sha256 .* expected 00: fetch them again"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(folder: Path, fault: str, said: str) -> None:
    words: list[str] = []
    tensors = load_file(folder / "model.safetensors")
    if fault == "no processor":
        (folder / "preprocessor_config.json").unlink()
    elif fault == "no config":
        (folder / "config.json").write_text("[")
    elif fault == "no weights":
        (folder / "model.safetensors").unlink()
    elif fault == "another depth":
        config = json.loads((folder / "config.json").read_text()) | {"num_hidden_layers": 3}
        (folder / "config.json").write_text(json.dumps(config))
    elif fault == "nan":
        tensors[patches_of(tensors)].fill_(float("nan"))
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    else:
        words = ["backbone.sha256='00'"]
    with pytest.raises(BadInput, match=said) as refusal:
        build(folder, *words)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("no/such-model", "A hub's name needs backbone.weights_from=hub"),
        ("llama", "of which transformers has no image classifier"),
        (None, "this backbone needs a model: backbone.model=NAME"),
    ],
)
def test_a_model_that_is_none_is_refused_in_one_line(
    model: str | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"backbone.model={model}"] if model else []
    assert main(["run", "backbone=hf_vision", *words, "method=lora", f"results_dir={tmp_path}", "logger=none"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_value_that_the_type_does_not_take_is_refused() -> None:
    with torch.device("meta"), pytest.raises(BadInput, match=r"has no drop-path: train.drop_path=0"):
        hf_vision_backbone("b", "vit", "auto", None, None, 0.1)
