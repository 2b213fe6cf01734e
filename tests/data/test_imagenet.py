"""ImageNet with some images for each class, and its four shifts: facts, draws, lists, and each way to be wrong."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from glorabench.data.checks.inspect import inspect_task
from glorabench.data.suites import imagenet
from glorabench.data.suites.imagenet import IMAGENET, IMAGENET_TASK
from glorabench.data.suites.listing import Listing, read_list
from glorabench.errors import BadInput

WNIDS = list(imagenet.WNID_RANKS)
CLASSES = (0, 3, 6, 10, 15, 100, 983, 988, 998, 999)  # of the fake set


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("imagenet")
    imagenet.write_fake_imagenet(root, False)
    return root


@pytest.fixture
def root(drawn: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    shutil.copytree(drawn, tmp_path / "data")
    return tmp_path / "data"


def read(root: Path, **options: object) -> dict[str, Listing]:
    return imagenet.read_imagenet_splits(IMAGENET_TASK, IMAGENET.folder(IMAGENET_TASK, root), options)


def problem(root: Path, **options: object) -> str:
    found = inspect_task(IMAGENET, IMAGENET_TASK, root, options).problems
    assert found
    assert all("\n" not in line for line in found)
    return found[0]


def write(path: Path, lines: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


# Facts


def test_lists_are_those_that_timm_ships() -> None:
    lists = {
        "385e0240": WNIDS,
        "c956c2f0": map(str, imagenet.IMAGENET_A_CLASSES),
        "66d45f31": map(str, imagenet.IMAGENET_R_CLASSES),
    }
    for prefix, lines in lists.items():
        assert hashlib.sha256("\n".join(lines).encode()).hexdigest().startswith(prefix)


def test_an_id_is_the_rank_of_the_wnid() -> None:
    assert sorted(WNIDS) == WNIDS
    assert (len(WNIDS), imagenet.WNID_RANKS["n01440764"], imagenet.WNID_RANKS["n15075141"]) == (1000, 0, 999)
    assert imagenet.WNID_RANKS["n07753592"] == 954
    assert imagenet.WNID_RANKS["n04522168"] == 883


def test_masks_of_a_and_r() -> None:
    assert (
        len(set(imagenet.IMAGENET_A_CLASSES)),
        len(set(imagenet.IMAGENET_R_CLASSES)),
        len(set(imagenet.IMAGENET_A_CLASSES) & set(imagenet.IMAGENET_R_CLASSES)),
    ) == (200, 200, 86)
    assert list(imagenet.IMAGENET_A_CLASSES) == sorted(imagenet.IMAGENET_A_CLASSES)
    assert list(imagenet.IMAGENET_R_CLASSES) == sorted(imagenet.IMAGENET_R_CLASSES)
    assert IMAGENET.scorings == {
        "imagenet_a": {"top1_200": imagenet.IMAGENET_A_CLASSES, "top1_1000": None},
        "imagenet_r": {"top1_200": imagenet.IMAGENET_R_CLASSES, "top1_1000": None},
    }


def test_sizes() -> None:
    right = {"test": 50000, "imagenetv2": 10000, "imagenet_sketch": 50889, "imagenet_a": 7500, "imagenet_r": 30000}
    assert {name: size for name, (size,) in IMAGENET_TASK.sizes.items()} == right
    sizes = IMAGENET.sizes(IMAGENET_TASK, {"shots": 16})
    assert (sizes["train"], sizes["trainval"]) == ((16000,), (16000,))
    assert IMAGENET.sizes(IMAGENET_TASK, {"shifts": "a v2"}).keys() == {
        "train",
        "trainval",
        "test",
        "imagenetv2",
        "imagenet_a",
    }


def test_neither_torch_nor_timm_is_imported() -> None:
    code = "import sys, glorabench.data.suites.registry; sys.exit('torch' in sys.modules or 'timm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Reading


@pytest.mark.parametrize("seed", [0, 1])
def test_the_fake_set_is_right(drawn: Path, seed: int) -> None:
    report = inspect_task(IMAGENET, IMAGENET_TASK, drawn, {"split_seed": seed}, deep=True)
    assert not report.problems
    assert report.fake
    assert list(report.splits) == [
        *("train", "val", "trainval", "test"),
        *("imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r"),
    ]
    for name, listing in report.splits.items():
        kept = {"imagenet_a": imagenet.IMAGENET_A_CLASSES, "imagenet_r": imagenet.IMAGENET_R_CLASSES}.get(name, CLASSES)
        assert set(listing.labels) == set(CLASSES) & set(kept)


@pytest.mark.parametrize("shots", [1, 16, 20])
@pytest.mark.parametrize("seed", [0, 1, 5])
def test_a_draw_is_even_disjoint_from_val_and_repeatable(drawn: Path, shots: int, seed: int) -> None:
    splits, again, other = (read(drawn, shots=shots, split_seed=s, shifts="v2") for s in (seed, seed, seed + 1))
    assert splits == again
    assert splits["train"].names != other["train"].names
    assert Counter(splits["train"].labels) == dict.fromkeys(CLASSES, shots)
    assert Counter(splits["val"].labels) == dict.fromkeys(CLASSES, 4)
    assert not set(splits["train"].names) & set(splits["val"].names)
    assert [WNIDS[label] for label in splits["train"].labels] == [name.split("/")[0] for name in splits["train"].names]
    assert splits["trainval"] == splits["train"]
    assert f"{shots} images of each class drawn with seed {seed}" in splits["train"].note


@pytest.mark.parametrize("place", ["imagenet/annotations", "few-shot/imagenet/annotations"])
def test_noahs_lists_are_used_where_they_are(root: Path, place: str) -> None:
    """Its val is disjoint from seed 0 only: what another seed trains on is removed from it."""
    lines = [f"{WNIDS[c]}/{WNIDS[c]}_{n}.JPEG {c}" for c in CLASSES for n in range(16)]
    source = write(root / place / "train_meta.list.num_shot_16.seed_1", lines)
    val = write(
        root / place / "unofficial_val_list_4_shot16seed0", [line.replace("_9.", "_20.") for line in lines[9::16]]
    )
    write(val, [*val.read_text().splitlines(), lines[9]])
    splits = read(root, split_seed=1)
    assert (splits["train"].source, splits["val"].source) == (source, val)
    assert len(splits["train"]) == 160
    assert splits["val"].names == tuple(f"{WNIDS[c]}/{WNIDS[c]}_20.JPEG" for c in CLASSES)
    assert "1 images that are trained on removed from val" in splits["val"].note
    assert read(root, split_seed=0)["train"].source == root / "imagenet" / "train"  # no such list: drawn
    assert not inspect_task(IMAGENET, IMAGENET_TASK, root, {"split_seed": 1}).problems


def test_val_may_be_flat_or_in_class_folders(root: Path) -> None:
    flat = read(root)["test"]
    for name, label in zip(flat.names, flat.labels, strict=True):
        (root / "imagenet" / "val" / WNIDS[label]).mkdir(exist_ok=True)
        flat.path(flat.names.index(name)).rename(root / "imagenet" / "val" / WNIDS[label] / name)
    sorted_ = read(root)["test"]
    names = [name.split("/")[1] for name in sorted_.names]
    assert dict(zip(names, sorted_.labels, strict=True)) == dict(zip(flat.names, flat.labels, strict=True))


def test_coops_layout(root: Path) -> None:
    (root / "imagenet" / "images").mkdir()
    for part in ("train", "val"):
        (root / "imagenet" / part).rename(root / "imagenet" / "images" / part)
    assert not inspect_task(IMAGENET, IMAGENET_TASK, root, {}).problems


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [
        ("v2", "imagenetv2/imagenetv2-matched-frequency-format-val", "imagenetv2-matched-frequency-format-val"),
        ("v2", "imagenetv2", "imagenet-v2"),
        ("sketch", "imagenet-sketch/images", "imagenet-sketch/sketch"),
        ("a", "imagenet-adversarial/imagenet-a", "imagenet-a"),
        ("r", "imagenet-rendition", "imagenet-r"),
    ],
)
def test_names_of_folders_in_circulation(root: Path, key: str, old: str, new: str) -> None:
    before = imagenet.read_shift(key, root)
    (root / old).rename(root / new)
    after = imagenet.read_shift(key, root)
    assert (after.names, after.labels) == (before.names, before.labels)


def test_folders_of_v2_are_numbers(drawn: Path) -> None:
    found = imagenet.read_shift("v2", drawn)
    assert [int(name.split("/")[0]) for name in found.names] == list(found.labels)
    assert found.labels == tuple(c for c in CLASSES for _ in range(10))


def test_names_of_a_have_spaces(drawn: Path) -> None:
    found = imagenet.read_shift("a", drawn)
    assert all(" " in name for name in found.names)
    lines = [f"imagenet-a/{name} {label}" for name, label in zip(found.names, found.labels, strict=True)]
    assert lines[0].count(" ") == 5


def test_noahs_lists_of_the_shifts(root: Path) -> None:
    """First lines of the real lists, in the folder where NOAH has them."""
    real = {
        "v2": "imagenetv2-matched-frequency-format-val/361/0413d912b57ff280fe2600dd22504fb871b7a656.jpeg 361",
        "sketch": "images/n03764736/sketch_23.JPEG 653",
        "a": "imagenet-a/n07753592/0.003773_soap dispenser _ soap dispenser_0.28588653.jpg 954",
        "r": "imagenet-r/n04522168/cartoon_19.jpg 883",
    }
    for key, line in real.items():
        shift = imagenet.SHIFTS[key]
        name, label = line.rsplit(" ", 1)
        image = root / shift.folders[0] / name
        image.parent.mkdir(parents=True, exist_ok=True)
        image.touch()
        lines = [line] if key != "v2" else [line.replace(".jpeg", f"{n}.jpeg") for n in ("", *range(9))]
        write(root / "domain-generalization" / shift.folders[0] / "annotations" / "val_meta.list", lines)
        found = imagenet.read_shift(key, root)
        assert (found.names[0], found.labels[0], found.path(0)) == (name, int(label), image)


# What is wrong


def test_v2_sorted_as_strings_is_found_out(root: Path) -> None:
    """As ImageFolder would number the folders: 0, 1, 10, 100, 101, ..."""
    rank = {name: i for i, name in enumerate(sorted(map(str, range(1000))))}
    assert sum(int(name) == place for name, place in rank.items()) == 12
    found = imagenet.read_shift("v2", root)
    inner = imagenet.SHIFTS["v2"].inner[0]
    lines = [f"{inner}/{name} {rank[str(label)]}" for name, label in zip(found.names, found.labels, strict=True)]
    write(root / "imagenetv2" / "annotations" / "val_meta.list", lines)
    assert "not 3: folders sorted as strings, so 988 of 1,000 classes are wrong" in problem(root)
    right = [f"{inner}/{name} {label}" for name, label in zip(found.names, found.labels, strict=True)]
    write(root / "imagenetv2" / "annotations" / "val_meta.list", right)
    assert imagenet.read_shift("v2", root).labels == found.labels
    write(root / "imagenetv2" / "annotations" / "val_meta.list", [*right[:-1], right[-1].replace(" 999", " 7")])
    assert "has label 7, not 999: another class order" in problem(root)


def test_v2_of_another_version(root: Path) -> None:
    inner = root / "imagenetv2" / imagenet.SHIFTS["v2"].inner[0]
    for image in list((inner / "3").iterdir()):
        shutil.copy(image, image.with_name(f"again_{image.name}"))
    assert "110 images, 20 of a class, not 10: half unpacked or another version of imagenetv2" in problem(root)
    shutil.rmtree(inner / "3")
    (inner / "1000").mkdir()
    assert "the folder '1000' is no class of this set" in problem(root)
    shutil.rmtree(inner)
    shutil.copytree(root / "imagenet-sketch" / "images", inner)
    assert "its folders are wnids; those of the version in use are numbers" in problem(root)


def test_a_folder_of_no_class_of_a(root: Path) -> None:
    other = WNIDS[min(set(range(1000)) - set(imagenet.IMAGENET_A_CLASSES))]
    (root / "imagenet-adversarial" / "imagenet-a" / other).mkdir()
    assert f"the folder '{other}' is no class of this set" in problem(root)


def test_a_missing_class_folder_shifts_no_label(root: Path) -> None:
    before = imagenet.read_shift("sketch", root)
    shutil.rmtree(root / "imagenet-sketch" / "images" / WNIDS[3])
    after = imagenet.read_shift("sketch", root)
    kept = [i for i, label in enumerate(before.labels) if label != 3]
    assert after == before.take(kept)
    assert "27 images, expected 30" in problem(root)


def test_a_missing_shift_can_be_left_out(root: Path) -> None:
    shutil.rmtree(root / "imagenet-sketch")
    said = problem(root)
    assert "imagenet_sketch is missing: no class folders in" in said
    assert "leave it out of data.shifts" in said
    report = inspect_task(IMAGENET, IMAGENET_TASK, root, {"shifts": "v2 a r"})
    assert not report.problems
    assert "imagenet_sketch" not in report.splits
    assert "data.shifts 'c'" in problem(root, shifts="v2 c")


def test_half_unpacked(root: Path) -> None:
    base = root / "imagenet"
    for image in list((base / "train" / WNIDS[10]).iterdir())[:12]:
        image.unlink()
    assert "class n01530575 has 12 images, not 16: half unpacked?" in problem(root)
    shutil.rmtree(base / "train")
    (base / "train").mkdir()
    (base / "train" / "n01440764.tar").touch()
    assert f"no images below {base / 'train'}: unpack the archive there" in problem(root)
    shutil.rmtree(base / "train")
    assert f"no folder {base / 'train'} or {base / 'images' / 'train'}" in problem(root)
    shutil.rmtree(base)
    assert "imagenet is missing: no folder" in problem(root)
    assert "set data.root=FOLDER" in problem(root / "no")


def test_a_flat_val_needs_its_list(root: Path) -> None:
    (root / "imagenet" / "annotations" / "val_meta.list").unlink()
    assert "has no class folders, so the labels need" in problem(root)


def test_a_real_set_must_be_whole(root: Path) -> None:
    """The same sets without their markers are real ones, cut short."""
    for marker in root.rglob("FAKE.json"):
        marker.unlink()
    found = inspect_task(IMAGENET, IMAGENET_TASK, root, {}).problems
    assert [line.split(": ")[1] for line in found] == [
        "160 images, expected 16,000",
        *("20 images, expected 50,000", "100 images, expected 10,000", "30 images, expected 50,889"),
        *("9 images, expected 7,500", "12 images, expected 30,000"),
    ]


def test_a_list_in_another_order_of_classes(root: Path) -> None:
    lines = [f"{WNIDS[c]}/{WNIDS[c]}_{n}.JPEG {CLASSES.index(c)}" for c in CLASSES for n in range(16)]
    source = write(root / "imagenet" / "annotations" / "train_meta.list.num_shot_16.seed_0", lines)
    assert f"{source}: '{lines[16].split()[0]}' has label 1, not 3: another class order" in problem(root)


@pytest.mark.parametrize("options", [{"shots": 0}, {"shots": "16"}, {"split_seed": -1}, {"shots": 30}])
def test_options_that_cannot_be(drawn: Path, options: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        read(drawn, **options)
    assert problem(drawn, **options)


def test_lines_are_read_from_the_right(tmp_path: Path) -> None:
    source = write(tmp_path / "list", ["imagenet-a/n07753592/0.0_soap dispenser _ soap dispenser_0.2.jpg 954"])
    assert read_list(source, [tmp_path]).labels == (954,)
