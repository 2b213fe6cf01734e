"""`vit_mini`: the vision transformer that ships inside the package, for 32 x 32 RGB images.

Plain timm blocks, so that every adapter sees the module names it sees in a full-size ViT.
Only the patch embedding differs: with 1.3 M parameters and minutes of pretraining, a single
strided projection learns next to nothing, while a short convolutional stem does.
"""

from itertools import pairwise
from typing import Any

import torch
from timm.layers.norm import LayerNorm2d
from timm.layers.patch_embed import PatchEmbed
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

__all__ = ["ConvStem", "vit_mini"]


class ConvStem(PatchEmbed):
    """Patch embedding by three stride-2 convolutions and a 1 x 1 projection.

    Maps (N, in_chans, H, W) to (N, H/8 * W/8, embed_dim). Takes timm's `PatchEmbed` arguments,
    so it can be given to a `VisionTransformer` as `embed_layer`.

    Raises:
        ValueError: `patch_size` is not 8, the only stride three halvings make.
    """

    def __init__(
        self,
        img_size: int | tuple[int, int] | None = 32,
        patch_size: int = 8,
        in_chans: int = 3,
        embed_dim: int = 128,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **kwargs: Any,
    ) -> None:
        if patch_size not in (8, (8, 8)):
            raise ValueError(f"the stem's stride is 8, so patch_size must be 8, not {patch_size}")
        super().__init__(
            img_size, patch_size, in_chans, embed_dim, bias=bias, device=device, dtype=dtype,
            **kwargs,
        )  # fmt: skip
        widths = (in_chans, embed_dim // 4, embed_dim // 2, embed_dim)
        layers: list[nn.Module] = []
        for width, next_width in pairwise(widths):
            conv = nn.Conv2d(width, next_width, 3, stride=2, padding=1, device=device, dtype=dtype)
            # LayerNorm2d, not BatchNorm: adapters and merging assume no running statistics.
            layers += [conv, LayerNorm2d(next_width, device=device, dtype=dtype), nn.GELU()]
        self.stem = nn.Sequential(*layers)
        self.proj = nn.Conv2d(embed_dim, embed_dim, 1, bias=bias, device=device, dtype=dtype)

    def set_input_size(
        self,
        img_size: int | tuple[int, int] | None = None,
        patch_size: int | tuple[int, int] | None = None,
    ) -> None:
        """Change the expected image size.

        Raises:
            ValueError: a patch size other than 8 is asked for; a stem has no kernel to resample.
        """
        if patch_size not in (None, 8, (8, 8)):
            raise ValueError(f"the stem's stride is 8, so patch_size must be 8, not {patch_size}")
        super().set_input_size(img_size)

    def forward(self, x: Tensor) -> Tensor:
        """Embed images (N, C, H, W) as tokens (N, tokens, embed_dim)."""
        if self.img_size is not None and self.strict_img_size and x.shape[-2:] != self.img_size:
            raise ValueError(f"images are {tuple(x.shape[-2:])}, the model takes {self.img_size}")
        return self.norm(self.proj(self.stem(x)).flatten(2).transpose(1, 2))


default_cfgs = generate_default_cfgs(
    {
        "vit_mini.untrained": {
            "url": "",
            "num_classes": 0,
            "input_size": (3, 32, 32),
            "pool_size": None,
            "crop_pct": 1.0,
            "interpolation": "bicubic",
            "fixed_input_size": True,
            "mean": (0.5, 0.5, 0.5),
            "std": (0.5, 0.5, 0.5),
            "first_conv": "patch_embed.stem.0",
            "classifier": "head",
        }
    }
)


@register_model
def vit_mini(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """Build `vit_mini`: 6 blocks of width 128, 4 heads, 16 patch tokens and a class token.

    Weights are not downloaded; those that ship are read by the package itself. Keyword
    arguments override the architecture's (`num_classes`, `drop_path_rate`, ...).
    """
    arguments: dict[str, Any] = {
        "img_size": 32,
        "patch_size": 8,
        "embed_dim": 128,
        "depth": 6,
        "num_heads": 4,
        "embed_layer": ConvStem,
    }
    return build_model_with_cfg(VisionTransformer, "vit_mini", pretrained, **arguments | kwargs)
