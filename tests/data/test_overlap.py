"""Images that are fitted and tested on are found: by their paths always, by what they hold with deep=true."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from glorabench.cli import main
from glorabench.data.checks import inspect
from glorabench.data.checks.inspect import Report
from glorabench.data.suites import fake, vtab1k

ROW = vtab1k.VTAB1K.row("dtd")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of VTAB-1k, fake; nobody changes it."""
    root = tmp_path_factory.mktemp("vtab")
    vtab1k.write_fake_vtab1k(root, full=False)
    return root


@pytest.fixture
def task(drawn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn / "vtab-1k" / "dtd", tmp_path / "vtab-1k" / "dtd"))


def inspected(task: Path, *, deep: bool = False) -> Report:
    return inspect.inspect_task(vtab1k.VTAB1K, ROW, task.parent, {}, deep=deep)


def lines(task: Path, name: str) -> list[str]:
    return (task / f"{name}.txt").read_text().splitlines(keepends=True)


def replace(task: Path, name: str, number: int, line: str) -> None:
    found = lines(task, name)
    (task / f"{name}.txt").write_text("".join([*found[:number], line, *found[number + 1 :]]))


@pytest.mark.parametrize(
    ("one", "two", "said"),
    [
        ("train800", "test", "also in train "),
        ("val200", "test", "also in val "),
        ("train800val200", "test", "also in trainval "),
        ("train800", "val200", "also in train "),
    ],
)
def test_a_path_in_two_lists_is_found_by_every_check(task: Path, one: str, two: str, said: str) -> None:
    replace(task, two, 3, lines(task, one)[5].replace("images/", "images/../images/"))
    (problem,) = inspected(task).problems
    assert problem.startswith(f"{task / two}.txt: 1 of its ")
    assert said in problem
    assert f"(first: {task}/images/{one}/000005.jpg)" in problem


def test_trainval_may_name_the_images_of_train_and_val(task: Path) -> None:
    (task / "train800val200.txt").write_text("".join([*lines(task, "train800"), *lines(task, "val200")]))
    assert inspected(task, deep=True).problems == ()


def copy(one: Path, two: Path) -> None:
    two.write_bytes(one.read_bytes())


def link(one: Path, two: Path) -> None:
    two.unlink()
    two.symlink_to(one)


def hard_link(one: Path, two: Path) -> None:
    two.unlink()
    os.link(one, two)


@pytest.mark.parametrize("how", [copy, link, hard_link])
def test_the_same_image_under_another_name_is_found_with_deep(task: Path, how: Callable[[Path, Path], None]) -> None:
    one, two = task / "images/train800/000002.jpg", task / "images/test/000009.jpg"
    how(one, two)
    assert inspected(task).problems == ()
    problems = inspected(task, deep=True).problems
    assert len(problems) == 2  # trainval has the pictures of train
    assert f"{task}/test.txt: 1 of its 16 images are also in train under other names" in problems[0]
    assert f"(first: {two} is {one})" in problems[0]


def test_a_few_of_many_are_a_note(task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, start in (("train800", 0), ("test", 10_000)):
        found = []
        for number in range(60):
            label = fake.fake_label(number, ROW.classes, 4)
            fake.draw_fake_image(task / f"images/{name}/{number:06d}.jpg", label, start + number, (8, 8))
            found.append(f"images/{name}/{number:06d}.jpg {label}\n")
        (task / f"{name}.txt").write_text("".join(found))
    fake.write_marker(task, "vtab1k", {"train": 60, "val": 8, "trainval": 32, "test": 60})
    copy(task / "images/train800/000050.jpg", task / "images/test/000009.jpg")
    report = inspected(task, deep=True)
    assert report.problems == ()
    assert "1 of its 60 images are also in train" in report.overlaps[0]
    assert main(["data", "check", "vtab1k", f"root={task.parent}", "task=dtd", "deep=true"]) == 0
    assert "note: dtd: " in capsys.readouterr().out
    copy(task / "images/train800/000051.jpg", task / "images/test/000010.jpg")
    assert "2 of its 60 images" in inspected(task, deep=True).problems[0]
