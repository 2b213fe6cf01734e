"""Caches of decoded images are those of the files as they are: replaced ones are decoded anew, copied ones are not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glorabench.data import files
from glorabench.data.checks import image_files, inspect, preflight
from glorabench.data.images import content_hashes, decoding, on_disk
from glorabench.data.images.preprocessing import NORMALISATIONS, View
from glorabench.data.suites import vtab1k
from glorabench.data.suites.listing import Listing
from glorabench.errors import BadInput

VIEW = View(8, *NORMALISATIONS["half"], "bicubic", "vtab")
NAMES = tuple(f"{i:02}.bmp" for i in range(30))


def paint(path: Path, seed: int) -> None:
    """A picture of the same size in bytes whatever the seed."""
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for seed, name in enumerate(NAMES):
        paint(tmp_path / "images" / name, seed)
    return tmp_path / "images"


def split(folder: Path, **more: object) -> on_disk.FilesOnDisk:
    """The images of a folder as a run finds them, with one cache beside it."""
    listing = Listing(folder, folder, NAMES, (0,) * len(NAMES))
    stamp = image_files.split_stamps({"train": listing}, image_files.split_statuses({"train": listing}))["train"]
    return on_disk.FilesOnDisk(listing, "train", folder.parent / "cache", stamp, **more)  # type: ignore[arg-type]


def pixels(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(folder / name)) for name in NAMES]).transpose(0, 3, 1, 2)


def decoded_by(ask: on_disk.FilesOnDisk) -> int:
    """How many images are decoded for the pixels, which are right."""
    before = decoding.images_decoded()
    assert np.array_equal(ask.still(VIEW), pixels(ask.listing.folder))
    return decoding.images_decoded() - before


@pytest.mark.parametrize("backdated", [False, True])
@pytest.mark.parametrize("index", [0, 7, 29])
def test_an_image_replaced_by_one_of_the_same_size_is_seen(folder: Path, index: int, backdated: bool) -> None:
    assert decoded_by(split(folder)) == 30
    path = folder / NAMES[index]
    before = path.stat()
    paint(path, 100)
    if backdated:  # as cp -p and rsync -t do
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert decoded_by(split(folder)) == 30
    assert decoded_by(split(folder)) == 0
    paint(path, index)
    assert decoded_by(split(folder)) == 0  # what was there before is kept


def test_two_images_that_change_places_are_seen(folder: Path) -> None:
    assert decoded_by(split(folder)) == 30
    (folder / NAMES[3]).rename(folder / "spare")
    (folder / NAMES[4]).rename(folder / NAMES[3])
    (folder / "spare").rename(folder / NAMES[4])
    assert decoded_by(split(folder)) == 30


def test_copied_moved_and_touched_images_are_not_decoded_again(folder: Path) -> None:
    assert decoded_by(split(folder)) == 30
    shutil.copytree(folder, folder.parent / "copy")
    assert decoded_by(split(folder.parent / "copy")) == 0
    os.utime(folder / NAMES[0])
    assert decoded_by(split(folder)) == 0
    folder.rename(folder.parent / "moved")
    assert decoded_by(split(folder.parent / "moved")) == 0


def test_the_images_that_a_check_reads_are_compared_with_the_cache(folder: Path) -> None:
    """Where neither size nor time tells: the stamp is that of before."""
    first = split(folder)
    assert decoded_by(first) == 30
    paint(folder / NAMES[5], 100)
    looked = {5: content_hashes.content_hash(folder / NAMES[5]), 6: content_hashes.content_hash(folder / NAMES[6])}
    again = on_disk.FilesOnDisk(first.listing, "train", first.caches, first.stamp, looked)
    assert decoded_by(again) == 30


def test_an_image_replaced_after_it_was_looked_at_is_refused_and_not_kept(folder: Path) -> None:
    ask = split(folder)
    assert ask.folder.parent == ask.caches  # the files have been read
    paint(folder / NAMES[12], 100)
    with pytest.raises(BadInput, match=r"12\.bmp was replaced while this run was reading it"):
        ask.still(VIEW)
    assert decoded_by(split(folder)) == 30


def test_another_pixel_limit_is_another_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = split(folder).folder
    monkeypatch.setenv(decoding.PIXEL_LIMIT_VARIABLE, "1_000")
    assert split(folder).folder != one


def test_a_large_test_split_is_kept_where_it_is_decoded_already(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_disk, "CACHED_TEST_BYTES", 1)
    assert not split(folder, keep="auto").has_stills(VIEW)
    split(folder).still(VIEW)
    assert split(folder, keep="auto").has_stills(VIEW)
    paint(folder / NAMES[0], 100)
    assert not split(folder, keep="auto").has_stills(VIEW)


def test_a_run_after_the_images_were_replaced_trains_on_the_new_ones(tmp_path: Path) -> None:
    """Through the loader of a config: the id of the run is that of before, the pixels are not."""
    vtab1k.write_fake_vtab1k(tmp_path, full=False)
    folder = tmp_path / "vtab-1k" / "cifar"
    for path in folder.glob("images/*/*.jpg"):
        paint(path.with_suffix(".bmp"), 0)
        path.with_suffix(".bmp").rename(path)
    node = {"suite": "vtab1k", "task": "cifar", "root": str(tmp_path)}

    def load() -> tuple[str, np.ndarray]:
        preflight._report.cache_clear()  # as a new process has it
        preflight._sha256.cache_clear()
        task = files.load(**node, cache_dir=str(tmp_path / "c"), preprocess=None, sha256=None, cache_test="auto")
        return preflight.identify_data(node)["sha256"], task.splits["train"].still(VIEW).copy()

    before, old = load()
    for path in folder.glob("images/*/*.jpg"):
        paint(path.with_suffix(".bmp"), 1)
        path.with_suffix(".bmp").rename(path)
    after, new = load()
    assert before == after
    assert not np.array_equal(old, new)
    with Image.open(folder / "images/train800/000000.jpg") as image:
        assert np.array_equal(new[0], np.asarray(image).transpose(2, 0, 1))


def test_a_report_knows_the_hashes_of_what_it_decoded(tmp_path: Path) -> None:
    vtab1k.write_fake_vtab1k(tmp_path, full=False)
    row = vtab1k.VTAB1K.row("cifar")
    report = inspect.inspect_task(vtab1k.VTAB1K, row, tmp_path, {})
    assert {split: len(found) for split, found in report.digests.items()} == {
        "train": 20,
        "val": 8,
        "trainval": 20,
        "test": 16,
    }
    train = report.splits["train"]
    assert all(
        content_hashes.content_hash(train.path(index)) == hashed for index, hashed in report.digests["train"].items()
    )
