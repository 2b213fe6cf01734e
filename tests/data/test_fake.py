"""Fake data: a killed command is finished by the same command, two at once make one set, and nothing is half."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from glorabench.cli import main
from glorabench.data.suites import fake, vtab1k
from glorabench.data.suites.registry import FAKES

RUN = [sys.executable, "-m", "glorabench.cli", "data", "fake", "vtab1k"]

KILLED = """
import os, sys
from pathlib import Path
from glorabench.data.suites import fake, vtab1k
draw, count = fake.draw_fake_image, 0
def dies(*args):
    global count
    count += 1
    if count == int(sys.argv[2]):
        os.kill(os.getpid(), 9)
    draw(*args)
fake.draw_fake_image = dies
vtab1k.write_fake_vtab1k(Path(sys.argv[1]), False)
"""


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an undisturbed command makes."""
    root = tmp_path_factory.mktemp("whole")
    vtab1k.write_fake_vtab1k(root, full=False)
    return contents(root)


@pytest.mark.parametrize("at", [79, 200])
def test_a_killed_command_is_finished_when_it_is_typed_again(
    at: int, tmp_path: Path, whole: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(at)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert contents(tmp_path) != whole
    assert main(["data", "fake", "vtab1k", f"root={tmp_path}"]) == 0
    assert (f"({(at - 1) // 80} of 19 were there)" in capsys.readouterr().out) == (at > 80)
    assert contents(tmp_path) == whole


def test_two_at_once_make_one_set(tmp_path: Path, whole: dict[str, bytes]) -> None:
    running = [subprocess.Popen([*RUN, f"root={tmp_path}"], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert sum("were there" in line or "all of it was there" in line for line in said) >= 1
    assert contents(tmp_path) == whole


@pytest.mark.parametrize("suite", ["fewshot", "fgvc", "imagenet"])
def test_every_suite_is_found_when_it_is_made_again(suite: str, tmp_path: Path) -> None:
    made = FAKES[suite](tmp_path, False)
    assert len(made) == 5
    assert all(made)
    before = contents(tmp_path)
    assert not any(FAKES[suite](tmp_path, False))
    assert contents(tmp_path) == before


def test_a_fake_set_of_other_sizes_is_not_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "vtab-1k" / "cifar"
    folder.mkdir(parents=True)
    fake.write_marker(folder, "vtab1k", {"train": 800})
    assert main(["data", "fake", "vtab1k", f"root={tmp_path}"]) == 2
    assert "cifar exists already: fake data go where no others are" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["vtab-1k", "cifar", fake.MARKER]


FULL = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))  # a disk that fills up: files end there
from glorabench.cli import main
sys.exit(main(["data", "fake", "vtab1k", "root=" + sys.argv[1]]))
"""


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"{tmp_path}/vtab-1k/cifar cannot be written (File too large): free space, or give another" in done.stderr
    assert list((tmp_path / "vtab-1k").iterdir()) == []
