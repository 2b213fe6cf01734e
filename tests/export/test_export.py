"""Export: three formats, each loaded by its own library, computing what the trained network computes; refusals."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForCausalLM

from conftest import tiny_convnext, tiny_llama, tiny_vit
from glorabench.backbones.base import Backbone
from glorabench.backbones.vision import vision_backbone
from glorabench.cli import main
from glorabench.config.compose import compose
from glorabench.config.instantiate import BACKBONE, METHOD, make
from glorabench.errors import BadInput
from glorabench.export import folder, load, to_merged, to_peft
from glorabench.export.folder import export_run
from glorabench.methods.base import Method
from glorabench.methods.reparam import merge
from glorabench.records import record
from glorabench.records.record import Record
from glorabench.records.store import find_run
from glorabench.training.build import build
from glorabench.training.run import run
from glorabench.training.trained_network import example, method_node, plain_network, rebuild_backbone
from test_methods import BACKBONES, FAMILY, logits, train
from test_weights import jax_layout

pytestmark = [pytest.mark.usefixtures("cache"), pytest.mark.filterwarnings("ignore::UserWarning:peft.*")]
FAST = ["logger=none", "progress=none", "train.epochs=1", "latency_rounds=0"]
CLOSE = 1e-5  # of logits, absolute
ALIKE = "method.path={A: vector, B: vector, C: lora, D: vector, E: vector}"
RUNS = {
    "lora": "method=lora",
    "alike": f"method=glora|{ALIKE}",
    "random": "method=glora",
    "supernet": "method=glora|method.path=supernet",
    "vpt": "method=vpt_deep",
    "peft": "method=peft",
}
FORMATS = ("merged", "adapter", "peft")


def config(results: Path, words: str) -> dict:
    return compose([*FAST, *words.split("|"), f"results_dir={results}"])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A results folder with one short run of each kind, and a failed one."""
    folder = tmp_path_factory.mktemp("exported") / "results"
    for words in RUNS.values():
        assert run(config(folder, words)).status == "done"
    assert run(config(folder, "method=lora|train.clip=null|train.lr=1e38|train.epochs=2")).status == "failed"
    return folder


def finished(results: Path, name: str) -> Record:
    return record.read_record(record.path_of(results, config(results, RUNS[name])))


def tensors(results: Path, made: Record) -> Path:
    return results / "adapters" / f"{made.run_id}.safetensors"


def off(one: nn.Module, two: nn.Module, inputs: torch.Tensor) -> float:
    with torch.no_grad():
        return float((one.eval()(inputs) - two.eval()(inputs)).abs().max())


def executed(lines: list[str]) -> nn.Module:
    """What the printed lines make."""
    names: dict = {}
    exec("\n".join(lines), names)
    return names["net"]


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# Building a run again


@pytest.mark.parametrize("name", RUNS)
def test_a_rebuilt_network_predicts_what_the_run_predicted(results, name):
    """On every test image; the independent network is the one that the run itself would build."""
    made = finished(results, name)
    net = rebuild_backbone(made, tensors(results, made)).net
    parts = build(config(results, RUNS[name]))
    images = parts.data.normalise(torch.tensor(parts.task.splits["test"][0]))
    kept = load_file(results / "predictions" / f"{made.run_id}.safetensors")
    with torch.no_grad():
        found = torch.cat([net(batch) for batch in images.split(256)])
    assert torch.equal(found.argmax(-1), kept["predicted"])
    if made.paths is None or made.config["method"]["path"] != "supernet":
        parts.backbone.net.load_state_dict(load_file(tensors(results, made)), strict=False)
        assert off(parts.backbone.net, net, images[:64]) <= CLOSE


