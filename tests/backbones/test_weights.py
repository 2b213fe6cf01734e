"""Weights from files: every format equal to the file, and every bad file named."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from conftest import tiny_convnext, tiny_vit
from glorabench import checksum
from glorabench.backbones import weights
from glorabench.backbones.base import Backbone
from glorabench.backbones.vision import vision_backbone
from glorabench.checksum import sha256_of
from glorabench.config.compose import compose
from glorabench.config.instantiate import BACKBONE, make
from glorabench.errors import BadInput


def trunk(backbone: Backbone) -> dict[str, Tensor]:
    return {
        key: value.clone()
        for key, value in backbone.net.state_dict().items()
        if not key.startswith(f"{backbone.head}.")
    }


def load(into: Backbone, path: Path, sha256: str | None = None) -> dict[str, str | None]:
    return weights.load_weights(into.net, into.head, into.name, "a model", str(path), sha256)


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
    found = {"source": name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert provenance == found | ({"unwrapped": "model"} if name.endswith(".pth") else {})


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
    file = checksum.ASSETS / "vit_mini.safetensors"
    assert backbone.weights == {"source": "embedded", "sha256": sha256_of(file)}
    kept = {k: v for k, v in load_file(file).items() if not k.startswith("head.")}
    assert equal(trunk(backbone), kept)


def test_without_a_source_the_network_is_random_and_says_so() -> None:
    into = tiny_vit()
    before = trunk(into)
    provenance = weights.load_weights(into.net, into.head, "tiny", "a model", None, None)
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


# The files of the authors, in their own names: every tensor lands where it belongs, and nothing else does

SIZE = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 4}
DIMS, DEPTHS = (8, 16, 24, 32), (1, 2, 1, 1)
AUTHORS = {  # config: what its authors call the file
    "vit_b16": "ViT-B_16.npz",
    "vit_b16_augreg": "B_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.0-sd_0.0.npz",
    "vit_b16_mae": "mae_pretrain_vit_base.pth",
    "convnext_b": "convnext_base_22k_224.pth",
}


def drawn(seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=generator)


def jax_file(pre_logits: bool, grid: int = 4) -> tuple[dict[str, np.ndarray], dict[str, Tensor]]:
    """A tiny ViT of the JAX code, and the same tensors where timm has them."""
    new, dim, heads, wide = drawn(), 32, 4, 128
    file = {
        "cls": new(1, 1, dim),
        "embedding/kernel": new(8, 8, 3, dim),
        "embedding/bias": new(dim),
        "Transformer/posembed_input/pos_embedding": new(1, grid**2 + 1, dim),
        "Transformer/encoder_norm/scale": new(dim),
        "Transformer/encoder_norm/bias": new(dim),
        "head/kernel": new(dim, 21843),
        "head/bias": new(21843),
    }
    if pre_logits:
        file |= {"pre_logits/kernel": new(dim, dim), "pre_logits/bias": new(dim)}
    timms = {
        "cls_token": file["cls"],
        "patch_embed.proj.weight": torch.einsum("hwio->oihw", file["embedding/kernel"]),
        "patch_embed.proj.bias": file["embedding/bias"],
        "pos_embed": file["Transformer/posembed_input/pos_embedding"],
        "norm.weight": file["Transformer/encoder_norm/scale"],
        "norm.bias": file["Transformer/encoder_norm/bias"],
    }
    for i in range(2):
        root, ours = f"Transformer/encoderblock_{i}/", f"blocks.{i}."
        attention = f"{root}MultiHeadDotProductAttention_1/"
        for part in ("query", "key", "value"):
            file[f"{attention}{part}/kernel"] = new(dim, heads, dim // heads)
            file[f"{attention}{part}/bias"] = new(heads, dim // heads)
        kernels = [file[f"{attention}{part}/kernel"] for part in ("query", "key", "value")]
        biases = [file[f"{attention}{part}/bias"] for part in ("query", "key", "value")]
        timms[f"{ours}attn.qkv.weight"] = torch.cat([torch.einsum("ihd->hdi", k).reshape(dim, dim) for k in kernels])
        timms[f"{ours}attn.qkv.bias"] = torch.cat([bias.reshape(dim) for bias in biases])
        file[f"{attention}out/kernel"], file[f"{attention}out/bias"] = new(heads, dim // heads, dim), new(dim)
        timms[f"{ours}attn.proj.weight"] = torch.einsum("hdo->ohd", file[f"{attention}out/kernel"]).reshape(dim, dim)
        timms[f"{ours}attn.proj.bias"] = file[f"{attention}out/bias"]
        for theirs, name in (("LayerNorm_0", "norm1"), ("LayerNorm_2", "norm2")):
            file[f"{root}{theirs}/scale"], file[f"{root}{theirs}/bias"] = new(dim), new(dim)
            timms[f"{ours}{name}.weight"] = file[f"{root}{theirs}/scale"]
            timms[f"{ours}{name}.bias"] = file[f"{root}{theirs}/bias"]
        for theirs, name, before, after in (("Dense_0", "fc1", dim, wide), ("Dense_1", "fc2", wide, dim)):
            kernel, bias = f"{root}MlpBlock_3/{theirs}/kernel", f"{root}MlpBlock_3/{theirs}/bias"
            file[kernel], file[bias] = new(before, after), new(after)
            timms[f"{ours}mlp.{name}.weight"], timms[f"{ours}mlp.{name}.bias"] = file[kernel].T, file[bias]
    return {key: value.numpy() for key, value in file.items()}, timms


def mae_file(grid: int = 4) -> dict[str, Tensor]:
    """A tiny MAE encoder: its authors' names are timm's."""
    timms = jax_file(False, grid)[1]
    return {key: timms[key].contiguous() for key in sorted(timms)}


def mae_decoder() -> dict[str, Tensor]:
    """What the authors' full files have beside the encoder."""
    new, shapes = drawn(1), {"norm1": (16,), "attn.qkv": (48, 16), "attn.proj": (16, 16), "norm2": (16,)}
    out = {"mask_token": new(1, 1, 16), "decoder_pos_embed": new(1, 17, 16), "decoder_embed.weight": new(16, 32)}
    for name, shape in (shapes | {"mlp.fc1": (64, 16), "mlp.fc2": (16, 64)}).items():
        out[f"decoder_blocks.0.{name}.weight"], out[f"decoder_blocks.0.{name}.bias"] = new(*shape), new(shape[0])
    out |= {"decoder_norm.weight": new(16), "decoder_norm.bias": new(16), "decoder_embed.bias": new(16)}
    return {**out, "decoder_pred.weight": new(192, 16), "decoder_pred.bias": new(192)}


