"""Preprocessing ids: how a decoded image becomes an input. An id is <geometry>_<interpolation>_<normalisation>.

NOAH, FacT, RepAdapter and GLoRA used vtab_bicubic_imagenet on VTAB-1k. The original ViT was pretrained with
vtab_bicubic_half. Binary-Adapter uses vtab_bicubic_unnorm, and V-PETL vtab_bilinear_imagenet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from glorabench.errors import BadInput, one_of

Picture = Image.Image
Rate = tuple[float, ...]
NORMALISATIONS: Final[dict[str, tuple[Rate, Rate]]] = {  # mean and std of values in [0, 1]
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "unnorm": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}
INTERPOLATIONS: Final = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
MARGIN: Final = 256 / 224  # the side before the crop, relative to the side after it


def _squash(image: Picture, size: int, resampling: Image.Resampling) -> Picture:
    """The whole image as a square. Its aspect changes, as with KITTI's 1242 x 375, and nothing is cut off."""
    return image.resize((size, size), resampling)


def _squash_crop(image: Picture, size: int, resampling: Image.Resampling) -> Picture:
    """NOAH's evaluation on few-shot sets and ImageNet: squashed to 256 x 256, then the middle 224 x 224."""
    return _middle(_squash(image, round(size * MARGIN), resampling), size)


def _short_crop(image: Picture, size: int, resampling: Image.Resampling) -> Picture:
    """VPT's evaluation on FGVC: the shorter side to 256, then the middle 224 x 224."""
    return _middle(shorter_to(image, round(size * MARGIN), resampling), size)


def shorter_to(image: Picture, side: int, resampling: Image.Resampling) -> Picture:
    """The image with a shorter side of `side` pixels and the same aspect, with torchvision's rounding."""
    width, height = image.size
    short, long = min(width, height), max(width, height)
    other_side = int(side * long / short)
    return image.resize((side, other_side) if width <= height else (other_side, side), resampling)


def _middle(image: Picture, size: int) -> Picture:
    left, top = (round((side - size) / 2) for side in image.size)
    return image.crop((left, top, left + size, top + size))


GEOMETRIES: Final[dict[str, Callable[[Picture, int, Image.Resampling], Picture]]] = {
    "vtab": _squash,
    "fewshot": _squash_crop,
    "imagenet": _squash_crop,
    "fgvc": _short_crop,
}


@dataclass(frozen=True)
class View:
    """How images become inputs: side in pixels, mean and std of values in [0, 1], and the way to resize.

    Without a `geometry`, images are arrays and are resized on the device.
    """

    size: int
    mean: Rate
    std: Rate
    interpolation: str
    geometry: str | None = None
    norm: str = "own"

    @property
    def id(self) -> str | None:
        """The preprocessing id in records."""
        return self.geometry and f"{self.geometry}_{self.interpolation}_{self.norm}"

    @property
    def key(self) -> str:
        """The part of the id on which a cache of uint8 images depends: all but the normalisation."""
        return f"{self.geometry}_{self.interpolation}_{self.size}"

    @property
    def resampling(self) -> Image.Resampling:
        """Pillow's name of the interpolation."""
        return INTERPOLATIONS[self.interpolation]

    def still(self, image: Picture) -> NDArray[np.uint8]:
        """An image as it is evaluated: 3 x size x size."""
        assert self.geometry is not None
        picture = GEOMETRIES[self.geometry](image, self.size, self.resampling)
        return np.asarray(picture).transpose(2, 0, 1)


def view(geometry: str, preprocess: str | None, size: int, mean: Rate, std: Rate, interpolation: str) -> View:
    """The view of a preprocessing id. Without an id: the geometry of the suite and the statistics of the checkpoint.

    Raises:
        BadInput: there is no such id.
    """
    if preprocess is None:
        names = [name for name, pair in NORMALISATIONS.items() if pair == (tuple(mean), tuple(std))]
        if interpolation not in INTERPOLATIONS:
            raise BadInput(f"backbone.preprocess.interpolation is '{interpolation}': choose with data.preprocess=ID")
        return View(size, tuple(mean), tuple(std), interpolation, geometry, names[0] if names else "own")
    words = preprocess.split("_")
    if len(words) != 3:
        raise BadInput(
            f"data.preprocess '{preprocess}' is no <geometry>_<interpolation>_<normalisation>: for example "
            f"{geometry}_bicubic_imagenet"
        )
    one_of("data.preprocess geometry", words[0], GEOMETRIES)
    one_of("data.preprocess interpolation", words[1], INTERPOLATIONS)
    one_of("data.preprocess normalisation", words[2], NORMALISATIONS)
    return View(size, *NORMALISATIONS[words[2]], words[1], words[0], words[2])
