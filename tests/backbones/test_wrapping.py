"""Checkpoints as training tools write them: wrapped, prefixed, with more in them than tensors, or with no network."""

from __future__ import annotations

import argparse
import os
import pathlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from conftest import tiny_convnext, tiny_llama, tiny_vit
from glorabench.backbones import weights
from glorabench.backbones.base import Backbone
from glorabench.backbones.llama import llama_backbone
from glorabench.checksum import expected_sha256
from glorabench.cli import main
from glorabench.errors import BadInput
from test_weights import equal, jax_layout, load, trunk

SOURCE = tiny_vit(seed=1)
STATE: dict[str, Tensor] = dict(SOURCE.net.state_dict())


def behind(prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in STATE.items()}


def dino(prefix: str) -> dict[str, Tensor]:
    """A trunk and the projection of the pretraining, as DINO's full checkpoints have them."""
    trunk = {name: tensor for name, tensor in STATE.items() if not name.startswith("head.")}
    whole = {f"backbone.{name}": tensor for name, tensor in trunk.items()} | {"head.mlp.0.weight": torch.ones(3, 3)}
    return {f"{prefix}{name}": tensor for name, tensor in whole.items()}


WRAPPED: dict[str, tuple[Any, dict[str, str]]] = {
    "bare": (STATE, {}),
    "model": ({"model": STATE, "epoch": 3}, {"unwrapped": "model"}),
    "data parallel": ({"state_dict": behind("module.")}, {"unwrapped": "state_dict", "prefix": "module."}),
    "compiled": (behind("_orig_mod."), {"prefix": "_orig_mod."}),
    "compiled and parallel": (behind("module._orig_mod."), {"prefix": "module._orig_mod."}),
    "lightning": (
        {"state_dict": behind("model."), "hyper_parameters": {"lr": 0.1}, "pytorch-lightning_version": "2"},
        {"unwrapped": "state_dict", "prefix": "model."},
    ),
    "dino": (
        {"student": dino("module."), "teacher": dino(""), "args": argparse.Namespace(arch="vit")},
        {"unwrapped": "teacher (not student)", "prefix": "backbone."},
    ),
    "student": ({"student": dino("module.")}, {"unwrapped": "student", "prefix": "module.backbone."}),
    "average": ({"model_ema": STATE}, {"unwrapped": "model_ema"}),
    "plain before average": (
        {"model": STATE, "model_ema": {name: tensor + 1 for name, tensor in STATE.items()}},
        {"unwrapped": "model (not model_ema)"},
    ),
    "nested": ({"state_dict": {"model": behind("encoder.")}}, {"unwrapped": "state_dict.model", "prefix": "encoder."}),
}


@pytest.mark.parametrize("case", WRAPPED)
def test_what_is_around_the_tensors_is_taken_off_and_recorded(case: str, tmp_path: Path) -> None:
    content, notes = WRAPPED[case]
    path = tmp_path / ("w.ckpt" if case == "lightning" else "w.pth")
    torch.save(content, path)
    into = tiny_vit(seed=2)
    found = load(into, path)
    assert equal(trunk(into), trunk(SOURCE))
    assert {key: value for key, value in found.items() if key not in ("source", "sha256")} == notes


def test_a_prefix_in_safetensors_and_of_a_convnext(tmp_path: Path) -> None:
    source, into = tiny_convnext(seed=1), tiny_convnext(seed=2)
    save_file(
        {f"module.{name}": tensor for name, tensor in source.net.state_dict().items()}, tmp_path / "w.safetensors"
    )
    assert load(into, tmp_path / "w.safetensors")["prefix"] == "module."
    assert equal(trunk(into), trunk(source))


def test_a_file_that_still_does_not_fit_is_told_by_its_own_names(tmp_path: Path) -> None:
    torch.save({"state_dict": behind("model.") | {"criterion.weight": torch.ones(2)}}, tmp_path / "w.ckpt")
    with pytest.raises(BadInput) as said:
        load(tiny_vit(), tmp_path / "w.ckpt")
    text = str(said.value)
    assert f"{len(STATE) - 2} missing (blocks.0.attn.proj.bias), {len(STATE) + 1} unknown (criterion.weight)" in text
    assert f"its names: model.cls_token, model.pos_embed, model.patch_embed.proj.weight and {len(STATE) - 2} " in text