def convnext_file() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A tiny ConvNeXt of its authors' code, and the same tensors where timm has them."""
    new = drawn()
    places = {
        "downsample_layers.0.0.weight": ("stem.0.weight", (8, 3, 4, 4)),
        "downsample_layers.0.0.bias": ("stem.0.bias", (8,)),
        "downsample_layers.0.1.weight": ("stem.1.weight", (8,)),
        "downsample_layers.0.1.bias": ("stem.1.bias", (8,)),
        "norm.weight": ("head.norm.weight", (32,)),
        "norm.bias": ("head.norm.bias", (32,)),
    }
    for i in (1, 2, 3):
        theirs, ours = f"downsample_layers.{i}.", f"stages.{i}.downsample."
        places[f"{theirs}0.weight"] = (f"{ours}0.weight", (DIMS[i - 1],))
        places[f"{theirs}0.bias"] = (f"{ours}0.bias", (DIMS[i - 1],))
        places[f"{theirs}1.weight"] = (f"{ours}1.weight", (DIMS[i], DIMS[i - 1], 2, 2))
        places[f"{theirs}1.bias"] = (f"{ours}1.bias", (DIMS[i],))
    for i, j in [(stage, block) for stage in range(4) for block in range(DEPTHS[stage])]:
        theirs, ours, dim = f"stages.{i}.{j}.", f"stages.{i}.blocks.{j}.", DIMS[i]
        places[f"{theirs}gamma"] = (f"{ours}gamma", (dim,))
        layers = {"dwconv": ("conv_dw", (dim, 1, 7, 7)), "norm": ("norm", (dim,))}
        layers |= {"pwconv1": ("mlp.fc1", (4 * dim, dim)), "pwconv2": ("mlp.fc2", (dim, 4 * dim))}
        for name, (timms, shape) in layers.items():
            places[f"{theirs}{name}.weight"] = (f"{ours}{timms}.weight", shape)
            places[f"{theirs}{name}.bias"] = (f"{ours}{timms}.bias", shape[:1])
    file = {name: new(*shape) for name, (_, shape) in places.items()}
    expected = {ours: file[name] for name, (ours, _) in places.items()}
    return {**file, "head.weight": new(21841, 32), "head.bias": new(21841)}, expected