def test_a_winner_that_was_trained_again_is_built_from_its_paths(results):
    """Its file holds the winner's tensors alone, though the config says supernet."""
    made = finished(results, "random")
    node = made.config["method"] | {"path": "supernet"}
    searched = replace(made, config=made.config | {"method": node, "search": {"winner": "retrain"}})
    assert method_node(searched)["path"] == made.paths
    inputs = example(rebuild_backbone(made, tensors(results, made)))
    assert (
        off(
            rebuild_backbone(searched, tensors(results, made)).net,
            rebuild_backbone(made, tensors(results, made)).net,
            inputs,
        )
        == 0
    )
    inherited = replace(searched, config=searched.config | {"search": {"winner": "inherit"}})
    assert method_node(inherited)["path"] == "supernet"


def test_a_run_is_found_by_the_beginning_of_its_id(results):
    made = finished(results, "lora")
    assert find_run(made.run_id, [results]) == (results, made)
    assert find_run(made.run_id[:6], [results / "nothing", results])[1] == made


# Whole runs through the command


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("name", RUNS)
def test_what_is_exported_computes_the_same_with_the_lines_that_are_printed(results, tmp_path, capsys, name, to):
    made = finished(results, name)
    words = ["export", f"run={made.run_id}", f"to={to}", f"results_dir={results}", f"out={tmp_path / 'out'}"]
    if name == "vpt" and to != "adapter":
        assert main(words) == 2
        assert "to=adapter keeps" in capsys.readouterr().err
        assert not list(tmp_path.iterdir())
        return
    assert main(words) == 0
    shown = capsys.readouterr().out
    lines = [line.strip() for line in shown.partition("to load it:")[2].splitlines() if line.strip()]
    trained = rebuild_backbone(made, tensors(results, made))
    net = executed(lines)
    assert off(net, trained.net, example(trained, 16)) <= CLOSE
    assert isinstance(net, PeftModel) == (to == "peft")
    for path in (tmp_path / "out").iterdir():
        assert path.name in shown
        assert f"{path.stat().st_size:,}" in shown
    copied = record.read_record(tmp_path / "out" / f"record-{made.run_id}.json")
    assert copied == made
    assert [p.name for p in tmp_path.iterdir()] == ["out"], "something was left beside the folder"


@pytest.mark.parametrize("name", ["lora", "alike", "supernet", "peft"])
def test_a_merged_export_is_the_plain_network_and_nothing_else(results, tmp_path, name):
    made = finished(results, name)
    export_run(made, tensors(results, made), "merged", tmp_path / "out")
    net = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True)
    plain = timm.create_model("vit_mini", num_classes=10)
    kinds = [[(path, type(module)) for path, module in one.named_modules()] for one in (net, plain)]
    assert kinds[0] == kinds[1], "a wrapper is left"
    shapes = [{key: t.shape for key, t in one.state_dict().items()} for one in (net, plain)]
    assert shapes[0] == shapes[1] == {k: t.shape for k, t in load_file(tmp_path / "out" / "model.safetensors").items()}
    cfg = net.pretrained_cfg
    assert (cfg["num_classes"], cfg["input_size"], cfg["crop_pct"]) == (10, (3, 32, 32), 1.0)
    assert (*cfg["mean"], *cfg["std"], cfg["interpolation"]) == (*(0.5,) * 6, "bicubic")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> tuple[Path, Path, Record]:
    """A run of an architecture that timm knows, on weights of the user's own: folder, weights, record."""
    folder = tmp_path_factory.mktemp("elsewhere")
    torch.manual_seed(0)
    save_file(timm.create_model("test_vit", img_size=32, patch_size=8).state_dict(), folder / "mine.safetensors")
    words = [
        "backbone=vit_b16|backbone.model=test_vit|backbone.preprocess={size: 32}|method.targets=[qkv]",
        f"+backbone.model_args={{img_size: 32, patch_size: 8}}|backbone.weights_from={folder / 'mine.safetensors'}",
    ]
    made = run(config(folder / "results", "|".join(words)))
    assert made.status == "done", made.error
    return folder / "results", folder / "mine.safetensors", made


