"""Augmentation of single images on the processor and of batches on the device. Both can be repeated from the seed.

Recipe `timm` is that of NOAH and GLoRA for few-shot sets and ImageNet: timm's random crop, flip, RandAugment
m9-mstd0.5-inc1, and random erasing with probability 0.25. Their colour jitter of 0.4 has no effect, because timm leaves
it out when RandAugment is used. Recipe `crop` is that of VPT for FGVC: shorter side to 256, random 224 x 224, flip.
Mixup and CutMix mix the images of a batch. If both are on, each is chosen with probability 0.5, as in timm.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from timm.data.random_erasing import RandomErasing
from timm.data.transforms_factory import create_transform
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from glorabench.data.images.preprocessing import MARGIN, View, shorter_to
from glorabench.data.images.task import Pictures

AUGMENTATIONS: Final = ("timm", "crop")
_IMAGE, _BATCH = 1, 2  # two streams of random numbers; the order of the images has its own
Transform = Callable[[Image.Image], Image.Image]


def seed_generators(*words: int) -> None:
    """Seed every global generator that augmentations use, from a few whole numbers."""
    state = np.random.SeedSequence(words).generate_state(3)
    random.seed(int(state[0]))
    np.random.seed(int(state[1]))
    torch.manual_seed(int(state[2]))


def make_transform(recipe: str, view: View) -> Transform:
    """A function from an image to an augmented image with side `view.size`."""
    if recipe == "timm":
        parts: Any = create_transform(
            view.size,
            is_training=True,
            auto_augment="rand-m9-mstd0.5-inc1",
            interpolation=view.interpolation,
            mean=view.mean,
            separate=True,
        )
        # the third part makes tensors and erases, which `BatchMixing` does on the device
        return v2.Compose(list(parts[:2]))
    crop = v2.Compose([v2.RandomCrop(view.size), v2.RandomHorizontalFlip()])
    return partial(_crop, crop, view)


def _crop(crop: Transform, view: View, image: Image.Image) -> Image.Image:
    return crop(shorter_to(image, round(view.size * MARGIN), view.resampling))


class AugmentedImages(Dataset[tuple[Tensor, Tensor]]):
    """Images that differ in each epoch. `augmented[epoch, i]` depends only on (seed, epoch, i)."""

    def __init__(self, whole: Pictures, labels: NDArray[np.int64], recipe: str, view: View, seed: int) -> None:
        self.whole, self.labels, self.seed = whole, labels, seed
        self.transform = make_transform(recipe, view)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, visit: tuple[int, int]) -> tuple[Tensor, Tensor]:
        epoch, index = visit
        seed_generators(_IMAGE, self.seed, epoch, index)
        image = self.transform(Image.fromarray(self.whole[index]))
        return torch.from_numpy(np.array(image).transpose(2, 0, 1)), torch.tensor(self.labels[index])


class BatchMixing:
    """Augment normalised batches: random erasing, then Mixup or CutMix, which turn labels into probabilities.

    Args:
        recipe: the augmentation; only `timm` erases.
        mixup, cutmix: parameters of the Beta distribution; None is off.
        classes: number of classes.
        seed: seed of the run.
    """

    def __init__(self, recipe: str | None, mixup: float | None, cutmix: float | None, classes: int, seed: int) -> None:
        self.erases, self.seed = recipe == "timm", seed
        mixers: list[Any] = [v2.MixUp(alpha=mixup, num_classes=classes)] if mixup else []
        mixers += [v2.CutMix(alpha=cutmix, num_classes=classes)] if cutmix else []
        self.mix = v2.RandomChoice(mixers) if mixers else None

    def __call__(self, images: Tensor, labels: Tensor, step: int, part: int = 0) -> tuple[Tensor, Tensor]:
        """The augmented batch of training step `step`: of several batches of a step, number `part`."""
        if not self.erases and self.mix is None:
            return images, labels
        seed_generators(_BATCH, self.seed, step, *([part] if part else []))
        if self.erases:
            images = RandomErasing(0.25, mode="pixel", device=str(images.device))(images)
        return (images, labels) if self.mix is None else self.mix(images, labels)
