"""`glorabench data`: every fault of a data set on disk is named; fake sets are right and say that they are fake."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from glorabench.cli import main
from glorabench.config.compose import compose
from glorabench.data.checks import inspect
from glorabench.data.checks.image_files import check_image_file
from glorabench.data.checks.inspect import Report
from glorabench.data.images import decoding
from glorabench.data.suites import fake, vtab1k
from glorabench.data.suites.registry import FAKES, SUITES
from glorabench.data.suites.suite import SuiteTask
from glorabench.errors import BadInput

ROW = vtab1k.VTAB1K.row("cifar")


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of VTAB-1k, fake; nobody changes it."""
    root = tmp_path_factory.mktemp("vtab")
    vtab1k.write_fake_vtab1k(root, full=False)
    return root


@pytest.fixture
def root(drawn: Path, tmp_path: Path) -> Path:
    """Two tasks of it, to be damaged."""
    for task in ("cifar", "caltech101"):
        shutil.copytree(drawn / "vtab-1k" / task, tmp_path / "vtab-1k" / task)
    return tmp_path


@pytest.fixture
def task(root: Path) -> Path:
    return root / "vtab-1k" / "cifar"


def inspected(root: Path, **level: bool) -> Report:
    return inspect.inspect_task(vtab1k.VTAB1K, ROW, root, {}, **level)


def problem(root: Path, **level: bool) -> str:
    """The one problem, one line."""
    (found,) = inspected(root, **level).problems
    assert "\n" not in found
    return found


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_rows_add_up_to_vtab() -> None:
    assert len(vtab1k.VTAB_TASKS) == 19
    assert sum(row.sizes["test"][0] for row in vtab1k.VTAB_TASKS) == 387_904
    assert [row.classes for row in vtab1k.VTAB_TASKS] == [
        *(100, 102, 47, 102, 37, 10, 397), *(2, 10, 45, 5), *(8, 6, 6, 4, 16, 16, 18, 9)
    ]  # fmt: skip
    names = [name for row in vtab1k.VTAB_TASKS for name in (row.name, *row.aliases)]
    assert len(names) == len(set(names))
    assert vtab1k.VTAB1K.row("pcam").name == "patch_camelyon"


VPTS = {  # what VPT's code calls its data sets
    *("vtab-cifar(num_classes=100)", "vtab-caltech101", "vtab-dtd", "vtab-oxford_flowers102", "vtab-oxford_iiit_pet"),
    *("vtab-svhn", "vtab-sun397", "vtab-patch_camelyon", "vtab-eurosat", "vtab-resisc45"),
    *('vtab-diabetic_retinopathy(config="btgraham-300")', 'vtab-clevr(task="count_all")'),
    *('vtab-clevr(task="closest_object_distance")', "vtab-dmlab", 'vtab-kitti(task="closest_vehicle_distance")'),
    'vtab-dsprites(predicted_attribute="label_x_position",num_classes=16)',
    'vtab-dsprites(predicted_attribute="label_orientation",num_classes=16)',
    'vtab-smallnorb(predicted_attribute="label_azimuth")',
    'vtab-smallnorb(predicted_attribute="label_elevation")',
}  # fmt: skip


@pytest.mark.parametrize("change", [str, lambda name: name.replace('"', ""), lambda name: name.replace(",", ", ")])
def test_vpts_names_are_understood_with_and_without_their_quotes(change: Callable[[str], str]) -> None:
    found = {vtab1k.VTAB1K.row(change(name)).name for name in VPTS}
    assert found == {row.name for row in vtab1k.VTAB_TASKS}
    assert {vtab1k.VTAB1K.row(change(name.removeprefix("vtab-"))).name for name in VPTS} == found
    words = ["data=vtab1k", "data.root=/nowhere", "data.task='vtab-clevr(task=\"count_all\")'"]
    assert compose(words)["data"]["task"] == "clevr_count"


