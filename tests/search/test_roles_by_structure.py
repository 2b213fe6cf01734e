"""The evaluator on networks whose roles are found by structure: a stem inside what holds the blocks, and no blocks."""

from __future__ import annotations

import json
from contextlib import nullcontext

import pytest
import torch

from glorabench.backbones.base import Backbone
from glorabench.backbones.hf_vision import hf_vision_backbone
from glorabench.config.compose import compose
from glorabench.config.instantiate import METHOD, make
from glorabench.search.evaluator import Evaluator
from glorabench.search.space import PathSpace
from tiny_models import tiny_model

IMAGES = {"image_size": 32}
ARGUMENTS = {
    "vit": {**IMAGES, "patch_size": 8, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 64},
    "swin": {**IMAGES, "patch_size": 2, "embed_dim": 16, "depths": [1, 2], "num_heads": [2, 2], "window_size": 4},
}  # fmt: skip


def network(library: str, name: str) -> Backbone:
    if library == "timm":
        return tiny_model(name)
    torch.manual_seed(0)
    made = hf_vision_backbone(name, name, "auto", None, None, 0.0, model_args=ARGUMENTS[name])
    made.set_head(5)
    made.net.double()
    return made


@pytest.mark.parametrize(("library", "name"), [("hf", "vit"), ("hf", "swin"), ("timm", "swin"), ("timm", "hiera")])
def test_a_score_is_that_of_the_path_in_the_supernet(library: str, name: str) -> None:
    made = network(library, name)
    assert made.preprocess is not None
    node = compose(["method=glora", "method.path=supernet", "method.targets=[fc1]", "method.rank=2"])["method"]
    make(json.loads(json.dumps(node)), METHOD).inject(made)
    made.net.double().eval()
    with torch.no_grad():
        for number, parameter in enumerate(p for p in made.net.parameters() if p.requires_grad):
            parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(number))
    space, side = PathSpace(made.net), made.preprocess.size
    images = torch.randn(12, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    genomes = [space.draw(0, step) for step in range(4)]

    def of_path(genome) -> torch.Tensor:
        space.set(genome)
        with torch.no_grad():
            return made.net(images).argmax(-1)

    labels = of_path(genomes[0])
    expected = [float((of_path(genome) == labels).double().mean()) for genome in genomes]
    evaluator = Evaluator(
        made, [(images, labels)], lambda net, batch: net(batch[0]).argmax(-1) == batch[1], nullcontext
    )
    assert [evaluator(genome).value for genome in genomes] == pytest.approx(expected)
    assert evaluator.passes(genomes) > 0
