"""Image tasks: the cache, seeded batches, normalisation, and labels that are read once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import LightningModule, Trainer
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from glorabench.config.compose import compose
from glorabench.config.instantiate import DATA, make
from glorabench.data import mini
from glorabench.data.cache import Arrays, cached_splits
from glorabench.data.images.datamodule import Batches, ImageData
from glorabench.data.images.task import ArraySplit, ImageTask, concatenate
from glorabench.data.samplers import Shuffle
from glorabench.data.task import LeakError
from glorabench.errors import BadInput

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers.*",
    "ignore:.*LeafSpec.*is deprecated.*",
    "ignore:GPU available but not used.*",
)
SIZES = {"train": 20, "val": 7, "test": 11}
SIDE = 8


def drawn(seed: int = 0, sizes: dict[str, int] | None = None) -> dict[str, Arrays]:
    generator = np.random.default_rng(seed)
    return {
        name: (
            generator.integers(0, 256, (size, 3, SIDE, SIDE), dtype=np.uint8),
            generator.integers(0, 4, size),
        )
        for name, size in (sizes or SIZES).items()
    }


class Counted:
    """A drawing function that counts its calls."""

    def __init__(self, seed: int = 0) -> None:
        self.calls, self.seed = 0, seed

    def __call__(self) -> dict[str, Arrays]:
        self.calls += 1
        return drawn(self.seed)


def same(one: dict[str, Arrays], two: dict[str, Arrays]) -> bool:
    return list(one) == list(two) and all(
        np.array_equal(a, b) and a.dtype == b.dtype for name in one for a, b in zip(one[name], two[name], strict=True)
    )


def a_task(sizes: dict[str, int] | None = None) -> ImageTask:
    return ImageTask("suite", "task", "natural", 4, in_memory(drawn(sizes=sizes)), "fingerprint")


def in_memory(splits: dict[str, Arrays]) -> dict[str, ArraySplit]:
    made = {name: ArraySplit(*arrays) for name, arrays in splits.items()}
    return made | {"trainval": concatenate(made["train"], made["val"])}


def a_module(task: ImageTask | None = None, **changed: Any) -> ImageData:
    loading: dict[str, Any] = {
        "fit_on": "train",
        "report_on": "test",
        "batch_size": 4,
        "eval_batch_size": 5,
        "seed": 0,
        "size": SIDE,
        "mean": (0.1, 0.2, 0.3),
        "std": (0.5, 0.6, 0.7),
        "interpolation": "bilinear",
    }
    return ImageData(task or a_task(), **{**loading, **changed})


def test_a_cache_is_drawn_once_and_read_back_bit_for_bit(tmp_path: Path) -> None:
    draw = Counted()
    first, print_one = cached_splits(tmp_path / "deep" / "task", draw)
    second, print_two = cached_splits(tmp_path / "deep" / "task", draw)
    assert draw.calls == 1
    assert same(first, drawn())
    assert same(second, drawn())
    assert print_one == print_two
    assert sorted(os.listdir(tmp_path / "deep")) == ["task", "task.lock"]


def test_a_fingerprint_says_what_was_drawn_and_not_where(tmp_path: Path) -> None:
    def off_by_one() -> dict[str, Arrays]:
        splits = drawn()
        splits["test"][0][3, 1, 2, 2] ^= 1
        return splits

    def relabelled() -> dict[str, Arrays]:
        splits = drawn()
        splits["val"][1][0] += 1
        return splits

    draws: list[Callable[[], dict[str, Arrays]]] = [drawn, drawn, off_by_one, relabelled]
    prints = [cached_splits(tmp_path / str(i), draw)[1] for i, draw in enumerate(draws)]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


FILES = ["meta.json", *(f"{name}_{part}.npy" for name in SIZES for part in ("images", "labels"))]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["gone", "empty", "half", "another"])
def test_a_damaged_cache_is_drawn_again(tmp_path: Path, name: str, damage: str) -> None:
    cached_splits(tmp_path / "task", Counted())
    file = tmp_path / "task" / name
    if damage == "gone":
        file.unlink()
    else:
        whole = file.read_bytes()
        file.write_bytes({"empty": b"", "half": whole[: len(whole) // 2], "another": b"[]"}[damage])
    draw = Counted()
    found, _ = cached_splits(tmp_path / "task", draw)
    assert draw.calls == 1
    assert same(found, drawn())
    assert same(cached_splits(tmp_path / "task", draw)[0], drawn())
    assert draw.calls == 1


def test_where_nothing_can_be_locked_the_first_that_finishes_is_kept(tmp_path: Path) -> None:
    (tmp_path / "task.lock").mkdir()  # as on a file system without locks: it cannot be opened and locked

    def slow() -> dict[str, Arrays]:
        first = cached_splits(tmp_path / "task", drawn)[0]
        inode.append((tmp_path / "task").stat().st_ino)
        return first

    inode: list[int] = []
    assert same(cached_splits(tmp_path / "task", slow)[0], drawn())
    assert (tmp_path / "task").stat().st_ino == inode[0]
    assert sorted(os.listdir(tmp_path)) == ["task", "task.lock"]


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInput, match=r"file/task cannot be written .*cache_dir=FOLDER"):
        cached_splits(tmp_path / "file" / "task", drawn)


def test_what_a_drawing_raises_is_not_swallowed(tmp_path: Path) -> None:
    def broken() -> dict[str, Arrays]:
        raise ValueError("no such font")

    with pytest.raises(ValueError, match="no such font"):
        cached_splits(tmp_path / "task", broken)
    assert not (tmp_path / "task").exists()


def test_a_composed_task_lies_in_the_cache_that_the_environment_names(cache: Path) -> None:
    tasks = [make(compose(["data.task=digits"])["data"], DATA) for _ in range(2)]
    assert (cache / "mini" / f"digits-v{mini.MINI_VERSION}" / "meta.json").is_file()
    assert same(*(dict(task.splits) for task in tasks))
    assert tasks[0].fingerprint == tasks[1].fingerprint
    assert same({name: tasks[0].splits[name] for name in ("train", "val", "test")}, mini.draw_mini_task("digits"))


def test_reading_an_example_twice_gives_the_same_and_leaves_the_cache_untouched(
    tmp_path: Path,
) -> None:
    splits, _ = cached_splits(tmp_path / "task", drawn)
    files = {file: file.read_bytes() for file in (tmp_path / "task").iterdir()}
    batches = Batches(splits["train"])
    data = a_module(ImageTask("s", "t", "g", 4, in_memory(splits), "f"))
    for index in (0, 7, 19):
        image, label = batches[index]
        normal = data.normalise(image[None])
        normal += 1
        image += 1  # what a caller does to its batch is its own affair
        again, same_label = batches[index]
        assert np.array_equal(again.numpy(), drawn()["train"][0][index])
        assert label == same_label == drawn()["train"][1][index]
    assert len(batches) == SIZES["train"]
    assert files == {file: file.read_bytes() for file in (tmp_path / "task").iterdir()}


def test_a_batch_is_its_examples_in_the_order_asked_for() -> None:
    batches = Batches(drawn()["train"])
    images, labels = batches.__getitems__([5, 0, 5])
    for i, index in enumerate((5, 0, 5)):
        assert torch.equal(images[i], batches[index][0])
        assert torch.equal(labels[i], batches[index][1])


def test_trainval_is_train_and_then_val() -> None:
    task = a_task()
    for part in (0, 1):
        whole = np.concatenate([drawn()["train"][part], drawn()["val"][part]])
        assert np.array_equal(task.split("trainval")[part], whole)


@given(st.integers(0, 200), st.integers(0, 2**40), st.integers(0, 1000))
def test_a_shuffle_is_a_permutation_and_a_function_of_seed_and_epoch(size: int, seed: int, epoch: int) -> None:
    one, two = Shuffle(size, seed), Shuffle(size, seed)
    one.set_epoch(epoch)
    two.set_epoch(epoch)
    order = list(one)
    assert sorted(order) == list(range(size)) == sorted(range(len(one)))
    assert order == list(one) == list(two)


def test_every_seed_and_epoch_has_an_order_of_its_own() -> None:
    orders = set()
    for seed in (0, 1, 2, 2**31, 2**32 - 1):
        for epoch in range(5):
            shuffle = Shuffle(50, seed)
            shuffle.set_epoch(epoch)
            orders.add(tuple(shuffle))
    assert len(orders) == 25


def test_a_shuffle_neither_reads_nor_moves_the_global_generators() -> None:
    torch.manual_seed(1)
    first, after = list(Shuffle(20, 3)), torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after)
    torch.manual_seed(2)
    assert list(Shuffle(20, 3)) == first


class Probe(LightningModule):
    """A network that does nothing but write down what it was given."""

    def __init__(self, at_epoch_start: Callable[[Trainer], Any] | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen: dict[str, list[list[tuple[Tensor, Tensor]]]] = {"fit": [], "test": []}
        self.at_epoch_start = at_epoch_start

    def on_train_epoch_start(self) -> None:
        self.seen["fit"].append([])
        if self.at_epoch_start:
            self.at_epoch_start(self.trainer)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        self.seen["fit"][-1].append(batch)
        return self.weight.sum()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Without one the Trainer complains that val is there."""

    def on_test_epoch_start(self) -> None:
        self.seen["test"].append([])

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.seen["test"][-1].append(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[[], Trainer]:
    def build() -> Trainer:
        return Trainer(
            accelerator="cpu",
            max_epochs=3,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
            default_root_dir=tmp_path,
        )

    return build


Build = Callable[[], Trainer]


def test_the_final_test_step_reads_the_whole_test_split_in_order(trainer: Build) -> None:
    probe, data = Probe(), a_module()
    trainer().test(probe, data, verbose=False)
    images, labels = (torch.cat(part) for part in zip(*probe.seen["test"][0], strict=True))
    assert np.array_equal(labels.numpy(), drawn()["test"][1])
    assert torch.equal(images, data.normalise(torch.from_numpy(drawn()["test"][0])))


def test_test_labels_are_read_once(trainer: Build) -> None:
    probe, data = Probe(), a_module()
    made = trainer()
    made.test(probe, data, verbose=False)
    with pytest.raises(LeakError, match="once"):
        made.test(probe, data, verbose=False)
    with pytest.raises(LeakError, match="once"):
        trainer().test(probe, data, verbose=False)


def test_test_labels_are_not_read_outside_the_test_step(trainer: Build) -> None:
    data = a_module()
    with pytest.raises(LeakError, match="final test step"):
        data.test_dataloader()

    def peek(made: Trainer) -> None:
        data.test_dataloader()

    with pytest.raises(LeakError, match="final test step"):
        trainer().fit(Probe(peek), data)
    probe = Probe()
    trainer().test(probe, data, verbose=False)  # a refused read does not count
    assert sum(len(labels) for _, labels in probe.seen["test"][0]) == SIZES["test"]


def test_val_may_be_reported_as_often_as_one_likes(trainer: Build) -> None:
    probe, data = Probe(), a_module(report_on="val")
    for _ in range(2):
        trainer().test(probe, data, verbose=False)
    for seen in probe.seen["test"]:
        assert np.array_equal(torch.cat([labels for _, labels in seen]).numpy(), drawn()["val"][1])


@pytest.mark.parametrize("fit_on", ["train", "trainval"])
def test_the_trainer_sees_the_order_of_its_seed_and_epoch(trainer: Build, fit_on: str) -> None:
    probe, data = Probe(), a_module(fit_on=fit_on, seed=3)
    trainer().fit(probe, data)
    images, labels = data.task.split(fit_on)
    assert len(probe.seen["fit"]) == 3
    for epoch, seen in enumerate(probe.seen["fit"]):
        order = Shuffle(len(labels), 3)
        order.set_epoch(epoch)
        steps = len(labels) // 4
        assert len(seen) == steps
        expected = list(order)[: 4 * steps]
        assert np.array_equal(torch.cat([y for _, y in seen]).numpy(), labels[expected])
        assert torch.equal(torch.cat([x for x, _ in seen]), data.normalise(torch.from_numpy(images[expected])))


def test_fewer_examples_than_a_batch_are_one_step() -> None:
    data = a_module(a_task({"train": 3, "val": 1, "test": 1}), batch_size=64)
    loader = data.train_dataloader()
    assert len(loader) == 1
    ((images, labels),) = loader
    assert images.shape == (3, 3, SIDE, SIDE)
    assert labels.shape == (3,)


def test_an_incomplete_batch_is_dropped_in_training_and_kept_in_evaluation() -> None:
    data = a_module(batch_size=6)
    assert [len(y) for _, y in data.train_dataloader()] == [6, 6, 6]
    assert [len(y) for _, y in data.val_dataloader()] == [5, 2]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fit_on": "test"}, r"selection\.fit_on 'test'"),
        ({"fit_on": "trian"}, r"selection\.fit_on 'trian'; did you mean 'train'"),
        ({"report_on": "train"}, r"selection\.report_on 'train'"),
        (
            {"fit_on": "trainval", "report_on": "val"},
            r"selection\.report_on=val needs selection\.fit_on=train",
        ),
    ],
)
def test_a_split_that_makes_no_sense_is_named_by_its_key(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        a_module(**changed)


def test_normalising_is_the_closed_form() -> None:
    data, images = a_module(), drawn()["val"][0]
    mean, std = (np.array(v).reshape(1, 3, 1, 1) for v in ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7)))
    expected = (images / 255 - mean) / std
    found = data.normalise(torch.from_numpy(images))
    assert found.dtype == torch.float32
    assert np.allclose(found.numpy(), expected, atol=1e-6)
    assert np.array_equal(images, drawn()["val"][0])