@pytest.mark.parametrize("row", vtab1k.VTAB_TASKS, ids=lambda row: row.name)
def test_a_fake_task_is_right_and_marked(drawn: Path, row: SuiteTask) -> None:
    report = inspect.inspect_task(vtab1k.VTAB1K, row, drawn, {}, deep=True)
    assert report.problems == ()
    assert report.fake
    assert report.extraction == "jpeg"
    assert {split: len(found) for split, found in report.splits.items()} == fake.read_marker(
        drawn / "vtab-1k" / row.name, "vtab1k"
    )
    for listing in report.splits.values():
        assert {min(listing.labels), max(listing.labels)} == {0, row.classes - 1}
    train, both = report.splits["train"], report.splits["trainval"]
    assert train.path(3).read_bytes() == both.path(3).read_bytes()


def test_kitti_stays_wide(drawn: Path) -> None:
    with Image.open(drawn / "vtab-1k/kitti/images/test/000000.jpg") as image:
        assert image.width > 3 * image.height


def test_the_root_may_be_the_folder_of_the_tasks(root: Path) -> None:
    inner, outer = inspected(root / "vtab-1k"), inspected(root)
    assert inner.problems == ()
    assert inner.fingerprint == outer.fingerprint


def test_what_has_no_marker_is_held_to_the_true_counts(root: Path, task: Path) -> None:
    (task / fake.MARKER).unlink()
    report = inspected(root)
    assert not report.fake
    assert [p.split(": ")[1].split(",")[0] for p in report.problems] == [
        "24 images",
        "8 images",
        "32 images",
        "16 images",
    ]


def test_a_missing_task(root: Path) -> None:
    report = inspect.inspect_task(vtab1k.VTAB1K, vtab1k.VTAB1K.row("dtd"), root, {})
    assert report.has_no_folder
    assert "dtd is missing" in report.problems[0]


def test_a_truncated_list(root: Path, task: Path) -> None:
    path = task / "train800.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-5]))
    assert f"{path}: 19 images, expected 24 or 800: truncated" in problem(root)
    path.write_text(path.read_text()[:-20])  # in the middle of a line
    assert f"{path}, line 19: " in problem(root)


def test_a_label_out_of_range(root: Path, task: Path) -> None:
    edit(task / "val200.txt", "000003.jpg 99", "000003.jpg 100")
    assert problem(root).startswith(f"{task / 'val200.txt'}, line 4: label 100, but cifar has 100 classes, 0 to 99")


def test_a_list_that_names_a_missing_file(root: Path, task: Path) -> None:
    edit(task / "test.txt", "000007.jpg", "7.jpg")
    report = inspected(root)
    assert report.problems[0].startswith(f"{task / 'images/test/7.jpg'} is missing or empty (1 of 16 images")
    assert report.fingerprint is None
    assert set(report.fingerprints) == {"train", "val", "trainval"}


def test_a_half_unpacked_archive(root: Path, task: Path) -> None:
    shutil.rmtree(task / "images" / "test")
    assert "16 of 16 images" in problem(root)
    (task / "images/train800/000000.jpg").write_bytes(b"")
    assert len(inspected(root).problems) == 2
    (task / "test.txt").unlink()
    assert f"no list {task / 'test.txt'}: unpack the archive again, whole" in problem(root)


@pytest.mark.parametrize("keep", [0.5, -2], ids=["half", "without its end"])
def test_a_truncated_jpeg(root: Path, task: Path, keep: float) -> None:
    path = task / "images/train800/000011.jpg"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep) if keep > 0 else int(keep)])
    for level in ({"ends": True}, {"deep": True}):
        assert f"{path} is truncated or damaged" in problem(root, **level)


def test_a_truncated_jpeg_outside_the_sample_needs_no_decoding(root: Path, task: Path) -> None:
    for index in range(24):
        path = task / f"images/train800/{index:06d}.jpg"
        whole = path.read_bytes()
        path.write_bytes(whole[:-40])
        assert str(path) in problem(root, ends=True)
        path.write_bytes(whole)


