"""Files that are written whole: what was there stays until the new one is complete."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from glorabench import files
from glorabench.errors import BadInput


def drafts(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.endswith(".tmp")]


def test_a_file_is_replaced_and_its_mode_stays(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("old")
    path.chmod(0o600)
    files.write_text(path, "new\n")
    assert path.read_text() == "new\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert drafts(tmp_path) == []


def test_a_block_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("old")

    def fail() -> None:
        with files.whole_file(path) as draft:
            draft.write_text("half")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail()
    assert path.read_text() == "old"
    assert drafts(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full, a device without room")
def test_a_full_disk_is_bad_input_with_the_fix(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("old")

    def fill() -> None:
        with files.whole_file(path, fix="give another folder") as draft:
            draft.write_text("half")
            with open("/dev/full", "w") as full:
                full.write("x" * 100_000)

    with pytest.raises(BadInput, match=r"page\.md cannot be written \(No space left on device\): give another folder"):
        fill()
    assert path.read_text() == "old"
    assert drafts(tmp_path) == []


def test_a_link_stays_a_link(tmp_path):
    path, link = tmp_path / "page.md", tmp_path / "link.md"
    path.write_text("old")
    link.symlink_to(path)
    files.write_text(link, "new")
    assert link.is_symlink()
    assert path.read_text() == "new"


def test_what_is_no_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(BadInput, match="no regular file"):
            files.write_text(path, "text")


def test_drafts_of_dead_processes_are_swept_and_those_of_living_ones_stay(tmp_path):
    script = f"""
import os, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from glorabench import files
with files.whole_file(Path({str(tmp_path)!r}) / "a.txt") as draft:
    draft.write_text("half")
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    own = tmp_path / f".b.txt.{files._HOST}-{os.getppid()}.tmp"
    own.write_text("in work")
    others = tmp_path / ".c.txt.elsewhere-1.tmp"
    others.write_text("in work on another machine")
    assert len(drafts(tmp_path)) == 3
    files._SWEPT.discard(tmp_path)
    files.write_text(tmp_path / "a.txt", "whole")
    assert sorted(drafts(tmp_path)) == sorted([own.name, others.name])
    os.utime(others, (0, 0))
    files.sweep(tmp_path)
    assert drafts(tmp_path) == [own.name]


def test_a_folder_appears_whole_and_the_first_one_stays(tmp_path):
    with files.whole_folder(tmp_path / "export") as draft:
        (draft / "sub").mkdir()
        (draft / "sub" / "x").write_text("1")
        assert not (tmp_path / "export").exists()
    assert (tmp_path / "export" / "sub" / "x").read_text() == "1"
    with files.whole_folder(tmp_path / "export") as draft:
        (draft / "x").write_text("2")
    assert not (tmp_path / "export" / "x").exists()
    assert drafts(tmp_path) == []


def test_a_folder_that_fails_leaves_nothing(tmp_path):
    def fail() -> None:
        with files.whole_folder(tmp_path / "export") as draft:
            (draft / "x").write_text("1")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(BadInput, match="No space left"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_one_process_at_a_time(tmp_path):
    script = f"""
import sys, time
sys.path[:0] = {sys.path!r}
from pathlib import Path
from glorabench.files import alone
with alone(Path({str(tmp_path)!r}) / "thing", "waiting for the other"):
    log = Path({str(tmp_path)!r}) / "log"
    with log.open("a") as file: file.write("in ")
    time.sleep(0.3)
    with log.open("a") as file: file.write("out ")
"""
    made = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = "".join(process.communicate()[0] for process in made)
    assert (tmp_path / "log").read_text() == "in out " * 3
    assert said.count("waiting for the other") == 2


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("digits", "digits"),
        ("../../x", "__.._x"),
        ("/etc/passwd", "_etc_passwd"),
        ("a\nb", "a_b"),
        ("größe-1.0", "größe-1.0"),
        ("", "_"),
        (".hidden", "_hidden"),
        ("x" * 300, "x" * 100),
        ("ü" * 300, "ü" * 50),
    ],
)
def test_labels_become_safe_names(label, name):
    assert files.safe_name(label) == name
