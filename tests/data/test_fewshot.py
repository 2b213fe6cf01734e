"""Few-shot FGVC with NOAH's lists, and VPT's FGVC: facts, layouts, options, and each way to be wrong."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from glorabench.data.checks.inspect import inspect_task
from glorabench.data.suites import fewshot, fgvc
from glorabench.data.suites.listing import Listing, draw_shots, read_list
from glorabench.data.suites.suite import Suite
from glorabench.errors import BadInput

PETS, FLOWERS = fewshot.FEWSHOT.row("oxford_pets"), fewshot.FEWSHOT.row("flowers102")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fewshot")
    for row in (PETS, FLOWERS):
        fewshot.write_fake_fewshot_task(row, root, False)
    fgvc.write_fake_fgvc_task(fgvc.FGVC.row("flowers"), root, False)
    return root


@pytest.fixture
def root(drawn: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    shutil.copytree(drawn, tmp_path / "data")
    return tmp_path / "data"


def read(root: Path, task: str = "oxford_pets", **options: object) -> dict[str, Listing]:
    row = fewshot.FEWSHOT.row(task)
    return fewshot.read_fewshot_splits(row, fewshot.FEWSHOT.folder(row, root), options)


def problem(suite: Suite, task: str, root: Path, **options: object) -> str:
    found = inspect_task(suite, suite.row(task), root, options).problems
    assert found
    assert all("\n" not in line for line in found)
    return found[0]


# Facts, measured on NOAH's lists and VPT's files


@pytest.mark.parametrize(
    ("task", "classes", "val", "test"),
    [
        ("food101", 101, 20200, 30300),
        ("stanford_cars", 196, 1635, 8041),
        ("flowers102", 102, 1633, 2463),
        ("fgvc_aircraft", 100, 3333, 3333),
        ("oxford_pets", 37, 736, 3669),
    ],
)
def test_sizes_of_the_five_sets(task: str, classes: int, val: int, test: int) -> None:
    row = fewshot.FEWSHOT.row(task)
    assert row.classes == classes
    for shots in (1, 2, 4, 8, 16):
        sizes = fewshot.FEWSHOT.sizes(row, {"shots": shots, "val_shots": None})
        assert sizes == {"train": (shots * classes,), "trainval": (shots * classes,), "val": (val,), "test": (test,)}
    assert fewshot.FEWSHOT.sizes(row, {"shots": 1, "val_shots": 4})["val"] == (4 * classes,)


def test_a_one_shot_list_of_pets_has_37_images_or_74_lines() -> None:
    assert fewshot.FEWSHOT.sizes(PETS, {"shots": 1})["train"] == (37,)
    assert fewshot.FEWSHOT.sizes(PETS, {"shots": 1, "noah_compat": True})["train"] == (74,)
    assert fewshot.FEWSHOT.sizes(PETS, {"shots": 2, "noah_compat": True})["train"] == (74,)
    assert fewshot.FEWSHOT.sizes(FLOWERS, {"shots": 1, "noah_compat": True})["train"] == (102,)


def test_a_check_goes_through_all_fifteen_lists() -> None:
    asked = {(options["shots"], options["split_seed"]) for options in fewshot.FEWSHOT.variants}
    assert asked == {(shots, seed) for shots in (1, 2, 4, 8, 16) for seed in (0, 1, 2)}
    assert len(fewshot.FEWSHOT.variants) == 15


@pytest.mark.parametrize(
    ("task", "folder", "image", "label"),
    [
        ("fgvc_aircraft", "fgvc_aircraft/images", "1514522.jpg", 0),
        ("fgvc_aircraft", "fgvc-aircraft-2013b/data/images", "1514522.jpg", 0),
        ("food101", "food-101/images", "apple_pie/1214326.jpg", 0),
        ("flowers102", "oxford_flowers/jpg", "image_00172.jpg", 76),
        ("flowers102", "flowers-102/jpg", "image_00172.jpg", 76),
        ("flowers102", "oxford_flowers102/images", "image_00172.jpg", 76),
        ("oxford_pets", "oxford-iiit-pet/images", "Abyssinian_201.jpg", 0),
        ("stanford_cars", "stanford_cars", "cars_test/00001.jpg", 180),
    ],
)
@pytest.mark.parametrize("lists", ["beside", "apart"])
def test_first_lines_of_noahs_test_lists_in_the_layouts_in_circulation(
    tmp_path: Path, task: str, folder: str, image: str, label: int, lists: str
) -> None:
    """Lists beside the images, or as in NOAH's repository in few-shot/<its name>/annotations."""
    row = fewshot.FEWSHOT.row(task)
    path = tmp_path / folder / image
    path.parent.mkdir(parents=True)
    path.touch()
    where = tmp_path / folder.split("/")[0] if lists == "beside" else tmp_path / "few-shot" / row.folders[1]
    (where / "annotations").mkdir(parents=True)
    shots = "".join(f"{image}{c} {c}\n" for c in range(row.classes))
    (where / "annotations" / "train_meta.list.num_shot_1.seed_2").write_text(f"{image} 0\n" + shots.split("\n", 1)[1])
    for name in ("val_meta.list", "test_meta.list"):
        (where / "annotations" / name).write_text(f"{image} {label}\n")
    splits = read(tmp_path, task, split_seed=2)
    assert (splits["test"].names, splits["test"].labels) == ((image,), (label,))
    assert splits["test"].path(0) == path
    assert splits["test"].source == where / "annotations" / "test_meta.list"