@pytest.mark.parametrize("to", ["merged", "peft"])
def test_timm_and_peft_load_it_where_this_package_is_not_even_imported(elsewhere, tmp_path, to):
    results, weights, made = elsewhere
    out = tmp_path / "out"
    done = export_run(made, tensors(results, made), to, out, [f"backbone.weights_from={weights}"])
    trained = rebuild_backbone(made, tensors(results, made), [f"backbone.weights_from={weights}"])
    inputs = example(trained)
    save_file({"x": inputs}, tmp_path / "inputs.safetensors")
    code = [
        "import sys, torch",
        "from safetensors.torch import load_file, save_file",
        *done.lines,
        f"x = load_file({str(tmp_path / 'inputs.safetensors')!r})['x']",
        f"save_file({{'y': net(x).detach()}}, {str(tmp_path / 'logits.safetensors')!r})",
        "assert not [name for name in sys.modules if name.startswith('glorabench')]",
    ]
    subprocess.run([sys.executable, "-c", "\n".join(code)], check=True)
    with torch.no_grad():
        wanted = trained.net(inputs)
    assert (load_file(tmp_path / "logits.safetensors")["y"] - wanted).abs().max() <= CLOSE


def test_the_lines_for_peft_read_an_original_vit_checkpoint(tmp_path):
    """timm, told as the lines tell it, reads the .npz as this package does."""
    args, file = {"img_size": 32, "patch_size": 8}, tmp_path / "original.npz"
    torch.manual_seed(0)
    np.savez(file, **jax_layout(timm.create_model("test_vit", **args)))
    made = vision_backbone("mine", "test_vit", "vit", str(file), None, 0.0, None, "all", args)
    node = {"name": "mine", "model": "test_vit", "weights_from": str(file), "model_args": args}
    net = executed(folder.loading_lines("peft", node, 10, tmp_path)[:-1])
    assert net.head.out_features == 10
    trunk = {key: t for key, t in net.state_dict().items() if not key.startswith("head.")}
    assert len(trunk) == len(net.state_dict()) - 2
    assert all(torch.equal(t, made.net.state_dict()[key]) for key, t in trunk.items())


def test_weights_are_looked_for_where_the_config_says_and_checked(elsewhere, tmp_path, monkeypatch, capsys):
    results, weights, made = elsewhere
    words = ["export", f"run={made.run_id}", "to=adapter", f"results_dir={results}"]
    monkeypatch.setenv("GLORABENCH_WEIGHTS", str(tmp_path))
    assert main([*words, f"out={tmp_path / 'a'}"]) == 2
    assert f"no file {tmp_path / 'mine.safetensors'}" in capsys.readouterr().err
    changed = {key: value + 1 for key, value in load_file(weights).items()}
    save_file(changed, tmp_path / "mine.safetensors")
    assert main([*words, f"out={tmp_path / 'a'}"]) == 2
    assert "expected" in capsys.readouterr().err
    shutil.copy(weights, tmp_path / "mine.safetensors")
    assert main([*words, f"out={tmp_path / 'a'}"]) == 0
    net = load(tmp_path / "a", weights)
    assert off(net, load(tmp_path / "a"), torch.randn(4, 3, 32, 32)) == 0
    other = replace(made, config=made.config | {"backbone": made.config["backbone"] | {"sha256": None}})
    save_file(changed, tmp_path / "mine.safetensors")
    with pytest.raises(BadInput, match=r"used weights with sha256 .*, these have .*: give the file of the run"):
        rebuild_backbone(other, tensors(results, made))


