"""Images of the user: what is read, how it is divided, and what is refused in one line."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

import glorabench
from glorabench.cli import main
from glorabench.config.compose import compose
from glorabench.data.folder import load
from glorabench.data.folders import checking
from glorabench.data.folders.checking import FolderReport, inspect_folder
from glorabench.data.folders.splitting import SplitOptions
from glorabench.data.images import decoding
from glorabench.errors import BadInput
from glorabench.records import record
from glorabench.records.outcomes import mean_outcome, pack
from glorabench.training.objectives.classification import Classification

SIDE = (12, 10)


def draw(path: Path, number: int, colour: int = 0) -> None:
    """A small image that no other number gives; classes have colours."""
    rng = np.random.default_rng([colour, number])
    pixels = rng.integers(0, 60, (*SIDE[::-1], 3)) + [60 * (colour == channel) for channel in range(3)]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def class_folders(root: Path, counts: Mapping[str, int], start: int = 0, suffix: str = ".png") -> Path:
    """A folder of class folders."""
    for colour, (name, count) in enumerate(counts.items()):
        for i in range(count):
            draw(root / name / f"{i:03d}{suffix}", start + i, colour)
    return root


def split_folders(root: Path, splits: Mapping[str, int]) -> Path:
    """Folders of splits, with as many images of each of two classes."""
    for place, (name, count) in enumerate(splits.items()):
        class_folders(root / name, {"cat": count, "dog": count}, 1000 * place)
    return root


def look(root: Path, cache: Path, **options: Any) -> FolderReport:
    return inspect_folder(root, "own", SplitOptions(**options), cache)


def names_of(report: FolderReport) -> dict[str, set[str]]:
    return {split: set(listing.names) for split, listing in report.report.splits.items()}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_upstream: None) -> Path:
    """A cache of its own, and nothing remembered of other tests."""
    checking._inspect.cache_clear()
    monkeypatch.setenv("GLORABENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


# --- what is read


def test_class_folders_are_divided_by_class(tmp_path: Path, cache: Path) -> None:
    root = class_folders(tmp_path / "pets", {"cat": 20, "dog": 7, "emu": 3})
    report = look(root, cache)
    assert (report.report.problems, report.classes) == ((), ("cat", "dog", "emu"))
    counts = {split: Counter(listing.labels) for split, listing in report.report.splits.items()}
    assert counts["test"] == counts["val"] == {0: 4, 1: 1, 2: 1}
    assert counts["train"] == {0: 12, 1: 5, 2: 1}
    names = names_of(report)
    assert not names["train"] & names["val"]
    assert not names["test"] & names["trainval"]
    assert names["trainval"] == names["train"] | names["val"]
    assert names_of(look(root, cache)) == names
    assert names_of(look(root, cache, split_seed=1)) != names


def test_a_draw_does_not_depend_on_other_classes_or_on_the_place(tmp_path: Path, cache: Path) -> None:
    one = class_folders(tmp_path / "one", {"cat": 9, "dog": 9})
    two = class_folders(tmp_path / "two", {"cat": 9, "dog": 6, "emu": 5})
    cats = [{n for n in names_of(look(root, cache))["test"] if n.startswith("cat/")} for root in (one, two)]
    assert cats[0] == cats[1]
    copy = shutil.copytree(one, tmp_path / "copy")
    assert look(one, cache).report.fingerprint == look(copy, cache).report.fingerprint


@pytest.mark.parametrize(
    ("folders", "words", "sizes"),
    [
        ({"train": 10, "val": 3, "test": 4}, "train and val and test as given", (20, 6, 8)),
        ({"Training": 10, "validation": 3, "test": 4}, "train and val and test as given", (20, 6, 8)),
        ({"train": 10, "test": 4}, "val drawn by class", (16, 4, 8)),
        ({"train": 10, "valid": 3}, "test drawn by class", (16, 6, 4)),
        ({"train": 10}, "test and val drawn by class", (12, 4, 4)),
    ],
)
def test_folders_of_splits(
    folders: Mapping[str, int], words: str, sizes: tuple[int, ...], tmp_path: Path, cache: Path
) -> None:
    report = look(split_folders(tmp_path / "pets", folders), cache)
    assert report.report.problems == ()
    assert tuple(len(report.report.splits[split]) for split in ("train", "val", "test")) == sizes
    assert words in report.origin


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("own.csv", "path,label\n{rows}"),
        ("own.csv", "Class;File Name\n{swapped}"),
        ("own.tsv", "image\ttarget\n{tabs}"),
        ("own.jsonl", "{lines}"),
    ],
)
def test_lists(name: str, text: str, tmp_path: Path, cache: Path) -> None:
    folder = class_folders(tmp_path / "images", {"7": 5, "10": 5})
    paths = [(f"images/{path.relative_to(folder)}", path.parent.name) for path in sorted(folder.rglob("*.png"))]
    rows = {
        "rows": "\n".join(map(",".join, paths)),
        "swapped": "\n".join(f"{label};{path}" for path, label in paths),
        "tabs": "\n".join(map("\t".join, paths)),
        "lines": "\n".join(json.dumps({"img": path, "category": int(label)}) for path, label in paths),
    }
    (tmp_path / name).write_text(text.format(**rows))
    report = look(tmp_path / name, cache)
    assert report.report.problems == ()
    assert report.classes == ("7", "10"), "numbers are in the order of numbers"
    sizes = {split: len(listing) for split, listing in report.report.splits.items()}
    assert sizes == {"train": 6, "val": 2, "test": 2, "trainval": 8}
    labels = [report.classes[label] for label in report.report.splits["trainval"].labels]
    assert labels == [Path(name).parent.name for name in report.report.splits["trainval"].names]


def test_a_list_with_splits(tmp_path: Path, cache: Path) -> None:
    root = split_folders(tmp_path / "pets", {"a": 3, "b": 2, "c": 2})
    split_of = {"a": "train", "b": "dev", "c": "test"}
    rows = [(p.relative_to(tmp_path), p.parent.name, split_of[p.parts[-3]]) for p in sorted(root.rglob("*.png"))]
    with (tmp_path / "own.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    report = look(tmp_path / "own.csv", cache)
    assert report.report.problems == ()
    assert {split: len(each) for split, each in report.report.splits.items()} == {
        "train": 6, "val": 4, "test": 4, "trainval": 10,
    }  # fmt: skip


def test_a_part_of_train_is_drawn(tmp_path: Path, cache: Path) -> None:
    root = class_folders(tmp_path / "pets", {"cat": 30, "dog": 10})  # train 18 and 6
    whole = names_of(look(root, cache))
    expected = {"shots": (2, {0: 2, 1: 2}), "per_class": (8, {0: 8, 1: 6}), "fraction": (0.25, {0: 5, 1: 2})}
    for key, (value, counts) in expected.items():
        report = look(root, cache, **{key: value})
        train, names = report.report.splits["train"], names_of(report)
        assert Counter(train.labels) == counts
        assert names["train"] == names["trainval"] < whole["train"]
        assert (names["val"], names["test"]) == (whole["val"], whole["test"])
    few, more = (names_of(look(root, cache, shots=shots))["train"] for shots in (2, 4))
    assert few < more


def test_copies_of_an_image_stay_together(tmp_path: Path, cache: Path) -> None:
    root = class_folders(tmp_path / "pets", {"cat": 9, "dog": 9})
    for path in list(root.rglob("*.png")):
        shutil.copy(path, path.with_name(f"z{path.name}"))
    report = look(root, cache)
    assert report.report.problems == ()
    assert {split: len(each) for split, each in report.report.splits.items()} == {
        "train": 20, "val": 8, "test": 8, "trainval": 28,
    }  # fmt: skip


MODES = ("L", "P", "RGBA", "CMYK", "1", "LA", "I;16")


def test_every_mode_is_read(tmp_path: Path, cache: Path) -> None:
    root = class_folders(tmp_path / "pets", {"cat": 3, "dog": 3})
    path = root / "cat" / "next.png"
    for number, mode in enumerate(MODES):
        draw(path, 100 + number)
        with Image.open(path) as image:
            grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
            other = Image.fromarray(grey) if mode == "I;16" else image.convert(mode)
        other.save(root / "cat" / f"mode{number}.{'tif' if mode == 'CMYK' else 'png'}")
    path.unlink()
    frames = [Image.new("RGB", SIDE, colour) for colour in ("red", "blue")]
    frames[0].save(root / "dog" / "film.gif", save_all=True, append_images=frames[1:])
    report = look(root, cache)
    assert report.report.problems == ()
    assert sum(len(report.report.splits[split]) for split in ("trainval", "test")) == 7 + len(MODES)
    pixel = decoding.decode(root / "dog" / "film.gif").getpixel((0, 0))
    assert pixel in ((255, 0, 0), (254, 0, 0))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_exif_rotation_is_honoured_and_counted(suffix: str, tmp_path: Path, cache: Path) -> None:
    root = class_folders(tmp_path / "pets", {"cat": 3, "dog": 3})
    image = Image.new("RGB", (16, 8), "black")
    image.paste((255, 255, 255), (0, 0, 8, 8))  # the left half is white
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise: then the upper half is white
    image.save(path := root / "cat" / f"turned{suffix}", exif=exif)
    upright = np.asarray(decoding.decode(path, upright=True))
    assert upright.shape == (16, 8, 3)
    assert upright[:7].min() > 200
    assert upright[9:].max() < 50
    assert look(root, cache).turn_count == 1


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_turns_nothing(tmp_path: Path) -> None:
    Image.new("RGB", SIDE).save(path := tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff\xff")
    assert decoding.decode(path, upright=True).size == SIDE


# --- what is refused


def refusals(root: Path) -> dict[str, str]:
    """A folder with a fault below `root`, and a word of the message that names it."""
    (root / "empty").mkdir(parents=True)
    class_folders(root / "one", {"cat": 5})
    class_folders(root / "single", {"cat": 5, "dog": 1})
    split_folders(root / "differ", {"train": 5, "val": 3, "test": 3})
    shutil.rmtree(root / "differ" / "val" / "dog")
    draw(root / "loose" / "a.png", 1)
    split_folders(root / "untrained", {"val": 3, "test": 3})
    split_folders(root / "twice", {"train": 5, "val": 3, "valid": 3})
    split_folders(root / "leak", {"train": 5, "val": 3, "test": 3})
    shutil.copy(root / "leak" / "train" / "cat" / "000.png", root / "leak" / "test" / "cat" / "other.png")
    class_folders(root / "broken", {"cat": 5, "dog": 5})
    (root / "broken" / "cat" / "note.jpg").write_text("no image")
    class_folders(root / "wrapped" / "inner", {"cat": 5, "dog": 5})
    return {
        "empty": "no images",
        "one": "has one class, 'cat'",
        "single": "class 'dog' has 1 image",
        "differ": "class 'dog' is in train, but not in val",
        "loose": "put the images of each class into a folder",
        "untrained": "no train",
        "twice": "both val",
        "leak": "data.allow_duplicates=true",
        "broken": "note.jpg",
        "wrapped": f"data.root={root / 'wrapped' / 'inner'}",
        "nowhere": "no folder or file",
    }


def test_a_folder_with_a_fault_is_refused_in_one_line(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, word in refusals(tmp_path / "roots").items():
        root = tmp_path / "roots" / name
        (problem,) = look(root, cache).report.problems
        assert word in problem
        assert "\n" not in problem
        with pytest.raises(BadInput, match=re.escape(word)):
            load(str(root), str(cache))
        assert main(["data", "check", "folder", f"root={root}"]) == 2
    assert "Traceback" not in capsys.readouterr().err


LISTS = {
    "missing.csv": ("path,label\na.png,cat\nb.png,dog\nc.png,dog\n", "line 3: no image b.png (2 of 3"),
    "unknown.csv": ("photo,label\na.png,cat\n", "no column of paths: its columns are 'photo', 'label'"),
    "headless.csv": ("a.png,cat\na.png,dog\n", "the first line of a CSV file must name the columns"),
    "several.csv": ("path,label\na.png,cat|dog\n", "line 2: the label is 'cat|dog'"),
    "commas.csv": ('path,label\na.png,cat\na2.png,dog\na3.png,"cat, dog"\n', "line 4: the label is 'cat, dog'"),
    "twice.csv": ("path,label\na.png,cat\na.png,dog\n", "lines 2 and 3: a.png has the labels 'cat' and 'dog'"),
    "lists.jsonl": ('{"path": "a.png", "label": ["cat", "dog"]}\n', "label holds 2 values"),
    "numbers.csv": ("path,label\na.png,1.5\na2.png,2.0\n", "regression is not supported"),
    "unlabelled.csv": ("path,label\na.png,\n", "line 2: no label"),
    "pathless.csv": ("path,label\n,cat\n", "line 2: no path"),
    "split.csv": ("path,label,split\na.png,cat,fold1\n", "line 2: split is 'fold1'"),
    "wide.csv": ("path,label\na.png,cat,dog\n", "line 2: more cells"),
    "bare.csv": ("path,label\n", "lists no images"),
    "text.jsonl": ("a.png cat\n", "line 1: no JSON object"),
    "other.xlsx": ("PK", "ends with .csv"),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_with_a_fault_is_refused_in_one_line(name: str, tmp_path: Path, cache: Path) -> None:
    for number, image in enumerate(("a.png", "a2.png", "a3.png")):
        draw(tmp_path / image, number)
    text, word = LISTS[name]
    (tmp_path / name).write_text(text)
    (problem,) = look(tmp_path / name, cache).report.problems
    assert word in problem
    assert "\n" not in problem


def test_a_class_may_have_a_comma_in_its_name(tmp_path: Path, cache: Path) -> None:
    class_folders(tmp_path, {"bird, small": 4, "bird": 4})
    assert look(tmp_path, cache).report.problems == ()
    rows = [(f"{p.parent.name}/{p.name}", p.parent.name) for p in tmp_path.rglob("*.png")]
    with (tmp_path / "own.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *rows])
    assert look(tmp_path / "own.csv", cache).classes == ("bird", "bird, small")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"shots": 0}, "data.shots"),
        ({"fraction": 1.5}, "data.fraction"),
        ({"fraction": True}, "data.fraction"),
        ({"val_share": 0}, "data.val_share"),
        ({"val_share": 0.6, "test_share": 0.5}, "data.val_share=0.6 and data.test_share=0.5"),
        ({"shots": 1, "per_class": 2}, "data.shots and data.per_class"),
        ({"split_seed": -1}, "data.split_seed"),
    ],
)
def test_an_option_that_is_none_is_refused(options: dict[str, Any], word: str) -> None:
    with pytest.raises(BadInput, match=word):
        SplitOptions(**options)


def test_more_shots_than_images_are_refused(tmp_path: Path, cache: Path) -> None:
    root = class_folders(tmp_path / "pets", {"cat": 30, "dog": 10})
    (problem,) = look(root, cache, shots=7).report.problems
    assert "data.shots=7, but class 'dog' has 6 images" in problem


def test_an_image_in_train_and_test_is_refused_unless_that_is_allowed(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = split_folders(tmp_path / "leak", {"train": 5, "val": 3, "test": 3})
    shutil.copy(root / "train" / "cat" / "000.png", root / "test" / "cat" / "other.png")
    command = ["run", "method=linear", "data=folder", f"data.root={root}", f"results_dir={tmp_path / 'results'}"]
    assert main([*command, "backbone=vit_mini"]) == 2
    assert "1 image of test is also in train" in capsys.readouterr().err
    allowed = look(root, cache, allow_duplicates=True).report
    assert allowed.problems == ()
    assert "1 image of test is also in train" in allowed.overlaps[0]


@pytest.mark.parametrize("words", [["run", "data=folder", "results_dir={}/results"], ["data", "check", "folder"]])
def test_a_root_is_needed(words: list[str], tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word.format(tmp_path) for word in words]) == 2
    assert "data=folder needs data.root=FOLDER" in capsys.readouterr().err


def saved_dataset(root: Path, files: Sequence[Path], label: Any = None) -> datasets.Dataset:
    """Images in class folders as Hugging Face `datasets` saves them; the class is a ClassLabel."""
    classes = sorted({file.parent.name for file in files})
    kinds = datasets.Features({"image": datasets.Image(), "label": label or datasets.ClassLabel(names=classes)})
    columns = {"image": list(map(str, files)), "label": [file.parent.name for file in files]}
    saved = datasets.Dataset.from_dict(columns, kinds)
    saved.save_to_disk(str(root))
    return saved


def test_a_saved_dataset_is_read(tmp_path: Path, cache: Path) -> None:
    folder = class_folders(tmp_path / "images", {"cat": 5, "dog": 5})
    saved_dataset(tmp_path / "saved", sorted(folder.rglob("*.png")))
    report, same = look(tmp_path / "saved", cache), look(folder, cache)
    assert (report.report.problems, report.classes) == ((), ("cat", "dog"))
    assert report.report.fingerprint == same.report.fingerprint
    shutil.rmtree(folder)  # the saved data set holds the images themselves
    shutil.rmtree(cache)
    assert look(tmp_path / "saved", cache).report.fingerprint == report.report.fingerprint


def test_a_saved_dataset_keeps_its_splits(tmp_path: Path, cache: Path) -> None:
    root = split_folders(tmp_path / "pets", {"train": 8, "validation": 3, "test": 4})
    splits = {
        split.name: saved_dataset(tmp_path / "parts" / split.name, sorted(split.rglob("*.png")))
        for split in root.iterdir()
    }
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "saved"))
    report = look(tmp_path / "saved", cache)
    assert report.report.problems == ()
    assert report.report.fingerprint == look(root, cache).report.fingerprint
    sizes = {split: len(listing) for split, listing in report.report.splits.items()}
    assert sizes == {"train": 16, "val": 6, "test": 8, "trainval": 22}


def test_pictures_shuffled_in_several_files_are_read(tmp_path: Path, cache: Path) -> None:
    pictures = [Image.new("RGB" if i % 2 else "L", (9, 7), 20 * i) for i in range(12)]  # no files: saved as PNG
    kinds = datasets.Features({"label": datasets.ClassLabel(names=["even", "odd"]), "picture": datasets.Image()})
    saved = datasets.Dataset.from_dict({"label": [i % 2 for i in range(12)], "picture": pictures}, kinds)
    saved.shuffle(seed=1).save_to_disk(str(tmp_path / "saved"), num_shards=3)
    report = look(tmp_path / "saved", cache)
    assert (report.report.problems, report.classes) == ((), ("even", "odd"))
    trained = report.report.splits["trainval"]
    for i, label in enumerate(trained.labels):
        value = decoding.decode(trained.path(i)).getpixel((0, 0))
        pixel = value[0] if isinstance(value, tuple) else value  # an RGB image from one number has it in red
        assert pixel // 20 % 2 == label


def test_a_run_on_a_saved_dataset(tmp_path: Path, cache: Path) -> None:
    folder = class_folders(tmp_path / "images", {"cat": 10, "dog": 10})
    saved_dataset(tmp_path / "pets", sorted(folder.rglob("*.png")))
    words = ["method=linear", "data=folder", f"data.root={tmp_path / 'pets'}", "train.epochs=1", "logger=none"]
    (result,) = glorabench.run(*words, "latency_rounds=0", f"results_dir={tmp_path / 'results'}")
    assert (result.status, result.names["task"], result.metrics["n"]) == ("done", "pets", 4)
    assert result.provenance["data"]["class_names"] == ["cat", "dog"]


@pytest.mark.parametrize(("label", "word"), [
    (datasets.Value("string"), "no column of classes (ClassLabel); its columns are image, label"),
    (datasets.ClassLabel(names=["cat", "cow"]), "label is None, which is none of its 2 classes"),
])  # fmt: skip
def test_a_saved_dataset_without_classes_is_refused(label: Any, word: str, tmp_path: Path, cache: Path) -> None:
    draw(tmp_path / "cat" / "0.png", 0)
    columns = {"image": [str(tmp_path / "cat" / "0.png")] * 2, "label": ["cat", None]}
    kinds = datasets.Features({"image": datasets.Image(), "label": label})
    datasets.Dataset.from_dict(columns, kinds).save_to_disk(str(tmp_path / "saved"))
    (problem,) = look(tmp_path / "saved", cache).report.problems
    assert word in problem


@pytest.mark.parametrize("damage", ["cut", "text", "gone"])
def test_a_damaged_saved_dataset_is_refused(damage: str, tmp_path: Path, cache: Path) -> None:
    folder = class_folders(tmp_path / "images", {"cat": 5, "dog": 5})
    saved_dataset(tmp_path / "saved", sorted(folder.rglob("*.png")))
    (file,) = (tmp_path / "saved").glob("*.arrow")
    content = file.read_bytes()
    file.unlink()
    if damage != "gone":
        file.write_bytes(content[: len(content) // 2] if damage == "cut" else b"no Arrow file" * 9)
    (problem,) = look(tmp_path / "saved", cache).report.problems
    assert "save the data set again" in problem
    assert "\n" not in problem


def test_pyarrow_is_asked_for_where_it_is_needed(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = class_folders(tmp_path / "images", {"cat": 5, "dog": 5})
    saved_dataset(tmp_path / "saved", sorted(folder.rglob("*.png")))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (problem,) = look(tmp_path / "saved", cache).report.problems
    assert "pip install pyarrow" in problem


# --- what a run makes of it


def test_macro_accuracy_is_the_mean_of_the_classes() -> None:
    labels = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 3])
    right = torch.tensor([1, 1, 1, 1, 1, 0, 0, 1, 0], dtype=torch.bool)
    objective = Classification(5, 0.0, balanced=True)
    values = objective.whole_split({"top1": right}, {"label": labels})
    assert mean_outcome(pack(values["macro"].tolist()), "reals") == pytest.approx((5 / 6 + 1 / 2 + 0) / 3, abs=1e-7)
    assert [metric.name for metric in objective.metrics] == ["top1", "macro"]
    plain = Classification(5, 0.0)
    assert plain.whole_split({"top1": right}, {"label": labels}) == {}
    assert [metric.name for metric in plain.metrics] == ["top1"]


def test_a_check_shows_the_classes(tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = class_folders(tmp_path / "pets", {"cat": 5, "dog": 5})
    (root / "cat" / "notes.md").touch()
    assert main(["data", "check", "folder", f"root={root}", "deep=true", "shots=2"]) == 0
    said = capsys.readouterr().out
    assert "2 classes: cat, dog" in said
    assert "1 files are no images by their names (first: cat/notes.md)" in said
    assert "train is 4 of 6 images (shots=2)" in said


def test_a_run_on_a_folder(tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = class_folders(tmp_path / "pets", {"cat": 30, "dog": 20, "emu": 10}, suffix=".jpg")
    results = tmp_path / "results"
    words = ["run", "method=linear", "data=folder", f"data.root={root}", "backbone=vit_mini", "train.epochs=1"]
    words += ["latency_rounds=0", f"results_dir={results}"]
    assert main(words) == 0
    capsys.readouterr()
    assert main(["table", "folder", "--notes", "--results", str(results)]) == 0
    assert "pets: macro accuracy" in capsys.readouterr().out
    (path,) = (results / "runs" / "folder").glob("*.json")
    first = record.read_record(path)
    assert {"top1", "macro", "n"} == first.metrics.keys()
    assert first.metrics["n"] == 12
    data = first.provenance["data"]
    assert data["class_names"] == ["cat", "dog", "emu"]
    assert data["exif"] == "0 images turned"
    with (cache / data["split_file"]).open(newline="") as file:
        assert Counter(row["split"] for row in csv.DictReader(file)) == {"train": 36, "val": 12, "test": 12}

    moved = shutil.move(root, tmp_path / "elsewhere" / "pets")
    capsys.readouterr()
    assert main([word.replace(str(root), str(moved)) for word in words]) == 0
    assert "1 of 1 found" in capsys.readouterr().out

    checking._inspect.cache_clear()  # as a new process
    draw(moved / "cat" / "000.jpg", 999)
    changed = compose([word.replace(str(root), str(moved)) for word in words[1:]])
    assert record.run_id(changed) != first.run_id


def test_the_place_of_the_images_does_not_name_a_run(tmp_path: Path, cache: Path) -> None:
    root = class_folders(tmp_path / "a" / "pets", {"cat": 5, "dog": 5})
    copy = shutil.copytree(root, tmp_path / "b" / "pets")
    ids = {record.run_id(compose(["data=folder", f"data.root={each}"])) for each in (root, copy)}
    assert len(ids) == 1
    named = [compose(["data=folder", f"data.root={each}", "data.task=own"]) for each in (root, copy)]
    assert {config["names"]["task"] for config in named} == {"own"}
