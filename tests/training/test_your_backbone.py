"""A run on a model of timm, from the command line to the exported checkpoint: a folder of images, one epoch, merged.

The normal suite has two families, `campaign` all of `tiny_models.TINY`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from glorabench.cli import main
from glorabench.records import record
from glorabench.training.trained_network import example, rebuild_backbone
from tiny_models import TINY, tiny_model

pytestmark = pytest.mark.usefixtures("cache")
FAST = ("swinv2", "resnet")
KEEP_NO_BIAS = "method.path={A: lora, B: lora, C: none, D: none, E: none}"  # for layers without one
PATHS = {family: [KEEP_NO_BIAS] for family in ("parallel", "dinov3", "maxvit", "resnet", "mobilenet")}
SETTINGS = ["logger=none", "progress=none", "latency_rounds=0", "train.epochs=1", "train.warmup_epochs=0"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images in each of three folders."""
    root = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for number, name in enumerate(("red", "green", "blue")):
        (root / name).mkdir()
        for image in range(12):
            pixels = random.integers(0, 120, (24, 24, 3), dtype=np.uint8)
            pixels[..., number] += 100
            Image.fromarray(pixels).save(root / name / f"{image}.png")
    return root


@pytest.mark.parametrize(
    "family", [pytest.param(family, marks=[] if family in FAST else pytest.mark.campaign) for family in TINY]
)
def test_a_run_on_a_model_of_timm_ends_as_a_plain_checkpoint(family: str, images: Path, tmp_path: Path) -> None:
    tiny, results, weights = TINY[family], tmp_path / "results", tmp_path / "weights.safetensors"
    start = tiny_model(family, dtype=torch.float32).net.state_dict()
    save_file({name: tensor.contiguous() for name, tensor in start.items()}, weights)
    words = [*tiny.words(weights), "method=glora", "method.rank=2", *PATHS.get(family, [])]
    assert main(["run", *words, "data=folder", f"data.root={images}", *SETTINGS, f"results_dir={results}"]) == 0
    (path,) = results.rglob("runs/**/*.json")
    made = record.read_record(path)
    assert made.status == "done"
    assert made.names["backbone"] == tiny.model
    assert made.provenance["inputs"]["size"] == tiny.side
    assert made.merge is not None
    assert made.merge["mergeable"]
    assert made.merge["max_abs_diff"] < 1e-3
    out = tmp_path / "merged"
    export = ["export", f"run={made.run_id}", "to=merged", f"out={out}", f"results_dir={results}"]
    assert main([*export, f"backbone.weights_from={weights}"]) == 0
    other = ["data=folder", f"data.root={images}", "data.split_seed=1", f"results_dir={results}"]
    assert main(["test", f"run={made.run_id}", *other, f"backbone.weights_from={weights}"]) == 0
    adapters = results / "adapters" / f"{made.run_id}.safetensors"
    trained = rebuild_backbone(made, adapters, [f"backbone.weights_from={weights}"])
    plain = timm.create_model(f"local-dir:{out}", pretrained=True).eval()
    with torch.no_grad():
        inputs = example(trained)
        assert torch.allclose(plain(inputs), trained.net(inputs), rtol=0, atol=1e-4)
    frozen = [n for n in load_file(out / "model.safetensors") if n.endswith("running_mean")]
    assert all(torch.equal(load_file(out / "model.safetensors")[name], start[name]) for name in frozen)
    assert json.loads((out / "config.json").read_text())["architecture"] == tiny.model
