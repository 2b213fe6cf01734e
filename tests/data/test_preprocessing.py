"""Preprocessing ids: against torchvision's transforms, and what a checkpoint implies."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as T

from glorabench.data.images.preprocessing import NORMALISATIONS, View, view
from glorabench.errors import BadInput

SIZES = [(1242, 375), (300, 500), (224, 224), (97, 33)]
IMAGENET, HALF = NORMALISATIONS["imagenet"], NORMALISATIONS["half"]


def picture(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def reference(geometry: str, size: int, how: T.InterpolationMode) -> T.Compose:
    """What the repositories wrote with torchvision."""
    side = round(size * 256 / 224)
    first = {
        "vtab": [T.Resize((size, size), how)],
        "fewshot": [T.Resize((side, side), how), T.CenterCrop(size)],
        "imagenet": [T.Resize((side, side), how), T.CenterCrop(size)],
        "fgvc": [T.Resize(side, how), T.CenterCrop(size)],
    }
    return T.Compose([*first[geometry], T.PILToTensor()])


@pytest.mark.parametrize("size", [224, 32, 37])
@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("geometry", ["vtab", "fewshot", "imagenet", "fgvc"])
def test_a_still_is_what_torchvisions_transforms_give(geometry, interpolation, shape, size):
    image, how = picture(*shape), T.InterpolationMode(interpolation)
    found = torch.tensor(View(size, *HALF, interpolation, geometry).still(image))
    wanted = reference(geometry, size, how)(image)
    assert found.shape == (3, size, size)
    assert torch.equal(found, wanted)


def test_kitti_is_squashed_and_nothing_is_cut_off():
    """Both ends of a wide image, coloured apart, are there."""
    pixels = np.zeros((375, 1242, 3), np.uint8)
    pixels[:, :10], pixels[:, -10:] = (255, 0, 0), (0, 0, 255)
    made = View(224, *HALF, "bicubic", "vtab").still(Image.fromarray(pixels))
    assert made[0, 112, 0] > 200
    assert made[2, 112, -1] > 200


@pytest.mark.parametrize(
    ("wanted", "mean", "name"),
    [
        (None, HALF, "vtab_bicubic_half"),
        (None, IMAGENET, "vtab_bicubic_imagenet"),
        (None, ((0.1, 0.2, 0.3), (1.0, 1.0, 1.0)), "vtab_bicubic_own"),
        ("vtab_bicubic_imagenet", HALF, "vtab_bicubic_imagenet"),
        ("vtab_bicubic_unnorm", HALF, "vtab_bicubic_unnorm"),
        ("vtab_bilinear_imagenet", HALF, "vtab_bilinear_imagenet"),
        ("fgvc_bicubic_half", IMAGENET, "fgvc_bicubic_half"),
    ],
)
def test_an_id_is_the_checkpoints_unless_it_is_given(wanted, mean, name):
    made = view("vtab", wanted, 224, *mean, "bicubic")
    assert made.id == name
    assert made.size == 224
    norm = name.rpartition("_")[2]
    assert (made.mean, made.std) == (mean if norm == "own" else NORMALISATIONS[norm])


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("bicubic", "for example vtab_bicubic_imagenet"),
        ("vtab_bicubic_imagnet", "did you mean 'imagenet'"),
        ("vtba_bicubic_half", "did you mean 'vtab'"),
        ("vtab_nearest_half", "interpolation 'nearest'"),
    ],
)
def test_a_wrong_id_is_named(wanted, message):
    with pytest.raises(BadInput, match=message):
        view("vtab", wanted, 224, *HALF, "bicubic")


def test_normalisation_is_no_part_of_what_is_cached():
    keys = {view("vtab", f"vtab_bicubic_{norm}", 224, *HALF, "bicubic").key for norm in NORMALISATIONS}
    assert len(keys) == 1
    assert view("vtab", "vtab_bilinear_half", 224, *HALF, "bicubic").key not in keys
    assert view("vtab", None, 32, *HALF, "bicubic").key not in keys