@pytest.mark.parametrize("content", [{"optimizer": {"lr": 1}}, [1], 3, {"model": {"epoch": 3}}])
def test_a_file_without_a_network_says_what_it_holds(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(
        BadInput, match=r"w\.pth holds (no tensors by name \(it holds (optimizer|epoch)\)|a (list|int))"
    ):
        load(tiny_vit(), tmp_path / "w.pth")


HARMLESS = [argparse.Namespace(lr=0.1, names=["a"]), np.float64(0.5), np.float32(0.5), np.int64(3), np.bool_(True)]


@pytest.mark.parametrize("beside", HARMLESS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("old", [False, True], ids=["numpy 2", "numpy 1"])
def test_harmless_things_beside_the_tensors_are_read(beside: Any, old: bool, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"model": STATE, "beside": beside}, path, _use_new_zipfile_serialization=not old)
    if old:  # a plain pickle, in which the name of numpy's module can be that of before
        path.write_bytes(path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    into = tiny_vit(seed=2)
    load(into, path)
    assert equal(trunk(into), trunk(SOURCE))


@pytest.mark.parametrize(
    ("beside", "kind"),
    [
        (pathlib.PurePosixPath("x"), "pathlib.PurePosixPath"),
        (nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
        (np.ones(3), r"numpy._core.multiarray._reconstruct"),
        (argparse.Namespace(path=pathlib.PurePosixPath("x")), "pathlib.PurePosixPath"),
        (os.system, "posix.system|nt.system"),
    ],
    ids=str,
)
def test_what_could_run_code_is_named(beside: Any, kind: str, tmp_path: Path) -> None:
    torch.save({"model": STATE, "beside": beside}, tmp_path / "w.pth")
    with pytest.raises(BadInput, match=f"w.pth is not a plain tensor file: it holds ({kind}), .*run code") as said:
        load(tiny_vit(), tmp_path / "w.pth")
    assert "\x1b" not in str(said.value)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "w.npz"])
def test_numbers_that_are_not_finite_are_refused(name: str, value: float, tmp_path: Path) -> None:
    source, into = tiny_vit(seed=1), tiny_vit(seed=2)
    with torch.no_grad():
        source.net.get_submodule("blocks.1.mlp.fc1").get_parameter("weight")[3, 2] = value
    before, state = trunk(into), dict(source.net.state_dict())
    if name == "w.npz":
        np.savez(tmp_path / name, **jax_layout(source.net))
    else:
        save_file(state, tmp_path / name) if name == "w.safetensors" else torch.save(state, tmp_path / name)
    tensor = "Transformer/encoderblock_1/MlpBlock_3/Dense_0/kernel" if name == "w.npz" else "blocks.1.mlp.fc1.weight"
    with pytest.raises(BadInput, match=f"{name}: {tensor} holds (NaN|infinity)"):
        load(into, tmp_path / name)
    assert equal(trunk(into), before)


def test_a_head_that_is_not_finite_is_dropped_as_any(tmp_path: Path) -> None:
    into = tiny_vit(seed=2)
    torch.save({**STATE, "head.weight": STATE["head.weight"] * float("nan")}, tmp_path / "w.pth")
    load(into, tmp_path / "w.pth")
    assert equal(trunk(into), trunk(SOURCE))


def test_a_llama_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    made: Backbone = tiny_llama()
    with torch.no_grad():
        made.net.get_parameter("model.layers.1.mlp.up_proj.weight")[0, 0] = float("inf")
    made.net.save_pretrained(tmp_path)  # type: ignore[operator]
    with pytest.raises(BadInput, match=r"model\.layers\.1\.mlp\.up_proj\.weight holds infinity"):
        llama_backbone("l", "llama", str(tmp_path), None, "float32", {})


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".npz", ".ckpt"])
def test_a_pipe_is_refused_at_once(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"w{suffix}"
    os.mkfifo(path)
    assert main(["run", "backbone=vit_b16", f"backbone.weights_from={path}", f"results_dir={tmp_path}"]) == 2
    assert capsys.readouterr().err == f"glorabench: {path} is a pipe, a device or a socket: a regular file is needed\n"
    with pytest.raises(BadInput, match="is a pipe, a device or a socket"):
        weights.load_weights(tiny_vit().net, "head", "tiny", "a model", str(path), None)
    (tmp_path / "llama").mkdir()
    os.mkfifo(tmp_path / "llama" / "a.safetensors")
    with pytest.raises(BadInput, match="is a pipe, a device or a socket"):
        expected_sha256(str(tmp_path / "llama"), "llama_7b")
