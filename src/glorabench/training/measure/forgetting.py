"""Measure how well a fine-tuned trunk still solves the task on which its backbone was pretrained."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from glorabench.backbones.base import Backbone
from glorabench.checksum import ASSETS
from glorabench.config.instantiate import BACKBONE, make
from glorabench.data.cache import Arrays, cached_splits
from glorabench.records.metrics import Metric
from glorabench.training.measure.text_skills import UPSTREAM_GLOSSES, TextSkills, measure_skills

_BATCH = 256
_ACCURACY = Metric("upstream", "upstream")
_BITS = Metric("upstream", "upstream", unit="bits/byte", higher_is_better=False, high=None, per_example="reals")


class Upstream(nn.Module):
    """The present trunk of a backbone with the head of its pretraining."""

    def __init__(self, backbone: Backbone, head: dict[str, Tensor]) -> None:
        super().__init__()
        self.net, self.features, self.head = backbone.net, backbone.features, head

    def forward(self, x: Tensor) -> Tensor:
        """Logits over the upstream classes."""
        features = self.features(x)
        weight, bias = (self.head[name].to(features) for name in ("weight", "bias"))
        return F.linear(features, weight, bias)


def measure_forgetting(config: dict[str, Any], backbone: Backbone) -> dict[str, Any] | None:
    """Accuracy of the trunk on its pretraining task, with the head of its pretraining, before and after fine-tuning.

    This needs that head and held-out images of that task. Only the embedded backbone has both.

    Args:
        config: the config of the run.
        backbone: the trained backbone; its own head is not used.

    Returns:
        {task, n, before, after, metric}; None if there is no such head.
    """
    if config["backbone"].get("weights_from") != "embedded":
        return None
    if backbone.preprocess is None:
        return _measure_text(config, backbone)
    path = ASSETS / f"{backbone.name}.safetensors"
    images, labels = _held_out(Path(config["cache_dir"]) / "upstream" / backbone.name)
    device = str(next(backbone.net.parameters()).device)
    recipe_facts = json.loads(path.with_suffix(".json").read_text())["upstream"]
    return {
        "task": recipe_facts["task"],
        "n": len(labels),
        "before": _score_of_plain_backbone(json.dumps(config["backbone"], sort_keys=True), config["cache_dir"], device),
        "after": _score(Upstream(backbone, _head(path)), images, labels, device),
        "metric": asdict(_ACCURACY),
    }


def _measure_text(config: dict[str, Any], backbone: Backbone) -> dict[str, Any]:
    """The loss on glosses that upstream held out, and three skills: copying, facts of the small world, sums."""
    device = str(next(backbone.net.parameters()).device)
    before = _skills_of_plain_backbone(json.dumps(config["backbone"], sort_keys=True), device)
    after = measure_skills(backbone.net, backbone.tokenizer)
    return {
        "task": "next token of held-out glosses",
        "n": UPSTREAM_GLOSSES,
        "before": before.bits_per_byte,
        "after": after.bits_per_byte,
        "metric": asdict(_BITS),
        "examples": "glosses",
        "skills": {"before": asdict(before), "after": asdict(after)},
    }


@lru_cache(4)
def _skills_of_plain_backbone(config: str, device: str) -> TextSkills:
    plain = make(json.loads(config), BACKBONE)
    return measure_skills(plain.net.to(device), plain.tokenizer)


@lru_cache(4)  # a sweep asks for each of its runs
def _score_of_plain_backbone(config: str, cache_dir: str, device: str) -> float:
    plain = make(json.loads(config), BACKBONE)
    plain.net.to(device)
    held_out = _held_out(Path(cache_dir) / "upstream" / plain.name)
    return _score(Upstream(plain, _head(ASSETS / f"{plain.name}.safetensors")), *held_out, device)


def _head(path: Path) -> dict[str, Tensor]:
    tensors = load_file(path).items()
    return {name.removeprefix("head."): tensor.float() for name, tensor in tensors if name.startswith("head.")}


def _held_out(folder: Path) -> Arrays:
    """The held-out images of the pretraining recipe, ready for the network, and their labels. They are drawn once."""

    def draw() -> dict[str, Arrays]:
        from glorabench.training.pretrain import held_out  # draws with matplotlib's fonts

        images, labels = held_out()
        return {"val": (images.numpy(), labels.numpy())}

    return cached_splits(folder, draw)[0]["val"]


@torch.inference_mode()
def _score(net: nn.Module, images: Any, labels: Any, device: str) -> float:
    net.eval()
    guesses = [net(batch.to(device)).argmax(1).cpu() for batch in torch.tensor(images).split(_BATCH)]
    return float((torch.cat(guesses) == torch.tensor(labels)).double().mean())