def write_authors(folder: Path, config: str, grid: int = 4) -> tuple[Path, dict[str, Tensor]]:
    """The tiny file of a config under the name that its authors gave it."""
    path = folder / AUTHORS[config]
    if path.suffix == ".npz":
        arrays, expected = jax_file(config == "vit_b16", grid)
        np.savez(path, **arrays)
    elif config == "vit_b16_mae":
        expected = mae_file(grid)
        torch.save({"model": expected}, path)
    else:
        file, expected = convnext_file()
        torch.save({"model": file}, path)
    return path, expected


def node(config: str, *words: str) -> dict[str, Any]:
    """The config of a backbone, of tiny depth and width."""
    sizes = {"depths": list(DEPTHS), "dims": list(DIMS)} if config == "convnext_b" else SIZE
    args = ",".join(f"{key}: {value}" for key, value in sizes.items())
    words = (f"+backbone.model_args={{{args}}}", "backbone.preprocess.size=32", *words)
    return compose([f"backbone={config}", *words])["backbone"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the shipped configs look for weights."""
    monkeypatch.setenv("GLORABENCH_WEIGHTS", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("config", AUTHORS)
def test_every_tensor_of_the_authors_file_lands_where_it_belongs(folder: Path, config: str) -> None:
    path, expected = write_authors(folder, config)
    made = make(node(config), BACKBONE)
    assert equal(trunk(made), expected)
    assert made.classifier.weight.shape[0] == 1
    found = {"source": AUTHORS[config], "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert made.weights == found | ({"unwrapped": "model"} if path.suffix == ".pth" else {})
    assert made.net(torch.randn(2, 3, 32, 32)).isfinite().all()


@pytest.mark.parametrize("config", AUTHORS)
def test_a_file_is_pinned_by_its_hash(folder: Path, config: str) -> None:
    path, _ = write_authors(folder, config)
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    assert node(config)["sha256"] == right  # so it is part of the run's identity
    assert make(node(config, f"backbone.sha256={right}"), BACKBONE).weights["sha256"] == right
    with pytest.raises(BadInput, match=rf"{path.name} has sha256 {right}, expected 0{{64}}: .*set backbone.sha256"):
        make(node(config, f"backbone.sha256='{'0' * 64}'"), BACKBONE)


@pytest.mark.parametrize("config", AUTHORS)
def test_preprocessing_is_stated_and_is_that_of_the_checkpoint(config: str) -> None:
    stated = compose([f"backbone={config}"])["backbone"]
    timms = timm.get_pretrained_cfg(stated["model"])
    assert timms is not None
    assert timms.tag in {"orig_in21k", "augreg_in21k", "mae", "fb_in22k"}
    assert stated["preprocess"] == {
        "size": timms.input_size[1],
        "mean": list(timms.mean),
        "std": list(timms.std),
        "interpolation": timms.interpolation,
    }
    with torch.device("meta"):
        made = make(
            {**stated, "model": stated["model"].partition(".")[0]}, BACKBONE
        )  # timm's default tag is another checkpoint
    assert made.preprocess.mean == tuple(stated["preprocess"]["mean"])


def test_a_head_of_the_placeholders_size_is_not_taken_either(folder: Path) -> None:
    arrays, _ = jax_file(True)
    arrays |= {"head/kernel": np.full((32, 1), 9, np.float32), "head/bias": np.full(1, 9, np.float32)}
    np.savez(folder / AUTHORS["vit_b16"], **arrays)
    assert not make(node("vit_b16"), BACKBONE).classifier.bias.any()


def test_a_file_with_its_optimiser_is_read_without_it(folder: Path) -> None:
    arrays, expected = jax_file(False)
    target = {f"opt/target/{key}": value for key, value in arrays.items()}
    np.savez(folder / AUTHORS["vit_b16_augreg"], **target, **{"opt/state/step": np.ones(1, np.float32)})
    assert equal(trunk(make(node("vit_b16_augreg"), BACKBONE)), expected)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_decoder_of_a_full_mae_file_is_dropped_and_the_record_says_so(folder: Path, suffix: str) -> None:
    path = folder / f"mae_pretrain_vit_base_full{suffix}"
    whole = {**mae_file(), **mae_decoder()}
    torch.save({"model": whole}, path) if suffix == ".pth" else save_file(whole, path)
    made = make(node("vit_b16_mae", f"backbone.weights_from={path}"), BACKBONE)
    assert equal(trunk(made), mae_file())
    assert made.weights["dropped"] == f"MAE's decoder, {len(mae_decoder()) - 1} tensors"


def test_a_finetuned_mae_file_is_another_network(folder: Path) -> None:
    tuned = {key.replace("norm.", "fc_norm.") if key.startswith("norm.") else key: v for key, v in mae_file().items()}
    torch.save({"model": tuned}, folder / AUTHORS["vit_b16_mae"])
    with pytest.raises(
        BadInput,
        match=r"vit_base\.pth holds another architecture: 0 .*, 2 missing \(norm\.bias\), 2 unknown \(fc_norm\.bias\)",
    ):
        make(node("vit_b16_mae"), BACKBONE)


@pytest.mark.parametrize("config", ["vit_b16", "vit_b16_mae"])
def test_positions_of_another_image_size_are_resampled_as_timm_does_and_recorded(folder: Path, config: str) -> None:
    path, expected = write_authors(folder, config, grid=6)
    made = make(node(config), BACKBONE)
    how = "bilinear" if path.suffix == ".npz" else "bicubic"
    assert made.weights["resampled"] == f"position embedding, from 6 x 6 to 4 x 4 patches ({how})"
    first, rest = expected["pos_embed"][:, :1], expected["pos_embed"][:, 1:]
    image = rest.reshape(1, 6, 6, 32).permute(0, 3, 1, 2)
    image = torch.nn.functional.interpolate(image, (4, 4), mode=how, antialias=how == "bicubic")
    positions = torch.cat([first, image.permute(0, 2, 3, 1).reshape(1, 16, 32)], dim=1)
    assert torch.allclose(made.net.pos_embed, positions, atol=1e-6)
    assert equal(trunk(made) | {"pos_embed": positions}, expected | {"pos_embed": positions})


def altered(**arrays: Any) -> dict[str, np.ndarray]:
    """The arrays of a file of which some are replaced, or taken out by None; `__` stands for a slash."""
    file = {**jax_file(True)[0], **{key.replace("__", "/"): value for key, value in arrays.items()}}
    return {key: value for key, value in file.items() if value is not None}


QUERY = "Transformer__encoderblock_0__MultiHeadDotProductAttention_1__query__kernel"
ZEROS = np.zeros
WRONG = {
    "heads": ({QUERY: ZEROS((32, 2, 16), np.float32)}, "the file has 2 heads, the model 4 heads"),
    "patches": (
        {"embedding__kernel": ZEROS((16, 16, 3, 32), np.float32)},
        "has 16 x 16 pixels a patch, the model 8 x 8",
    ),
    "something more": ({"Transformer__adapter": ZEROS(3, np.float32)}, r"numbers in its trunk, the model \d+ numbers"),
    "something less": ({"Transformer__encoder_norm__bias": None}, "numbers in its trunk, the model"),
    "another name": (
        {"Transformer__encoder_norm__bias": None, "Transformer__encoder_norm__shift": ZEROS(32, np.float32)},
        "encoder_norm/bias is not a file",
    ),
    "no positions": ({"Transformer__posembed_input__pos_embedding": None}, "holds no ViT in its authors' names"),
    "positions": (
        {"Transformer__posembed_input__pos_embedding": ZEROS((1, 12, 32), np.float32)},
        "does not fit this ViT",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_the_npz_of_another_vit_is_one_line_with_file_and_fix(folder: Path, case: str) -> None:
    arrays, message = WRONG[case]
    np.savez(folder / "ViT-B_16.npz", **altered(**arrays))
    with pytest.raises(BadInput, match=message) as said:
        make(node("vit_b16"), BACKBONE)
    text = str(said.value)
    assert text.startswith(str(folder / "ViT-B_16.npz"))
    assert "\n" not in text
    assert "backbone.weights_from=PATH, or choose the backbone that made this one" in text


def test_the_npz_of_a_larger_vit_is_named_by_its_sizes(folder: Path) -> None:
    write_authors(folder, "vit_b16")
    with pytest.raises(
        BadInput, match="the file has 2 blocks, 32 features, 4 heads, 8 x 8 pixels a patch, the model 12 "
    ):
        make(compose(["backbone=vit_b16"])["backbone"], BACKBONE)


def test_an_npz_under_a_vit_that_pools_otherwise_is_refused(folder: Path) -> None:
    write_authors(folder, "vit_b16")
    with pytest.raises(BadInput, match=r"no whole fc_norm.weight \(of 2 tensors\)"):
        make(node("vit_b16", "+backbone.model_args.global_pool=avg"), BACKBONE)


def test_what_is_no_npz_of_a_vit_is_named(folder: Path) -> None:
    path = folder / "ViT-B_16.npz"
    np.savez(path, x_train=np.ones(3), y_train=np.ones(3))
    with pytest.raises(BadInput, match=r"ViT-B_16.npz holds no ViT .*\(2 arrays, first: x_train\); give"):
        make(node("vit_b16"), BACKBONE)
    np.save(folder / "a.npy", np.ones(3))
    for begun in ((folder / "a.npy").read_bytes(), b"<html>log in to download</html>", b""):
        path.write_bytes(begun)
        with pytest.raises(BadInput, match=r"ViT-B_16.npz is not an .npz archive: .*: fetch it again"):
            make(node("vit_b16"), BACKBONE)
    write_authors(folder, "vit_b16")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(BadInput, match=r"ViT-B_16.npz cannot be read .*truncated or altered: fetch it again"):
        make(node("vit_b16"), BACKBONE)


def test_the_patches_of_a_pth_are_not_stretched(folder: Path) -> None:
    torch.save({"model": mae_file() | {"patch_embed.proj.weight": torch.ones(32, 3, 4, 4)}}, folder / "w.pth")
    with pytest.raises(
        BadInput, match=r"w.pth holds another architecture: patches of 4 x 4 pixels, the model's 8 x 8;"
    ):
        make(node("vit_b16_mae", f"backbone.weights_from={folder / 'w.pth'}"), BACKBONE)


def test_a_bare_name_of_timm_chooses_no_weights() -> None:
    with pytest.raises(
        BadInput, match=r"'test_vit' is an architecture, .*add timm's tag: backbone.model=test_vit\.r160"
    ):
        vision_backbone("b", "test_vit", "vit", "hub", None, 0.0, None)
    with pytest.raises(BadInput, match=r"'vit_mini' is an architecture, .*timm has none for it, give a file"):
        vision_backbone("b", "vit_mini", "vit", "hub", None, 0.0, None)
    with pytest.raises(BadInput, match=r"test_vit has no checkpoint 'r16_in1k'; did you mean 'r160_in1k'"):
        vision_backbone("b", "test_vit.r16_in1k", "vit", None, None, 0.0, None)


def test_the_size_of_images_is_that_of_the_network() -> None:
    with pytest.raises(
        BadInput, match=r"preprocess.size is 224, but the network takes 32 x 32: set it and backbone.model"
    ):
        make(compose(["backbone=vit_b16", "+backbone.model_args={img_size: 32, depth: 1}"])["backbone"], BACKBONE)


@pytest.mark.parametrize("config", AUTHORS)
def test_the_table_of_weights_says_what_the_config_says(config: str) -> None:
    text = (Path(__file__).parents[2] / "docs" / "weights.md").read_text()
    (row,) = [line for line in text.splitlines() if line.startswith(f"| `{config}` |")]
    stated = compose([f"backbone={config}"])["backbone"]
    mean = "0.5 / 0.5" if stated["preprocess"]["mean"] == [0.5, 0.5, 0.5] else "ImageNet's"
    for cell in (f"| `{Path(stated['weights_from']).name}` |", f"| {mean} |", f"| `{stated['model']}` |"):
        assert cell in row
