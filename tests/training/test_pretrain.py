"""The embedded backbone: the shipped file, the glyphs it was trained on, and the recipe."""

import hashlib
import json
import unicodedata
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer
from torch import Generator, Tensor, nn

from glorabench.backbones.vit_mini import ConvStem, vit_mini
from glorabench.data.synthetic import glyphs
from glorabench.training import pretrain

ASSETS = Path(str(files("glorabench"))) / "assets"
CLASSES = len(glyphs.GLYPHS)


@pytest.fixture(scope="module")
def bank() -> glyphs.GlyphBank:
    return glyphs.draw_bank()


@pytest.fixture(scope="module")
def shipped() -> nn.Module:
    net = vit_mini(num_classes=CLASSES)
    net.load_state_dict(load_file(ASSETS / "vit_mini.safetensors"))
    return net.eval()


def scenes(bank: glyphs.GlyphBank, seed: int, size: int = 32, crowd: int = 8) -> glyphs.GlyphScenes:
    return glyphs.draw_scenes(bank, size, Generator().manual_seed(seed), 1.0, crowd)


def test_record_matches_the_shipped_file() -> None:
    record = json.loads((ASSETS / "vit_mini.json").read_text())
    data = (ASSETS / "vit_mini.safetensors").read_bytes()
    assert record["sha256"] == hashlib.sha256(data).hexdigest()
    assert len(data) <= 4 * 2**20
    assert record["upstream"]["classes"] == CLASSES
    assert record["images"] == record["steps"] * record["recipe"]["batch"]


def test_shape_of_the_network() -> None:
    net = timm.create_model("vit_mini", num_classes=10, drop_path_rate=0.1)
    assert isinstance(net, VisionTransformer)
    assert isinstance(net.patch_embed, ConvStem)
    tokens = net.forward_features(torch.zeros(2, 3, 32, 32))
    assert tokens.shape == (2, 17, 128)
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert sum(p.numel() for p in net.parameters()) == 1_303_690
    assert not list(net.buffers()), "running statistics cannot be merged or adapted"
    assert net.patch_embed.num_patches == 16


def test_stem_refuses_other_strides_and_sizes() -> None:
    with pytest.raises(ValueError, match="must be 8"):
        ConvStem(patch_size=16)
    with pytest.raises(ValueError, match="must be 8"):
        ConvStem().set_input_size(patch_size=4)
    with pytest.raises(ValueError, match="the model takes"):
        ConvStem()(torch.zeros(1, 3, 64, 64))


def test_no_digit_among_the_glyphs(bank: glyphs.GlyphBank) -> None:
    assert len(set(glyphs.GLYPHS)) == CLASSES
    for glyph in glyphs.GLYPHS:
        assert unicodedata.numeric(glyph, None) is None
        assert unicodedata.category(glyph)[0] in "LSP"
    assert not set(glyphs.GLYPHS) & set("Oo■□●○♥♡")
    assert int(bank.count.min()) >= 1


def test_scenes_follow_the_seed(bank: glyphs.GlyphBank) -> None:
    first, again, other = scenes(bank, 1), scenes(bank, 1), scenes(bank, 2)
    for a, b in zip(vars(first).values(), vars(again).values(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.images, other.images)


def test_labels_name_the_glyphs_drawn(bank: glyphs.GlyphBank) -> None:
    batch = scenes(bank, 3, size=128)
    assert batch.images.shape == (128, 3, 32, 32)
    assert batch.images.min() >= 0
    assert batch.images.max() <= 1
    torch.testing.assert_close(batch.present.sum(1), torch.ones(128))
    row, cell = (batch.cells != glyphs.NO_GLYPH).nonzero(as_tuple=True)
    assert len(row) > 128
    assert (batch.present[row, batch.cells[row, cell]] > 0).all()
    alone = scenes(bank, 3, crowd=1)
    assert torch.equal(alone.present.amax(1), torch.ones(32))


@pytest.mark.parametrize("crowd", [1, 3])
def test_a_scene_holds_no_more_than_the_crowd(bank: glyphs.GlyphBank, crowd: int) -> None:
    assert int((scenes(bank, 4, crowd=crowd).present > 0).sum(1).max()) <= crowd


def test_recipe_writes_what_it_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pretrain, "VALIDATION_IMAGES", 256)
    recipe = pretrain.Recipe(steps=2, batch=8, warmup=1)

    def run(name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
        record = pretrain.pretrain(tmp_path / name, seed=3, recipe=recipe)
        assert json.loads((tmp_path / name / "vit_mini.json").read_text()) == record
        return record, load_file(tmp_path / name / "vit_mini.safetensors")

    record, weights = run("a")
    assert "step 1 " in capsys.readouterr().out
    assert record["images"] == 16
    assert all(tensor.dtype == torch.float16 for tensor in weights.values())
    vit_mini(num_classes=CLASSES).load_state_dict(weights)
    assert run("b")[0]["sha256"] == record["sha256"]


def test_shipped_weights_read_new_glyphs(bank: glyphs.GlyphBank, shipped: nn.Module) -> None:
    batch = scenes(bank, 99, size=256, crowd=1)
    with torch.no_grad():
        guess = shipped(pretrain.normalise(batch.images)).argmax(1)
    assert (guess == batch.present.argmax(1)).float().mean() > 0.6, f"chance is 1 in {CLASSES}"


def test_upstream_accuracy_is_reproduced(shipped: nn.Module) -> None:
    record = json.loads((ASSETS / "vit_mini.json").read_text())
    # Not equal: another version of a font or of a kernel may turn a few of the images.
    assert pretrain.evaluate_upstream(shipped) == pytest.approx(record["upstream"]["top1"], abs=0.03)
