"""Shared fixtures: three tiny backbones, fast to run, a results folder, one data cache."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
}  # read when transformers is imported: no test waits for a hub

import pytest
import torch
from timm.models.convnext import ConvNeXt
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from glorabench.backbones.base import Backbone
from glorabench.backbones.llama import llama_backbone
from glorabench.backbones.vision import CONVNEXT, VIT
from glorabench.backbones.vit_attention import attend
from glorabench.inputs import Preprocess

CLASSES = 5
SIDE = 32
DIM = 32  # width of the tiny ViT
PREPROCESS = Preprocess(SIDE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")


def _randomised(net: nn.Module, seed: int, dtype: torch.dtype) -> nn.Module:
    """Every parameter random, so that no bias, scale or position hides behind an initial zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            noise = 0.1 * torch.randn(parameter.shape, generator=generator)
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.copy_(centre + noise)
    return net.to(dtype).eval()


def tiny_vit(seed: int = 0, dtype: torch.dtype = torch.float32, depth: int = 2) -> Backbone:
    """A ViT of width 32 with two heads, for 32 x 32 images and five classes."""
    net = VisionTransformer(
        img_size=SIDE,
        patch_size=8,
        embed_dim=DIM,
        depth=depth,
        num_heads=2,
        num_classes=CLASSES,
    )
    _randomised(net, seed, dtype)
    return Backbone("tiny_vit", net, VIT, "head", net.num_prefix_tokens, PREPROCESS, attend=attend)


def tiny_convnext(seed: int = 0, dtype: torch.dtype = torch.float32) -> Backbone:
    """A ConvNeXt of four stages with one block each, for 32 x 32 images and five classes."""
    net = ConvNeXt(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32), num_classes=CLASSES)
    _randomised(net, seed, dtype)
    return Backbone("tiny_convnext", net, CONVNEXT, "head.fc", None, PREPROCESS)


def tiny_llama(seed: int = 0, dtype: torch.dtype = torch.float32, kv_heads: int = 4) -> Backbone:
    """A Llama of width 32 with four heads and two layers, for tokens below 60."""
    sizes = {"vocab_size": 60, "hidden_size": DIM, "intermediate_size": 88, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": kv_heads}
    made = llama_backbone("tiny_llama", "llama", None, None, "float32", {**sizes, **heads})
    _randomised(made.net, seed, dtype)
    return made


def images(count: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Normalised random inputs for either backbone."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, SIDE, SIDE, generator=generator).to(dtype)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """An empty results folder of one test."""
    return tmp_path / "results"


@pytest.fixture(scope="session")
def without_upstream() -> Iterator[None]:
    """Runs leave out scoring the upstream task, which takes longer than they do; test_forgetting.py scores it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("glorabench.training.run.measure_forgetting", lambda *_: None)
        yield


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory, without_upstream: None) -> Iterator[Path]:
    """The data cache of the whole session, where a composed config finds it: what every test needs that runs."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLORABENCH_CACHE", str(folder))
        yield folder


@contextmanager
def stopped_in_epoch(epoch: int) -> Iterator[None]:
    """What runs in the block is stopped as by Ctrl-C, at the second step of an epoch (the first is 1)."""
    from glorabench.training.history import TrainingHistory

    start = TrainingHistory.on_train_batch_start

    def stop(self: TrainingHistory, trainer: Any, *rest: Any) -> None:
        start(self, trainer, *rest)
        if (trainer.current_epoch, rest[-1]) == (epoch - 1, 1):
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingHistory, "on_train_batch_start", stop)
        with pytest.raises(KeyboardInterrupt):
            yield
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Lightning switched it off
