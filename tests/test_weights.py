"""Weights from files: every format equal to the file, and every bad file named."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from conftest import tiny_convnext, tiny_vit
from glorabench.backbones import weights
from glorabench.backbones.base import Backbone
from glorabench.backbones.vision import vision_backbone
from glorabench.checksum import sha256_of
from glorabench.errors import BadInput


def trunk(backbone: Backbone) -> dict[str, Tensor]:
    return {
        key: value.clone()
        for key, value in backbone.net.state_dict().items()
        if not key.startswith(f"{backbone.head}.")
    }


def load(into: Backbone, path: Path, sha256: str | None = None) -> dict[str, str | None]:
    return weights.load(into.net, into.head, into.name, "a model", str(path), sha256)


def equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[k], expected[k]) for k in found)


def jax_layout(net: nn.Module) -> dict[str, np.ndarray]:
    """The arrays of `net` under the names and shapes of the original ViT checkpoints."""
    state = {key: value.numpy() for key, value in net.state_dict().items()}
    dim, heads = state["cls_token"].shape[-1], 2
    out = {
        "embedding/kernel": state["patch_embed.proj.weight"].transpose(2, 3, 1, 0),
        "embedding/bias": state["patch_embed.proj.bias"],
        "cls": state["cls_token"],
        "Transformer/posembed_input/pos_embedding": state["pos_embed"],
        "Transformer/encoder_norm/scale": state["norm.weight"],
        "Transformer/encoder_norm/bias": state["norm.bias"],
        "head/kernel": state["head.weight"].T + 1,
        "head/bias": state["head.bias"] + 1,
        "pre_logits/kernel": np.ones((dim, dim), np.float32),
        "pre_logits/bias": np.ones(dim, np.float32),
    }
    depth = len({key.split(".")[1] for key in state if key.startswith("blocks.")})
    for i in range(depth):
        block, root = f"blocks.{i}.", f"Transformer/encoderblock_{i}/"
        attention = f"{root}MultiHeadDotProductAttention_1/"
        parts = zip(
            ("query", "key", "value"),
            np.split(state[f"{block}attn.qkv.weight"], 3),
            np.split(state[f"{block}attn.qkv.bias"], 3),
            strict=True,
        )
        for name, weight, bias in parts:
            out[f"{attention}{name}/kernel"] = weight.T.reshape(dim, heads, dim // heads)
            out[f"{attention}{name}/bias"] = bias.reshape(heads, dim // heads)
        out[f"{attention}out/kernel"] = state[f"{block}attn.proj.weight"].T.reshape(heads, dim // heads, dim)
        out[f"{attention}out/bias"] = state[f"{block}attn.proj.bias"]
        for ours, theirs in (("norm1", "LayerNorm_0"), ("norm2", "LayerNorm_2")):
            out[f"{root}{theirs}/scale"] = state[f"{block}{ours}.weight"]
            out[f"{root}{theirs}/bias"] = state[f"{block}{ours}.bias"]
        for ours, theirs in (("fc1", "Dense_0"), ("fc2", "Dense_1")):
            out[f"{root}MlpBlock_3/{theirs}/kernel"] = state[f"{block}mlp.{ours}.weight"].T
            out[f"{root}MlpBlock_3/{theirs}/bias"] = state[f"{block}mlp.{ours}.bias"]
    return out


def write_npz(path: Path, backbone: Backbone, **arrays: Any) -> Path:
    np.savez(path, **{**jax_layout(backbone.net), **arrays})
    return path


def write(path: Path, backbone: Backbone) -> Path:
    """`backbone` as a file of the format that the suffix says."""
    state = {key: value.contiguous() for key, value in backbone.net.state_dict().items()}
    if path.suffix == ".npz":
        return write_npz(path, backbone)
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"model": state} if path.suffix == ".pth" else state, path)
    return path


FORMATS = ("w.safetensors", "w.pth", "w.pt", "w.npz")


@pytest.mark.parametrize("name", FORMATS)
def test_every_tensor_of_the_trunk_is_the_files_and_the_head_is_not(tmp_path: Path, name: str) -> None:
    source, into = tiny_vit(seed=1), tiny_vit(seed=2)
    head = into.classifier.weight.clone()
    path = write(tmp_path / name, source)
    provenance = load(into, path)
    assert equal(trunk(into), trunk(source))
    if not name.endswith(".npz"):
        assert torch.equal(into.classifier.weight, head)
    assert provenance == {"source": name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def test_the_head_of_an_npz_is_not_taken_by_a_placeholder_of_another_size(tmp_path: Path) -> None:
    source, into = tiny_vit(seed=1), tiny_vit(seed=2)
    into.set_head(1)
    head = into.classifier.weight.clone()
    load(into, write(tmp_path / "w.npz", source))
    assert torch.equal(into.classifier.weight, head)
    assert equal(trunk(into), trunk(source))


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_a_convnext_keeps_the_norm_beside_its_head(tmp_path: Path, name: str) -> None:
    source, into = tiny_convnext(seed=1), tiny_convnext(seed=2)
    load(into, write(tmp_path / name, source))
    assert "head.norm.weight" in trunk(into)
    assert equal(trunk(into), trunk(source))


def test_the_authors_own_convnext_names_are_understood(tmp_path: Path) -> None:
    source, into = tiny_convnext(seed=1), tiny_convnext(seed=2)
    renamed = {}
    for key, value in source.net.state_dict().items():
        key = key.replace("stem.", "downsample_layers.0.")
        key = key.replace("head.norm", "norm").replace("head.fc", "head").replace(".blocks.", ".")
        key = key.replace("stages.1.downsample", "downsample_layers.1").replace("conv_dw", "dwconv")
        renamed[key.replace("mlp.fc", "pwconv")] = value
    assert "stages.0.0.pwconv1.weight" in renamed
    torch.save({"model": renamed}, tmp_path / "w.pth")
    load(into, tmp_path / "w.pth")
    assert equal(trunk(into), trunk(source))


def test_layers_that_only_lead_to_the_old_head_are_dropped(tmp_path: Path) -> None:
    source, into = tiny_vit(seed=1), tiny_vit(seed=2)
    extra = {"pre_logits.fc.weight": torch.ones(3), "head_dist.weight": torch.ones(3)}
    save_file({**source.net.state_dict(), **extra}, tmp_path / "w.safetensors")
    load(into, tmp_path / "w.safetensors")
    assert equal(trunk(into), trunk(source))


def test_half_precision_files_are_read_in_the_networks_own(tmp_path: Path) -> None:
    source, into = tiny_vit(seed=1), tiny_vit(seed=2)
    halved = {key: value.half() for key, value in source.net.state_dict().items()}
    save_file(halved, tmp_path / "w.safetensors")
    load(into, tmp_path / "w.safetensors")
    assert equal(trunk(into), {key: value.half().float() for key, value in trunk(source).items()})


@pytest.mark.parametrize("name", FORMATS)
def test_the_right_hash_is_accepted_and_a_wrong_one_refused(tmp_path: Path, name: str) -> None:
    into = tiny_vit(seed=2)
    before = trunk(into)
    path = write(tmp_path / name, tiny_vit(seed=1))
    with pytest.raises(BadInput, match=r"expected 0{64}"):
        load(into, path, "0" * 64)
    assert equal(trunk(into), before)
    load(into, path, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.parametrize("quarter", range(4))
@pytest.mark.parametrize("name", FORMATS)
def test_a_truncated_file_is_named(tmp_path: Path, name: str, quarter: int) -> None:
    path = write(tmp_path / name, tiny_vit())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * quarter // 4])
    with pytest.raises(BadInput, match=name):
        load(tiny_vit(), path)


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_of_something_else_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("this is a web page that says: log in to download\n" * 50)
    with pytest.raises(BadInput, match=name):
        load(tiny_vit(), tmp_path / name)


@pytest.mark.parametrize("name", FORMATS)
def test_a_deeper_file_is_another_model(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, tiny_vit(depth=3))
    with pytest.raises(BadInput, match=r"another architecture|the file has 3 blocks, the model 2"):
        load(tiny_vit(), path)


@pytest.mark.parametrize("name", FORMATS)
def test_a_shallower_file_is_another_model(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, tiny_vit(depth=1))
    with pytest.raises(BadInput, match=r"another architecture|the file has 1 blocks, the model 2"):
        load(tiny_vit(), path)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize(
    ("source", "into"),
    [(tiny_vit, tiny_convnext), (tiny_convnext, tiny_vit)],
    ids=["into convnext", "into vit"],
)
def test_a_file_of_another_family_is_named(tmp_path: Path, name: str, source: Any, into: Any) -> None:
    path = write(tmp_path / name, source())
    with pytest.raises(BadInput, match=f"{name}.*another architecture"):
        load(into(), path)


def test_an_npz_belongs_to_a_vit(tmp_path: Path) -> None:
    path = write(tmp_path / "w.npz", tiny_vit())
    with pytest.raises(BadInput, match=r"w\.npz does not fit"):
        load(tiny_convnext(), path)


@pytest.mark.parametrize("key", ["cls", "Transformer/encoder_norm/scale", "embedding/kernel"])
def test_an_npz_of_another_width_is_named(tmp_path: Path, key: str) -> None:
    shape = jax_layout(tiny_vit().net)[key].shape
    wider = np.zeros((*shape[:-1], 2 * shape[-1]), np.float32)
    path = write_npz(tmp_path / "w.npz", tiny_vit(), **{key: wider})
    with pytest.raises(BadInput, match=r"w\.npz does not fit"):
        load(tiny_vit(), path)


@pytest.mark.parametrize(
    "content",
    [{"model": "vit"}, {"model": {"epoch": 3}}, {"epoch": 3}, [1, 2], torch.ones(3), 3, {}],
    ids=["no tensors", "nested no tensors", "flat no tensors", "list", "tensor", "number", "empty"],
)
def test_a_checkpoint_without_a_network_is_named(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pth")
    for into in (tiny_vit(), tiny_convnext()):
        with pytest.raises(BadInput, match=r"w\.pth"):
            load(into, tmp_path / "w.pth")


class Planted:
    """What an attacker would put into a pickle."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.where,)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
