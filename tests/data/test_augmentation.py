"""Augmentation: a function of its seed and place, the recipes' numbers, and mixing against closed forms."""

import pickle
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from glorabench.data.cache import cached_ragged
from glorabench.data.images.augmentation import AugmentedImages, BatchMixing
from glorabench.data.images.preprocessing import NORMALISATIONS, View
from glorabench.data.samplers import VisitShuffle
from glorabench.training.objectives.classification import Classification

VIEW = View(32, *NORMALISATIONS["imagenet"], "bicubic", "fewshot")
WHOLE = [np.random.default_rng(i).integers(0, 256, (40 + i, 60, 3), dtype=np.uint8) for i in range(6)]
LABELS = np.arange(6)


def augmented(recipe: str = "timm", seed: int = 0) -> AugmentedImages:
    return AugmentedImages(WHOLE, LABELS, recipe, VIEW, seed)


@pytest.mark.parametrize("recipe", ["timm", "crop"])
def test_an_image_is_a_function_of_seed_epoch_and_index(recipe):
    first = augmented(recipe)[3, 2]
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    augmented(recipe)[1, 1]
    again = augmented(recipe)[3, 2]
    assert torch.equal(first[0], again[0])
    assert first[1] == again[1] == 2
    assert first[0].shape == (3, 32, 32)
    assert first[0].dtype == torch.uint8
    others = [augmented(recipe)[4, 2], augmented(recipe, seed=1)[3, 2]]
    assert all(not torch.equal(first[0], other[0]) for other in others)


@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_give_the_images_of_one_process(workers):
    def epoch(count: int) -> list[torch.Tensor]:
        order = VisitShuffle(6, seed=3)
        order.set_epoch(2)
        return [x for x, _ in DataLoader(augmented(), 2, sampler=order, num_workers=count)]

    assert all(torch.equal(one, two) for one, two in zip(epoch(0), epoch(workers), strict=True))


@pytest.mark.parametrize("recipe", ["timm", pytest.param("crop", marks=pytest.mark.campaign)])
def test_a_spawned_worker_gives_the_images_of_this_process(tmp_path, recipe):
    whole = cached_ragged(tmp_path / "whole", 6, lambda: WHOLE)
    images = AugmentedImages(whole, LABELS, recipe, VIEW, 0)
    assert len(pickle.dumps(whole)) < 500  # 43,200 bytes of pixels stay in their file
    copy = pickle.loads(pickle.dumps(whole))
    assert all(np.array_equal(copy[i], image) for i, image in enumerate(WHOLE))
    order = [(1, 4), (1, 0)]
    found = DataLoader(images, None, sampler=order, num_workers=1, multiprocessing_context="spawn")
    assert all(torch.equal(one[0], images[visit][0]) for one, visit in zip(found, order, strict=True))


def test_a_crop_is_a_part_of_the_image_or_of_its_mirror():
    side = round(32 * 256 / 224)
    image = np.random.default_rng(0).integers(0, 256, (side, side + 9, 3), dtype=np.uint8)
    parts = {
        flipped[y : y + 32, x : x + 32].tobytes()
        for flipped in (image, image[:, ::-1])
        for y in range(side - 31)
        for x in range(side + 9 - 31)
    }
    made = AugmentedImages([image], np.zeros(1, np.int64), "crop", VIEW, 0)
    found = {np.ascontiguousarray(made[epoch, 0][0].numpy().transpose(1, 2, 0)).tobytes() for epoch in range(20)}
    assert found <= parts
    assert len(found) > 10