def test_every_name_of_a_folder_belongs_to_one_task() -> None:
    for suite in (fewshot.FEWSHOT, fgvc.FGVC):
        names = Counter(name for row in suite.rows for name in {*row.folders})
        assert set(names.values()) == {1}
        called = Counter(name for row in suite.rows for name in {row.name, *row.aliases})
        assert set(called.values()) == {1}


def test_suites_below_one_root_do_not_take_each_others_folders(root: Path) -> None:
    before = read(root, "flowers102")
    (root / "few-shot" / "oxford_flowers").rename(root / "oxford_flowers")
    (root / "oxford_flowers102" / "images").mkdir(parents=True)  # VTAB-1k's
    (root / "oxford_flowers102" / "test.txt").touch()
    assert not inspect_task(fewshot.FEWSHOT, FLOWERS, root, {}).problems
    assert read(root, "flowers102")["test"].names == before["test"].names
    assert fgvc.FGVC.folder(fgvc.FGVC.row("flowers"), root) == root / "fgvc" / "OxfordFlowers"
    for row in fgvc.FGVC.rows:
        assert not {*row.folders} & {*(row.folders[0] for row in fewshot.FEWSHOT.rows)}


def test_a_folder_without_the_lists_of_a_suite_does_not_hide_one_with(root: Path) -> None:
    for suite, row, name in (
        (fewshot.FEWSHOT, PETS, "oxford_pet"),
        (fgvc.FGVC, fgvc.FGVC.row("flowers"), "OxfordFlower"),
    ):
        before = suite.folder(row, root)
        (root / name / "images").mkdir(parents=True)
        (root / name / "test.txt").touch()
        assert suite.folder(row, root) == before


# Reading


def test_the_fake_sets_are_right_in_every_variant(drawn: Path) -> None:
    for row in (PETS, FLOWERS):
        for options in fewshot.FEWSHOT.variants:
            report = inspect_task(fewshot.FEWSHOT, row, drawn, options)
            assert not report.problems
            assert report.fake
            train = report.splits["train"]
            assert set(Counter(train.labels).values()) == {options["shots"]}
            assert report.splits["trainval"] == train
            assert not set(train.names) & {*report.splits["val"].names, *report.splits["test"].names}


def test_repeated_lines_are_removed_unless_noah_is_to_be_matched(drawn: Path) -> None:
    once, twice = (read(drawn, noah_compat=compat)["train"] for compat in (False, True))
    assert twice.names[::2] == twice.names[1::2] == once.names
    assert once.labels == (0, 5, 10, 15, 20, 25, 30, 36)
    assert "8 repeated lines removed" in once.note


def test_lists_differ_by_seed(drawn: Path) -> None:
    names = {read(drawn, shots=4, split_seed=seed)["train"].names for seed in (0, 1, 2)}
    assert len(names) == 3