@pytest.mark.campaign
def test_a_run_from_random_weights_cannot_be_built_again_unless_it_trained_all_of_them(tmp_path):
    lost = run(config(tmp_path, "method=linear|backbone.weights_from=null"))
    with pytest.raises(BadInput, match="started from random weights, which no file holds"):
        rebuild_backbone(lost, tensors(tmp_path, lost))
    whole = run(config(tmp_path, "method=full|backbone.weights_from=null"))
    export_run(whole, tensors(tmp_path, whole), "merged", tmp_path / "out")
    net = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True)
    assert net.state_dict().keys() == load_file(tensors(tmp_path, whole)).keys()
    assert all(torch.equal(t, net.state_dict()[k]) for k, t in load_file(tensors(tmp_path, whole)).items())


# Conversions to peft, on random backbones


def path(A: str, B: str, C: str, D: str, E: str) -> str:
    return f"method.path={{A:{A},B:{B},C:{C},D:{D},E:{E}}}"


GLORA = "method=glora method.targets=[qkv,o,fc1,fc2]"
EXPRESSIBLE = {
    "lora": ("vit convnext llama", "method=lora method.rank=4 method.alpha=3"),
    "lora, parts and wholes": ("vit", "method=lora method.rank=4 method.alpha=3 method.targets=[q,k,v,o,fc1,fc2]"),
    "lora on qkv": ("vit", "method=lora method.rank=4 method.targets=[qkv]"),
    "lora, one part": ("vit", "method=lora method.rank=4 method.init=normal method.targets=[k,fc2]"),
    "lora on patches": ("vit", "method=lora method.rank=4 method.targets=[stem,o]"),
    "lora on convolutions": ("convnext", "method=lora method.rank=4 method.targets=[stem,downsample,fc1]"),
    "lora everywhere": ("llama", "method=lora method.rank=4 method.targets=[q,k,v,o,gate,up,down]"),
    "dora": ("vit convnext llama", "method=dora method.rank=4 method.alpha=3"),
    "dora, one part": ("vit", "method=dora method.rank=4 method.alpha=2 method.targets=[k,o,fc1]"),
    "dora on convolutions": ("convnext", "method=dora method.rank=4 method.targets=[stem,downsample,fc1]"),
    "ia3": ("vit convnext llama", "method=ia3"),
    "ia3 on convolutions": ("convnext", "method=ia3 method.targets=[stem,dwconv,fc1,fc2]"),
    "ia3 of outputs": ("vit", "method=ia3 method.targets=[q,o,fc1] method.inputs=[fc1]"),
    "glora all lora": ("vit", f"{GLORA} {path('lora', 'lora', 'lora', 'vector', 'vector')}"),
    "glora vectors": ("vit convnext", f"method=glora {path('vector', 'vector', 'vector', 'vector', 'vector')}"),
    "glora scalars": ("vit", f"{GLORA} {path('scalar', 'scalar', 'none', 'scalar', 'scalar')}"),
    "glora A alone": ("vit", f"{GLORA} {path('lora', 'none', 'none', 'none', 'none')}"),
    "glora B alone": ("vit convnext llama", f"method=glora {path('none', 'vector', 'none', 'none', 'none')}"),
    "glora C alone": ("vit", f"{GLORA} {path('none', 'none', 'lora', 'none', 'none')}"),
    "glora E alone": ("vit", f"{GLORA} {path('none', 'none', 'none', 'none', 'vector')}"),
    "glora mixed in a layer": ("vit", f"{GLORA} {path('scalar', 'lora', 'vector', 'scalar', 'vector')}"),
    "glora mixed, no lora": ("vit", f"{GLORA} {path('vector', 'scalar', 'vector', 'vector', 'none')}"),
    "glora, a path for each layer": ("vit convnext", "method=glora"),
    "glora supernet": ("vit", "method=glora method.path=supernet"),
    "glora on llama": ("llama", f"method=glora {path('vector', 'lora', 'none', 'none', 'none')}"),
    "peft lora": ("vit convnext llama", "method=peft"),
    "peft rslora": ("vit", "method=peft|method.args={r: 4, use_rslora: true, lora_alpha: 3}|method.targets=[qkv,o]"),
    "peft ia3": (
        "vit",
        "method=peft|method.config=IA3Config|method.targets=[qkv,fc2]|method.args={feedforward_modules: [fc2]}",
    ),
    "peft vera": ("vit", "method=peft|method.config=VeraConfig|method.args={r: 8}"),
    "peft boft": ("vit", "method=peft|method.config=BOFTConfig|method.args={boft_block_size: 4}"),
    "peft pissa": ("vit", "method=peft|method.args={r: 2, init_lora_weights: pissa}"),
}


