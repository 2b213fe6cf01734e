"""Tiny models of timm, random: one of each family that tests/ and the page docs/backbones.md speak of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from glorabench.backbones.base import Backbone
from glorabench.backbones.timm_models import timm_backbone

CLASSES = 5


@dataclass(frozen=True)
class TinyModel:
    """A model of timm, the side of its images, and the arguments that make it small."""

    model: str
    side: int
    args: dict[str, Any] = field(default_factory=dict)

    def words(self, weights: object) -> list[str]:
        """The words of a command that choose it, with weights of a file."""
        args = ",".join(f"{key}:{_word(value)}" for key, value in self.args.items())
        return [
            "backbone=timm",
            f"backbone.model={self.model}",
            f"backbone.image_size={self.side}",
            f"backbone.model_args={{{args}}}",
            f"backbone.weights_from={weights}",
        ]


def _word(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_word, value))}]"
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


_VIT = {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
_SWIN = {"embed_dim": 16, "depths": [1, 2], "num_heads": [2, 2], "window_size": 4, "patch_size": 2}
_STAGES = {"depths": [1, 1, 1, 1], "dims": [8, 16, 24, 32]}
TINY = {
    "vit": TinyModel("vit_tiny_patch16_224", 32, _VIT),
    "dinov2": TinyModel("vit_small_patch14_reg4_dinov2", 32, {**_VIT, "init_values": 0.1}),
    "dinov2_swiglu": TinyModel("vit_giant_patch14_dinov2", 32, {**_VIT, "init_values": 0.1}),
    "siglip": TinyModel("vit_base_patch16_siglip_224", 32, _VIT),
    "parallel": TinyModel("vit_base_patch16_xp_224", 32, _VIT),
    "deit3": TinyModel("deit3_small_patch16_224", 32, {**_VIT, "init_values": 0.1}),
    "dinov3": TinyModel("vit_small_plus_patch16_dinov3", 32, _VIT),
    "eva02": TinyModel("eva02_tiny_patch14_224", 32, _VIT),
    "beit": TinyModel("beit_base_patch16_224", 32, _VIT),
    "cait": TinyModel("cait_xxs24_224", 32, _VIT),
    "swin": TinyModel("swin_tiny_patch4_window7_224", 16, _SWIN),
    "swinv2": TinyModel("swinv2_tiny_window8_256", 16, _SWIN),
    "pvt_v2": TinyModel(
        "pvt_v2_b0", 32, {"depths": [1, 1, 1, 1], "embed_dims": [16, 16, 32, 32], "num_heads": [1, 2, 2, 2]}
    ),
    "hiera": TinyModel("hiera_tiny_224", 64, {"embed_dim": 16, "num_heads": 1, "stages": [1, 1, 1, 1]}),
    "maxvit": TinyModel("maxvit_tiny_tf_224", 64, {"embed_dim": [32, 64], "depths": [1, 1], "stem_width": 8}),
    "convnext": TinyModel("convnext_tiny", 32, _STAGES),
    "convnextv2": TinyModel("convnextv2_tiny", 32, _STAGES),
    "resnet": TinyModel("resnet18", 32, {"layers": [1, 1, 1, 1], "channels": [8, 16, 24, 32]}),
    "mobilenet": TinyModel("mobilenetv3_small_050", 32),
}


def tiny_model(family: str, drop_path: float = 0.0, dtype: torch.dtype = torch.float64, seed: int = 0) -> Backbone:
    """The tiny model of a family, with every parameter random and a head of five classes."""
    tiny = TINY[family]
    torch.manual_seed(seed)
    backbone = timm_backbone(f"tiny_{family}", tiny.model, "auto", None, None, drop_path, tiny.side, None, tiny.args)
    backbone.set_head(CLASSES)
    with torch.no_grad():
        for parameter in backbone.net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    backbone.net.to(dtype).eval()
    return backbone