def test_bytes_after_the_end_of_a_jpeg_are_no_fault(root: Path, task: Path) -> None:
    with (task / "images/test/000000.jpg").open("ab") as file:
        file.write(b"\0" * 50)
    assert inspected(root, ends=True).problems == ()


def test_damage_in_the_middle_needs_deep(root: Path, task: Path) -> None:
    path = task / "images/trainval.png"
    Image.open(task / "images/train800val200/000005.jpg").save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    edit(task / "train800val200.txt", "images/train800val200/000005.jpg", "images/trainval.png")
    assert f"{path} is truncated or damaged" in "\n".join(inspected(root, deep=True).problems)


def test_a_text_named_as_an_image(root: Path, task: Path) -> None:
    path = task / "images/test/000004.jpg"
    path.write_text("<html>404 Not Found</html>\n")
    assert problem(root, ends=True) == f"{path} is no image: fetch it again"


def test_many_broken_images_are_counted(root: Path, task: Path) -> None:
    for path in (task / "images/test").iterdir():
        path.write_text("no image")
    problems = inspected(root).problems
    assert len(problems) == 6
    assert "11 more" in problems[-1]


def lossless(task: Path, names: str = "*") -> None:
    """Pictures of a task as PNG, under their names: a reader looks at what is in a file."""
    for path in task.glob(f"images/*/{names}.jpg"):
        with Image.open(path) as image:
            image.load()
        image.save(path, "PNG")


def test_lossless_is_told_from_jpeg(root: Path, task: Path) -> None:
    before = inspected(root)
    lossless(task)
    after = inspected(root)
    assert (before.extraction, after.extraction) == ("jpeg", "lossless")
    assert after.problems == ()
    assert before.fingerprint != after.fingerprint


def test_both_extractions_in_one_task(root: Path, task: Path) -> None:
    lossless(task, "000003")
    assert "000003.jpg is lossless, most images of cifar are not: two extractions" in problem(root)
    unlike = replace(vtab1k.VTAB1K, alike=False)  # raw sets have a PNG here and there
    assert inspect.inspect_task(unlike, ROW, root, {}).problems == ()


@pytest.mark.parametrize(("count", "right"), [(6_083, False), (6_084, True), (6_085, True), (6_086, False)])
def test_caltech_has_6084_or_6085_images(root: Path, count: int, right: bool) -> None:
    folder = root / "vtab-1k" / "caltech101"
    (folder / "test.txt").write_text("".join(f"images/test/{i % 16:06d}.jpg {i % 102}\n" for i in range(count)))
    (folder / fake.MARKER).unlink()
    found = inspect.inspect_task(vtab1k.VTAB1K, vtab1k.VTAB1K.row("caltech101"), root, {}).problems
    said = [line for line in found if line.startswith(str(folder / "test.txt"))]
    assert said == ([] if right else [line for line in said if "expected 6,084 or 6,085" in line])
    assert bool(said) != right


def test_a_suite_may_ask_for_every_class(root: Path, task: Path) -> None:
    strict = replace(vtab1k.VTAB1K, complete=True)
    found = inspect.inspect_task(strict, ROW, root, {}).problems
    assert f"{task / 'train800.txt'}: 4 of 100 classes occur" in found[0]


def test_a_marker_that_cannot_be_read(root: Path, task: Path) -> None:
    (task / fake.MARKER).write_text("{")
    assert f"{task / fake.MARKER} cannot be read" in problem(root)