def trained_tiny(words: str, backbone: str) -> tuple[Backbone, Method]:
    """A tiny backbone whose method has taken a few steps, every trained tensor away from where it started."""
    made = BACKBONES[backbone]()
    given = words.split("|") if "|" in words else words.split()
    method = make(compose([*given, f"backbone={FAMILY[backbone]}"])["method"], METHOD)
    torch.manual_seed(0)
    method.inject(made)
    for _ in train(made.net, backbone, steps=3):
        pass
    with torch.no_grad():
        for parameter in made.net.parameters():
            if parameter.requires_grad:
                parameter.add_(0.02 * torch.randn_like(parameter))
    made.net.eval()
    return made, method


@pytest.mark.parametrize(("case", "backbone"), [(c, b) for c, (names, _) in EXPRESSIBLE.items() for b in names.split()])
def test_peft_computes_what_was_trained(tmp_path, case, backbone):
    made, method = trained_tiny(EXPRESSIBLE[case][1], backbone)

    def plain() -> nn.Module:
        return BACKBONES[backbone]().net

    wanted, untrained = logits(made.net, backbone), logits(plain(), backbone)
    to_peft.write_peft(made, method, plain, tmp_path / "out")
    found = logits(PeftModel.from_pretrained(plain(), tmp_path / "out"), backbone)
    assert (wanted - untrained).abs().max() > 1e-3, "the method did nothing, so equality would say nothing"
    assert (found - wanted).abs().max() <= CLOSE
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {p.name for p in (tmp_path / "out").iterdir()}


def test_the_scale_of_stacked_parts_is_that_of_each(tmp_path):
    """q and v of rank 4 with alpha 3 are rank 8 with alpha 6; B is zero for k."""
    made, method = trained_tiny("method=lora method.rank=4 method.alpha=3", "vit")
    to_peft.write_peft(made, method, lambda: tiny_vit().net, tmp_path)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    args = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (args["r"], args["lora_alpha"], args["target_modules"]) == (8, 6.0, ["attn.qkv"])
    B = saved["base_model.model.blocks.0.attn.qkv.lora_B.weight"]
    blocks = B.view(3, 32, 2, 4).abs().amax((1, 3)) > 0
    assert blocks.tolist() == [[True, False], [False, False], [False, True]]


def test_alike_paths_keep_their_size_in_peft(tmp_path):
    """A homogeneous path is written in its own modes: as many numbers as it has, and the head."""
    alike = path("vector", "vector", "lora", "scalar", "scalar")
    made, method = trained_tiny(f"method=glora method.rank=4 method.targets=[qkv,fc1] {alike}", "vit")
    to_peft.write_peft(made, method, lambda: tiny_vit().net, tmp_path)
    args = json.loads((tmp_path / "adapter_config.json").read_text())
    assert [args[f"config_{name}"] for name in ("A_B", "C", "D_E")] == ["vector", "lora", "constant"]
    saved = load_file(tmp_path / "adapter_model.safetensors")
    trained = sum(p.numel() for p in made.net.parameters() if p.requires_grad)
    assert sum(t.numel() for t in saved.values()) == trained