def test_code_in_a_pickle_is_refused_and_never_run(tmp_path: Path, suffix: str) -> None:
    planted = tmp_path / "planted"
    path = tmp_path / f"w{suffix}"
    torch.save({**tiny_vit().net.state_dict(), "extra": Planted(str(planted))}, path)
    with pytest.raises(BadInput, match="not a plain tensor file"):
        load(tiny_vit(), path)
    assert not planted.exists()
    torch.load(path, weights_only=False)
    assert planted.exists()  # the attack itself works


def test_code_in_an_npz_is_refused_and_never_run(tmp_path: Path) -> None:
    planted = tmp_path / "planted"
    array = np.array([Planted(str(planted))], dtype=object)
    path = write_npz(tmp_path / "w.npz", tiny_vit(), cls=array)
    with pytest.raises(BadInput, match=r"w\.npz"):
        load(tiny_vit(), path)
    assert not planted.exists()


def test_a_missing_file_is_named_with_the_ways_out(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no file .*none\.npz.*weights_from=hub"):
        load(tiny_vit(), tmp_path / "none.npz")
    with pytest.raises(BadInput, match="no file"):
        load(tiny_vit(), tmp_path)  # a folder


def test_an_unknown_suffix_is_named(tmp_path: Path) -> None:
    (tmp_path / "w.h5").write_bytes(b"x")
    with pytest.raises(BadInput, match=r"unknown suffix '\.h5'; use \.safetensors, \.npz or \.pth"):
        load(tiny_vit(), tmp_path / "w.h5")


def test_the_embedded_weights_are_the_packages_own() -> None:
    backbone = vision_backbone("vit_mini", "vit_mini", "vit", "embedded", None, 0.0, None)
    file = weights.ASSETS / "vit_mini.safetensors"
    assert backbone.weights == {"source": "embedded", "sha256": sha256_of(file)}
    kept = {k: v for k, v in load_file(file).items() if not k.startswith("head.")}
    assert equal(trunk(backbone), kept)


def test_without_a_source_the_network_is_random_and_says_so() -> None:
    into = tiny_vit()
    before = trunk(into)
    provenance = weights.load(into.net, into.head, "tiny", "a model", None, None)
    assert provenance == {"source": "random initialisation", "sha256": None}
    assert equal(trunk(into), before)


def test_on_the_meta_device_no_file_is_read(tmp_path: Path) -> None:
    into = tiny_vit()
    into.net.to("meta")
    provenance = load(into, tmp_path / "none.npz", "0" * 64)
    assert provenance == {"source": "none (meta device)", "sha256": None}


def test_a_home_folder_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    source, into = tiny_vit(seed=1), tiny_vit(seed=2)
    write(tmp_path / "w.safetensors", source)
    load(into, Path("~/w.safetensors"))
    assert equal(trunk(into), trunk(source))