def test_a_folder_of_another_suite_does_not_hide_a_task(root: Path, task: Path) -> None:
    """Few-shot Pets and Flowers have folders of VTAB-1k's names, nearer to the root."""
    before = inspected(root)
    (root / "cifar" / "annotations").mkdir(parents=True)
    assert inspected(root) == before
    (task / "train800.txt").unlink()  # one of four lists is enough to be told
    assert "train800.txt: unpack" in problem(root)
    shutil.rmtree(task)
    assert f"no list {root / 'cifar' / 'train800.txt'}" in problem(root)


def test_a_marker_is_of_its_suite(root: Path, task: Path) -> None:
    sizes = fake.read_marker(task, "vtab1k")
    assert sizes is not None
    fake.write_marker(task, "fewshot", {"test": 1})
    report = inspected(root)
    assert not report.fake
    assert any("16 images, expected 10,000" in said for said in report.problems)
    (task / fake.MARKER).write_text(json.dumps({"sizes": sizes}))  # as they were written before
    assert inspected(root).fake
    assert inspected(root).problems == ()


def test_a_run_says_of_a_damaged_image_what_the_check_says(task: Path) -> None:
    path = task / "images/test/000004.jpg"
    whole = path.read_bytes()
    for damage in (whole[: len(whole) // 2], b"no image", b"", whole[:30]):
        path.write_bytes(damage or whole[:-200])
        with pytest.raises(BadInput) as said:
            decoding.decode_for_run(path)
        assert str(said.value) == check_image_file(str(path), whole=True).fault


def test_the_fingerprint_is_of_the_data_alone(root: Path, task: Path, tmp_path: Path) -> None:
    before = inspected(root)
    shutil.copytree(root / "vtab-1k", tmp_path / "elsewhere")
    assert inspected(tmp_path / "elsewhere") == replace(before, splits=inspected(tmp_path / "elsewhere").splits)
    fake.draw_fake_image(task / "images/test/000000.jpg", 0, 77, (32, 32))
    after = inspected(root)
    assert {s for s in before.fingerprints if after.fingerprints[s] != before.fingerprints[s]} == {"test"}


def test_drawing_is_a_function_of_its_arguments(tmp_path: Path) -> None:
    for name, label, number in (("a.jpg", 1, 2), ("b.jpg", 1, 2), ("c.jpg", 1, 3), ("d.png", 1, 2), ("e.JPEG", 1, 2)):
        fake.draw_fake_image(tmp_path / name, label, number, (20, 10))
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes() == (tmp_path / "e.JPEG").read_bytes()
    assert (tmp_path / "a.jpg").read_bytes() != (tmp_path / "c.jpg").read_bytes()
    with Image.open(tmp_path / "d.png") as image:
        assert (image.format, image.size) == ("PNG", (20, 10))


def data(*words: str) -> int:
    return main(["data", *words])


def test_the_command_tells_what_is_right(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data("check", "vtab1k", f"root={root}", "task=cifar,caltech-101") == 0
    out = capsys.readouterr().out
    assert "vtab1k: 2 of 2 right" in out
    assert "ok, fake" in out
    assert str(inspected(root).fingerprint)[:12] in out


def test_the_command_tells_what_is_missing_and_how_to_get_it(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data("check", "vtab1k", f"root={root}") == 2
    out = capsys.readouterr().out
    assert "missing: dtd, oxford_flowers102" in out
    assert "XiN0919/VTAB-1k" in out
    assert "vtab1k: 2 of 19 right" in out


def test_the_command_names_each_fault(root: Path, task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = task / "images/train800/000001.jpg"
    path.write_bytes(path.read_bytes()[:300])
    assert data("check", "vtab1k", f"root={root}", "task=cifar", "deep=true") == 2
    out = capsys.readouterr().out
    assert f"cifar: {path} is truncated" in out
    assert "1 problem, fake" in out


def test_the_command_notes_two_extractions(root: Path, task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lossless(task)
    assert data("check", "vtab1k", f"root={root}", "task=cifar,caltech101") == 0
    assert "note: only cifar is lossless" in capsys.readouterr().out


def test_the_command_writes_fake_data_where_none_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data("fake", "vtab1k", f"root={tmp_path / 'new'}") == 0
    assert data("check", "vtab1k", f"root={tmp_path / 'new'}") == 0
    assert "vtab1k: 19 of 19 right" in capsys.readouterr().out
    assert data("fake", "vtab1k", f"root={tmp_path / 'new'}") == 0
    assert "(all of it was there)" in capsys.readouterr().out
    (tmp_path / "real" / "vtab-1k" / "dtd").mkdir(parents=True)
    assert data("fake", "vtab1k", f"root={tmp_path / 'real'}") == 2
    assert "dtd exists already" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "real" / "vtab-1k").iterdir()] == ["dtd"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("chek",), "did you mean 'check'"),
        ((), "data needs a word"),
        (("check", "vtab"), "did you mean 'vtab1k'"),
        (("check", "vtab1k", "rot=x"), "no key 'rot' here; did you mean 'root'"),
        (("check", "vtab1k", "root=/nowhere/at/all"), "no folder /nowhere/at/all"),
        (("check", "vtab1k", "root=/", "task=cifr"), "did you mean 'cifar'"),
        (("check", "vtab1k", "root=/", "deep=yes"), "deep 'yes'"),
        (("check", "task=cifar", "root=/"), "task= needs a suite"),
        (("fake", "vtab1k"), "say which and where"),
        (("fake", "vtab1k", "root=/proc/no"), "/proc/no"),
    ],
)
def test_bad_words_are_one_line(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert data(*words) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_every_suite_can_be_faked() -> None:
    assert list(SUITES) == list(FAKES) == ["vtab1k", "fewshot", "fgvc", "imagenet"]


def test_a_fake_of_every_suite_is_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for suite in ("fewshot", "fgvc", "imagenet"):
        assert data("fake", suite, f"root={tmp_path}") == 0
    for words in (("fewshot",), ("fgvc",), ("imagenet",), ("fewshot", "shots=1,16", "split_seed=2", "task=food101")):
        assert data("check", *words, f"root={tmp_path}") == 0
    out = capsys.readouterr().out
    assert "15 variants" in out
    assert "food101 shots=16 split_seed=2" in out
    assert data("check", f"root={tmp_path}") == 2
    assert "vtab1k: 0 of 19 right" in capsys.readouterr().out


def test_a_missing_list_of_one_variant_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    FAKES["fewshot"](tmp_path, False)
    (path,) = tmp_path.glob("**/food-101/annotations/*num_shot_8.seed_1")
    path.unlink()
    assert data("check", "fewshot", "task=food101", f"root={tmp_path}") == 2
    assert "num_shot_8.seed_1" in capsys.readouterr().out
    assert data("check", "fewshot", "task=food101", "shots=abc", f"root={tmp_path}") == 2
    assert "data.shots must be a whole number" in capsys.readouterr().out


def test_v2_sorted_as_strings_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    FAKES["imagenet"](tmp_path, False)
    classes = tmp_path / "imagenetv2" / "imagenetv2-matched-frequency-format-val"
    rank = {name: place for place, name in enumerate(sorted(map(str, range(1000))))}  # as ImageFolder has them
    lines = [f"{p.relative_to(classes.parent)} {rank[p.parent.name]}" for p in sorted(classes.glob("*/*"))]
    (tmp_path / "imagenetv2" / "annotations").mkdir()
    (tmp_path / "imagenetv2" / "annotations" / "val_meta.list").write_text("\n".join(lines) + "\n")
    assert data("check", "imagenet", f"root={tmp_path}") == 2
    assert "folders sorted as strings" in capsys.readouterr().out


def test_checking_needs_no_torch() -> None:
    told = (
        "import sys\nfrom glorabench.cli import main\ncode = main(['data', 'check', 'fgvc', 'root=/'])\n"
        "print(code, [m for m in ('torch', 'timm', 'lightning') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "2 []"
