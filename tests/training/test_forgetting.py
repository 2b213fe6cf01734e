"""Forgetting: accuracy under the upstream head, before and after fine-tuning."""

import json

import pytest
import torch

from glorabench.checksum import ASSETS
from glorabench.config.compose import compose
from glorabench.methods.reparam import merge
from glorabench.training.build import build
from glorabench.training.measure.forgetting import measure_forgetting
from glorabench.training.run import run

pytestmark = pytest.mark.usefixtures("cache")


def trained(*words):
    """A config and its injected backbone, every trainable parameter of the trunk moved."""
    config = compose(["data.task=digits", *words])
    backbone = build(config).backbone
    head = {id(p) for p in backbone.head_parameters()}
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in backbone.net.parameters():
            if p.requires_grad and id(p) not in head:
                p.add_(0.15 * torch.randn(p.shape, generator=generator))
    return config, backbone


def test_a_linear_probe_forgets_nothing_and_the_start_is_the_accuracy_on_record():
    found = measure_forgetting(*trained("method=linear"))
    shipped = json.loads((ASSETS / "vit_mini.json").read_text())["upstream"]
    assert found["after"] == found["before"] == pytest.approx(shipped["top1"], abs=0.005)
    assert found["n"] == shipped["val_images"] == 2048
    assert found["task"] == shipped["task"]


@pytest.mark.parametrize("method", ["full", "lora", "vpt_deep", "ssf"])
def test_a_trunk_that_has_moved_is_scored_as_it_is_now(method):
    found = measure_forgetting(*trained(f"method={method}"))
    assert found["after"] < found["before"] - 0.02


def test_merging_forgets_nothing_more():
    config, backbone = trained("method=lora")
    unmerged = measure_forgetting(config, backbone)
    merge(backbone.net)
    assert measure_forgetting(config, backbone)["after"] == pytest.approx(unmerged["after"], abs=1e-3)


def test_a_backbone_without_its_upstream_head_has_no_such_number():
    assert measure_forgetting(*trained("method=linear", "backbone.weights_from=null")) is None


def test_a_run_keeps_it_in_its_record(results, monkeypatch):
    monkeypatch.setattr("glorabench.training.run.measure_forgetting", measure_forgetting)
    words = ["method=linear", "train.epochs=1", "logger=none", "progress=none", "latency_rounds=0"]
    upstream = run(compose([*words, f"results_dir={results}"])).upstream
    assert upstream.keys() == {"task", "n", "before", "after", "metric"}
    assert upstream["after"] == upstream["before"] > 0.5