@pytest.mark.parametrize("val_shots", [1, 3, 4, 9, None])
def test_val_has_at_most_so_many_of_each_class(drawn: Path, val_shots: int | None) -> None:
    splits = [read(drawn, val_shots=val_shots, split_seed=seed) for seed in (0, 0, 1)]
    assert set(Counter(splits[0]["val"].labels).values()) == {min(val_shots or 9, 4)}
    assert splits[0]["val"] == splits[1]["val"]
    assert (splits[0]["val"] == splits[2]["val"]) == (val_shots not in (1, 3))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_draw_is_disjoint_even_and_blind_to_order(seed: int, count: int) -> None:
    labels = [label for label in range(7) for _ in range(10 + label)]
    names = [f"{label}/{number}" for number, label in enumerate(labels)]
    here = Path("here")
    listing = Listing(here, here, tuple(names), tuple(labels))
    turned = Listing(here, here, tuple(reversed(names)), tuple(reversed(labels)))
    first = draw_shots(listing, count, seed)
    assert Counter(first.labels) == dict.fromkeys(range(7), count)
    assert set(draw_shots(turned, count, seed).names) == set(first.names)
    second = draw_shots(listing, count, seed, without=set(first.names))
    assert Counter(second.labels) == dict.fromkeys(range(7), count)
    assert not set(first.names) & set(second.names)
    assert set(first.names) | set(second.names) == set(draw_shots(listing, 2 * count, seed).names)
    some = [i for i, label in enumerate(labels) if label != 3]
    assert set(draw_shots(listing.take(some), count, seed).names) == {n for n in first.names if not n.startswith("3/")}
    assert draw_shots(listing, count, seed + 5).names != first.names
    assert len(draw_shots(listing, 12, seed)) == 10 + 11 + 5 * 12


# What is wrong


def test_a_missing_root_and_a_missing_folder(root: Path) -> None:
    assert f"no folder {root / 'no'}: set data.root" in problem(fewshot.FEWSHOT, "oxford_pets", root / "no")
    said = problem(fewshot.FEWSHOT, "food101", root)
    assert "food101 is missing: no folder" in said
    assert "food101" in said
    assert "data.vision.ee.ethz.ch" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shots": 3}, "num_shot_3.seed_0: there are lists of 1, 2, 4, 8, 16 shots: set data.shots"),
        ({"split_seed": 7}, "num_shot_1.seed_7: of 1 shots there are seeds 0, 1, 2: set data.split_seed"),
        ({"shots": 0}, "data.shots must be a whole number of at least 1, got 0"),
        ({"shots": "four"}, "data.shots must be a whole number of at least 1, got 'four'"),
        ({"split_seed": -1}, "data.split_seed must be a whole number of at least 0, got -1"),
        ({"val_shots": 0}, "data.val_shots must be a whole number of at least 1, got 0"),
        ({"noah_compat": 1}, "data.noah_compat must be true or false, got 1"),
    ],
)
def test_options_that_have_no_list(drawn: Path, options: dict[str, object], said: str) -> None:
    assert said in problem(fewshot.FEWSHOT, "oxford_pets", drawn, **options)


Breaks = Callable[[Path], object]


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (lambda d: shutil.rmtree(d / "annotations"), "annotations: the lists are in https://github.com/Zhang"),
        (
            lambda d: shutil.rmtree(d / "images"),
            r"no image images/breed_0_\d+.jpg or jpg/breed_0_\d+.jpg or data/images",
        ),
        (lambda d: (d / "annotations" / "test_meta.list").unlink(), "test_meta.list: unpack the archive again"),
        (lambda d: (d / "annotations" / "val_meta.list").write_text(""), "val_meta.list is empty"),
        (
            lambda d: (d / "images" / "breed_0_100.jpg").unlink(),
            r"breed_0_100\.jpg.* is missing",
        ),
    ],
)
def test_half_of_a_set(root: Path, breaks: Breaks, said: str) -> None:
    breaks(root / "few-shot" / "oxford_pets")
    assert re.search(said, problem(fewshot.FEWSHOT, "oxford_pets", root, val_shots=None))


def test_a_list_of_other_numbers(root: Path) -> None:
    lists = root / "few-shot" / "oxford_pets" / "annotations"
    one, two = (lists / f"train_meta.list.num_shot_{k}.seed_0" for k in (1, 2))
    shutil.copy(two, one)
    assert f"{one}: class 0 has 2 images, not 1" in problem(fewshot.FEWSHOT, "oxford_pets", root)