INEXPRESSIBLE = {
    ("method=linear", "vit"): "adapts no layer, it trains the head alone; to=merged",
    ("method=full", "vit"): "the method trains cls_token, .*; to=merged",
    ("method=bitfit", "convnext"): "the method trains stem.0.bias, .*; to=merged",
    ("method=ssf", "vit"): "the format has LoRA, DoRA, .*; to=merged",
    ("method=fact_tt method.rank=4", "vit"): "the format has LoRA, DoRA, .*; to=merged",
    ("method=pfeiffer method.rank=4", "vit"): "no place; to=adapter",
    ("method=vpt_deep", "vit"): "no place; to=adapter",
    ("method=lora method.rank=4 method.targets=[dwconv,fc1]", "convnext"): "conv_dw is a convolution in groups",
    ("method=ia3 method.targets=[q,fc2] method.inputs=[q]", "vit"): "input of all of blocks.0.attn.qkv",
    ("method=glora method.targets=[q,v] method.path=supernet", "vit"): "here it is on a part of blocks.0.attn.qkv",
    ("method=glora method.targets=[stem] method.path=supernet", "vit"): "linear layers, patch_embed.proj is none",
    ("method=glora method.product=matmul", "vit"): "element by element",
    (f"method=glora {path('none', 'lora', 'none', 'none', 'vector')}", "llama"): "q_proj a bias, .*; to=adapter",
    (f"method=glora {path('none', 'lora', 'vector', 'none', 'none')}", "llama"): "q_proj a bias, .*; to=adapter",
    ("method=ssf", "llama"): "the format has LoRA, DoRA, .*; to=adapter",
    ("method=repadapter method.rank=4", "llama"): "the format has LoRA, DoRA, .*; to=adapter",
    (f"method=glora method.product=matmul {path('lora', 'lora', 'none', 'none', 'none')}", "llama"): "; to=merged",
}


@pytest.mark.parametrize(("words", "backbone"), INEXPRESSIBLE)
def test_what_peft_cannot_express_is_refused_with_the_reason_and_the_alternative(tmp_path, words, backbone):
    made, method = trained_tiny(words, backbone)
    with pytest.raises(BadInput, match=INEXPRESSIBLE[words, backbone]) as caught:
        to_peft.write_peft(made, method, lambda: BACKBONES[backbone]().net, tmp_path / "out")
    assert str(caught.value).startswith("to=peft: ")
    assert re.search(r"to=(merged|adapter)", str(caught.value))
    assert not (tmp_path / "out").exists()
    if backbone == "llama":  # where merged is advised, merging works
        merged = merge(made.net).state_dict().keys() == tiny_llama().net.state_dict().keys()
        assert ("to=merged" in str(caught.value)) == merged


# Merged, on random backbones


def test_a_merged_llama_is_one_that_transformers_loads(tmp_path):
    made, _ = trained_tiny("method=lora method.rank=4 method.targets=[q,k,v,o,gate,up,down]", "llama")
    wanted = logits(made.net, "llama")
    to_merged.write_merged(made, lambda: tiny_llama().net, tmp_path)
    net = AutoModelForCausalLM.from_pretrained(tmp_path, local_files_only=True)
    assert type(net).__module__.startswith("transformers.")
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]
    assert net.state_dict().keys() == tiny_llama().net.state_dict().keys()
    assert (logits(to_merged.read_merged(tmp_path), "llama") - wanted).abs().max() <= CLOSE