def by_pillow(image: NDArray[np.uint8], size: int, how: Image.Resampling) -> NDArray[np.float32]:
    planes = [Image.fromarray(plane.astype(np.float32)).resize((size, size), how) for plane in image]
    return np.stack([np.asarray(plane) for plane in planes]).clip(0, 255)


@pytest.mark.parametrize("size", [4, 5, 12, 16])
@pytest.mark.parametrize(
    ("interpolation", "how"),
    [("bilinear", Image.Resampling.BILINEAR), ("bicubic", Image.Resampling.BICUBIC)],
)
def test_images_of_another_size_are_resized_as_pillow_does(
    size: int, interpolation: str, how: Image.Resampling
) -> None:
    data = a_module(size=size, interpolation=interpolation, mean=(0.0,) * 3, std=(1 / 255,) * 3)
    images = drawn()["val"][0]
    expected = np.stack([by_pillow(image, size, how) for image in images])
    assert np.abs(data.normalise(torch.from_numpy(images)).numpy() - expected).max() < 0.01


def test_features_pass_through_normalising() -> None:
    features = torch.randn(3, 16)
    assert a_module().normalise(features) is features


def test_each_split_is_encoded_once_and_equals_the_plain_features() -> None:
    data, calls = a_module(), []

    def encode(images: Tensor) -> Tensor:
        calls.append(len(images))
        return data.normalise(images).flatten(1) @ torch.ones(3 * SIDE * SIDE, 2)

    plain = {split: data.task.split(split) for split in ("train", "val")}
    data.encode = encode
    for _ in range(3):
        list(data.train_dataloader())
        list(data.val_dataloader())
    assert calls == [5, 5, 5, 5, 5, 2]  # 20 of train and 7 of val, by eval_batch_size
    whole = {"train": data.train_dataloader().dataset, "val": data.val_dataloader().dataset}
    for split, (images, labels) in plain.items():
        found, found_labels = whole[split].inputs, whole[split].labels
        expected = data.normalise(torch.from_numpy(images)).flatten(1).sum(1).numpy()
        assert np.allclose(found, np.stack([expected, expected], 1), rtol=1e-4, atol=1e-3)
        assert np.array_equal(found_labels, labels)


def test_encoded_batches_keep_inputs_and_labels_together() -> None:
    data = a_module()
    data.encode = lambda inputs: inputs.flatten(1)
    images, known = drawn()["train"]
    inputs = data.normalise(torch.from_numpy(images)).flatten(1)
    by_input = {x.numpy().tobytes(): label for x, label in zip(inputs, known, strict=True)}
    for features, labels in data.train_dataloader():
        for feature, label in zip(features, labels, strict=True):
            assert by_input[feature.numpy().tobytes()] == label