def test_a_real_set_must_have_the_numbers_of_noahs_lists(root: Path) -> None:
    """The same set without its marker is a real one, cut short."""
    (root / "few-shot" / "oxford_pets" / "FAKE.json").unlink()
    report = inspect_task(fewshot.FEWSHOT, PETS, root, {"shots": 2})
    assert [line.split(": ")[1] for line in report.problems] == [
        "16 images, expected 74",
        "32 images, expected 148",
        "32 images, expected 3,669",
    ]


def test_labels_of_another_set_are_out_of_range(root: Path) -> None:
    lists = root / "few-shot" / "oxford_pets" / "annotations"
    path = lists / "test_meta.list"
    path.write_text(path.read_text().replace(" 36\n", " 37\n"))
    assert "label 37, but oxford_pets has 37 classes, 0 to 36" in problem(fewshot.FEWSHOT, "oxford_pets", root)


def test_a_path_may_hold_spaces_and_a_line_must_have_a_label(tmp_path: Path) -> None:
    source = tmp_path / "list"
    source.write_text("a b/c d.jpg 3\n")
    assert read_list(source, [tmp_path]).names == ("a b/c d.jpg",)
    source.write_text("a.jpg 3\nb.jpg\n")
    with pytest.raises(BadInput, match=r"line 2: 'b.jpg' is no '<path> <label>'"):
        read_list(source, [tmp_path])


# VPT's FGVC


@pytest.mark.parametrize(
    ("task", "classes", "sizes", "official"),
    [
        ("cub", 200, (5394, 600, 5794), (5994, 5794)),
        ("nabirds", 555, (21536, 2393, 24633), (23929, 24633)),
        ("flowers", 102, (1020, 1020, 6149), (2040, 6149)),
        ("dogs", 120, (10800, 1200, 8580), (12000, 8580)),
        ("cars", 196, (7329, 815, 8041), (8144, 8041)),
    ],
)
def test_sizes_of_vpts_sets(task: str, classes: int, sizes: tuple[int, ...], official: tuple[int, int]) -> None:
    row = fgvc.FGVC.row(task)
    assert row.classes == classes
    assert tuple(row.sizes[split][0] for split in ("train", "val", "test")) == sizes
    assert (sizes[0] + sizes[1], sizes[2]) == official
    assert row.sizes["trainval"] == row.sizes["train"]


def test_ids_become_ranks_and_the_final_model_is_trained_on_train(drawn: Path) -> None:
    report = inspect_task(fgvc.FGVC, fgvc.FGVC.row("flowers"), drawn, {}, deep=True)
    assert not report.problems
    assert report.splits["trainval"] == report.splits["train"]
    for listing in report.splits.values():
        assert listing.labels == tuple(range(102))
        assert listing.names[0].startswith("jpg/001.class/")


@pytest.mark.parametrize("prefix", ["images", "Images", ""])
def test_images_lie_where_each_set_has_them(tmp_path: Path, prefix: str) -> None:
    (tmp_path / prefix).mkdir(exist_ok=True)
    (tmp_path / prefix / "a.jpg").touch()
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.json").write_text(json.dumps({"a.jpg": 17, "b.jpg": 3}))
    splits = fgvc.read_fgvc_splits(fgvc.FGVC.row("cub"), tmp_path, {})
    assert splits["train"].path(0).samefile(tmp_path / prefix / "a.jpg")
    assert splits["train"].labels == (1, 0)


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (lambda d: (d / "val.json").unlink(), "val.json"),
        (lambda d: (d / "train.json").write_text('{"jpg/001'), "train.json cannot be read"),
        (lambda d: (d / "train.json").write_text('{"a.jpg": "cat"}'), "is no JSON object {path: class}"),
        (lambda d: shutil.rmtree(d / "jpg"), "unpack the images there"),
    ],
)
def test_half_of_a_json_set(root: Path, breaks: Breaks, said: str) -> None:
    breaks(root / "fgvc" / "OxfordFlowers")
    assert said in problem(fgvc.FGVC, "flowers", root)


def test_a_split_that_misses_a_class_would_be_mislabelled(root: Path) -> None:
    path = root / "fgvc" / "OxfordFlowers" / "val.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in found.items() if value != 50}))
    (root / "fgvc" / "OxfordFlowers" / "FAKE.json").unlink()
    report = inspect_task(fgvc.FGVC, fgvc.FGVC.row("flowers"), root, {})
    assert any("101 of 102 classes occur" in line for line in report.problems)