def batch(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(size, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(size) % 5


@pytest.mark.parametrize("size", [1, 7, 8])
@pytest.mark.parametrize(("mixup", "cutmix"), [(0.8, None), (None, 1.0), (0.8, 1.0)])
def test_mixed_labels_are_probabilities_and_follow_from_seed_and_step(size, mixup, cutmix):
    images, labels = batch(size)
    mixing = BatchMixing(None, mixup, cutmix, 5, seed=1)
    mixed, soft = mixing(images, labels, step=4)
    assert mixed.shape == images.shape
    assert soft.shape == (size, 5)
    assert torch.allclose(soft.sum(1), torch.ones(size))
    again = BatchMixing(None, mixup, cutmix, 5, seed=1)(*batch(size), step=4)
    assert torch.equal(mixed, again[0])
    assert torch.equal(soft, again[1])
    if size > 1:
        assert not torch.equal(soft, mixing(images, labels, step=5)[1])
        assert not torch.equal(soft, mixing(images, labels, step=4, part=1)[1])


def test_mixup_is_the_weighted_mean_that_its_labels_say():
    images, labels = batch(8)
    mixed, soft = BatchMixing(None, 0.8, None, 5, seed=0)(images, labels, step=0)
    partner = labels.roll(1)
    rows = torch.arange(8)
    weight = soft[rows, labels]
    assert (labels != partner).all()
    assert torch.allclose(soft[rows, partner], 1 - weight)
    share = weight[0]
    assert torch.allclose(mixed, share * images + (1 - share) * images.roll(1, 0), atol=1e-6)


def test_both_mixers_are_used_about_equally_often():
    images, labels = batch(8)
    mixing = BatchMixing(None, 0.8, 1.0, 5, seed=0)
    cut = sum(bool(torch.isin(mixing(images, labels, step)[0], images).all()) for step in range(200))
    assert 70 <= cut <= 130  # 200 fair draws lie there with probability 0.99998


def test_erasing_leaves_most_images_and_noise_in_others():
    images = torch.zeros(400, 3, 16, 16)
    erased = BatchMixing("timm", None, None, 5, seed=0)(images, torch.zeros(400, dtype=torch.long), step=0)[0]
    touched = (erased != 0).flatten(1).any(1).float().mean()
    assert 0.17 <= touched <= 0.33  # probability 0.25: within 3.7 standard deviations


def test_no_recipe_changes_nothing_and_draws_nothing():
    images, labels = batch(4)
    state = torch.get_rng_state()
    found = BatchMixing(None, None, None, 5, seed=0)(images, labels, step=0)
    assert found[0] is images
    assert found[1] is labels
    assert torch.equal(state, torch.get_rng_state())


def test_loss_of_mixed_labels_with_smoothing_is_the_closed_form():
    """timm smooths each of the two classes and then mixes them: the same number."""
    logits = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    one, two, share, eps = torch.tensor([0, 1, 2]), torch.tensor([3, 4, 0]), 0.3, 0.1
    smooth = [F.one_hot(labels, 5) * (1 - eps) + eps / 5 for labels in (one, two)]
    target = share * smooth[0] + (1 - share) * smooth[1]
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    soft = share * F.one_hot(one, 5).double() + (1 - share) * F.one_hot(two, 5).double()
    assert torch.allclose(Classification(5, eps).loss(nn.Identity(), (logits, soft)), expected)


def test_a_masked_scoring_answers_among_its_classes_alone():
    objective = Classification(6, 0.0, [{"top1": None}, {"a/top1_200": (1, 4), "a/top1_1000": None}])
    logits = torch.tensor([[9.0, 1, 0, 0, 2, 0], [0, 5, 0, 0, 4, 6]])
    batch = logits, torch.tensor([4, 5])
    first, second = (objective.evaluate(nn.Identity(), batch, test) for test in (0, 1))
    assert first.predictions["predicted"].tolist() == [0, 5]
    assert {name: values.tolist() for name, values in first.values.items()} == {"top1": [False, True]}
    assert second.predictions["a/top1_200/predicted"].tolist() == [4, 1]
    assert second.predictions["a/top1_1000/predicted"].tolist() == [0, 5]
    expected = {"a/top1_200": [True, False], "a/top1_1000": [False, True]}
    assert {name: values.tolist() for name, values in second.values.items()} == expected
    assert [metric.name for metric in objective.metrics] == ["top1", "a/top1_200", "a/top1_1000"]