def test_a_bias_that_the_original_lacks_is_refused(tmp_path):
    made, _ = trained_tiny(f"method=glora {path('none', 'lora', 'none', 'none', 'vector')}", "llama")
    with pytest.raises(BadInput, match=r"4 tensors that the original .* \(first: .*bias\).*to=adapter"):
        to_merged.write_merged(made, lambda: tiny_llama().net, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_no_weight_can_absorb_is_refused(tmp_path):
    made, _ = trained_tiny("method=pfeiffer method.rank=4", "convnext")
    with pytest.raises(BadInput, match=r"cannot be merged: .*; to=adapter keeps"):
        to_merged.write_merged(made, lambda: tiny_convnext().net, tmp_path / "out")


# What goes wrong


@pytest.fixture
def broken(results: Path, tmp_path: Path) -> Path:
    """A copy of the results folder to do harm to."""
    return shutil.copytree(results, tmp_path / "results")


def missing(folder: Path, made: Record) -> None:
    tensors(folder, made).unlink()


def truncated(folder: Path, made: Record) -> None:
    file = tensors(folder, made)
    file.write_bytes(file.read_bytes()[:-100])


def of_another_run(folder: Path, made: Record) -> None:
    shutil.copy(tensors(folder, finished(folder, "alike")), tensors(folder, made))


def corrupt(folder: Path, made: Record) -> None:
    next(folder.glob(f"runs/*/*{made.run_id}.json")).write_text("{")


def nothing(folder: Path, made: Record) -> None:
    pass


def occupied(folder: Path, made: Record) -> None:
    (folder.parent / "out").mkdir()
    (folder.parent / "out" / "mine.txt").write_text("mine")


def in_the_way(folder: Path, made: Record) -> None:
    (folder.parent / "file").write_text("mine")


MERGED = "run={lora}|to=merged|out={out}"
WRONG: list[tuple[str, Callable[[Path, Record], None], str]] = [  # words, what is broken, what is said of run LORA
    ("run={failed}|to=merged|out={out}", nothing, r"run \w{12} failed \(NonFiniteLoss: .*\), it left nothing to use"),
    ("run={lora}|to=mergd|out={out}", nothing, r"to 'mergd'; did you mean 'merged'\? Known: adapter, merged, peft"),
    ("run=zzz|to=merged|out={out}", nothing, "no run 'zzz' below .*results"),
    ("run={typo}|to=merged|out={out}", nothing, r"no run '.*' below .*; did you mean 'LORA'\?"),
    ("to=merged|out={out}", nothing, "export needs run=ID"),
    ("run={lora}", nothing, r"export needs to=merged\|adapter\|peft"),
    ("run=|to=merged", nothing, "'run' needs a value: run=VALUE"),
    ("run={lora}|to=merged|method.rank=3", nothing, "key 'method.rank'"),
    ("run={lora}|to=merged|ouz={out}", nothing, "key 'ouz'; did you mean 'out'"),
    (MERGED, missing, "no trained weights at .*LORA.safetensors"),
    (MERGED, truncated, "LORA.safetensors is damaged"),
    (MERGED, of_another_run, "is of another network: .* tensors differ"),
    (MERGED, corrupt, "is not a whole record"),
    (MERGED, occupied, "out exists and is not overwritten: remove it or give another folder with out=FOLDER"),
    ("run={lora}|to=merged|out={file}/out", in_the_way, "file/out cannot be written"),
    (f"{MERGED}|backbone.weights_from=/nowhere/x.npz", nothing, "no file /nowhere/x.npz"),
]


@pytest.mark.parametrize(("words", "harm", "said"), WRONG)
def test_bad_input_is_one_clear_line_and_nothing_is_lost(broken, capsys, words, harm, said):
    made = finished(broken, "lora")
    failed = next(r for r in record.read_all([broken / "runs"]) if r.status == "failed").run_id
    names = {"lora": made.run_id, "failed": failed, "typo": made.run_id[:-1] + "z", "out": broken.parent / "out"}
    harm(broken, made)
    before = everything(broken.parent)
    given = words.format(**names, file=broken.parent / "file").split("|")
    assert main(["export", f"results_dir={broken}", *given]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("glorabench: ")
    assert shown.err.count("\n") == 1
    assert re.search(said.replace("LORA", made.run_id), shown.err)
    assert everything(broken.parent) == before
    assert not [p for p in broken.parent.iterdir() if p.name.endswith(".tmp")]


def test_an_ambiguous_beginning_is_named(broken, capsys):
    made = finished(broken, "lora")
    source = next(broken.glob(f"runs/*/*{made.run_id}.json"))
    shutil.copy(source, source.with_name(source.name.replace(made.run_id, made.run_id[:11] + "z")))
    assert main(["export", f"run={made.run_id[:6]}", "to=merged", f"results_dir={broken}"]) == 2
    assert f"is the beginning of 2 ids below {broken}" in capsys.readouterr().err


def test_a_crash_half_way_leaves_no_folder(results, tmp_path, monkeypatch):
    made = finished(results, "lora")

    def crash(*_: object) -> None:
        raise RuntimeError("power cut")

    monkeypatch.setattr(to_peft, "read_peft", crash)
    with pytest.raises(RuntimeError, match="power cut"):
        export_run(made, tensors(results, made), "peft", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_an_export_that_computes_something_else_is_not_kept(results, tmp_path, monkeypatch):
    made, honest = finished(results, "lora"), to_merged.read_merged

    def altered(folder: Path) -> nn.Module:
        net = honest(folder)
        with torch.no_grad():
            net.head.bias[0] += 0.1
        return net

    monkeypatch.setattr(to_merged, "read_merged", altered)
    with pytest.raises(BadInput, match=r"to=merged: loaded back, a logit is off by 1.0e-01"):
        export_run(made, tensors(results, made), "merged", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_only_an_exported_adapter_is_loaded(results, tmp_path):
    with pytest.raises(BadInput, match=r"is no exported adapter: it needs one record-ID.json and adapter.safetensors"):
        load(tmp_path)
    made = finished(results, "lora")
    export_run(made, tensors(results, made), "merged", tmp_path / "out")
    with pytest.raises(BadInput, match="is no exported adapter"):
        load(tmp_path / "out")


# Quantised bases

QUANTIZED = {
    "lora": "method=lora method.rank=4",
    "glora": "method=glora method.rank=4 method.path={A:lora,B:lora,C:none,D:none,E:none}",
    "dora": "method=dora method.rank=4",
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny Llama, as transformers saves it."""
    folder = tmp_path_factory.mktemp("base") / "tiny_llama"
    tiny_llama().net.save_pretrained(folder)
    return folder


def quantized_node(base: Path, scheme: str) -> dict:
    words = [f"backbone.weights_from={base}", f"backbone.quantize={scheme}", "method=lora"]
    return compose(["backbone=llama_7b", *words])["backbone"]


@pytest.mark.parametrize("scheme", ["nf4", "int8"])
@pytest.mark.parametrize("words", QUANTIZED.values(), ids=QUANTIZED)
def test_a_run_on_a_quantised_base_is_exported_as_it_computes(words: str, scheme: str, base: Path, tmp_path: Path):
    """Merged into float32, and for peft on a base that is rounded to the numbers that the training saw."""
    node = quantized_node(base, scheme)
    made = make(node, BACKBONE)
    method = make(compose([*words.split(), "backbone=llama_7b"])["method"], METHOD)
    torch.manual_seed(0)
    method.inject(made)
    for _ in train(made.net, "llama"):
        pass
    wanted = logits(made.net, "llama")
    to_peft.write_peft(made, method, lambda: plain_network(node, None), tmp_path / "peft")
    net = executed(folder.loading_lines("peft", node, None, tmp_path / "peft"))
    with torch.no_grad():
        found = net(input_ids=torch.randint(60, (3, 8), generator=torch.Generator().manual_seed(1))[:, :-1]).logits
    assert (found - wanted).abs().max() <= CLOSE
    to_merged.write_merged(made, lambda: plain_network(node, None), tmp_path / "merged")
    assert (logits(to_merged.read_merged(tmp_path / "merged"), "llama") - wanted).abs().max() <= CLOSE
    tensors = load_file(tmp_path / "merged" / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert "quantization_config" not in json.loads((tmp_path / "merged" / "config.json").read_text())
