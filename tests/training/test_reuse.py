"""A record is found for the data that it is of, and not for others that a loader of one's own gives."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from glorabench.cli import main
from glorabench.config.compose import compose
from glorabench.config.instantiate import allow_packages
from glorabench.records import record
from glorabench.training import reuse

LOADER = """
from pathlib import Path
import numpy as np
from glorabench.data.images.task import ArraySplit, ImageTask
from glorabench.errors import BadInput

def load(root, task, tells):
    if not Path(root).is_dir():
        raise BadInput(f"no folder {root}")
    rng = np.random.default_rng(seed := int((Path(root) / "seed").read_text()))
    sizes = {"train": 32, "val": 8, "trainval": 40, "test": 16}
    splits = {
        n: ArraySplit(rng.integers(0, 256, (m, 3, 32, 32), np.uint8), rng.integers(0, 4, m)) for n, m in sizes.items()
    }
    return ImageTask("own", task, "natural", 4, splits, str(seed) if tells else "")
"""
Run = Callable[..., str]


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[list[Path]]:
    """Two folders of data of one's own, and the module that loads them."""
    (tmp_path / "reuse_loader.py").write_text(LOADER)
    found = [tmp_path / name for name in ("a", "b")]
    for seed, folder in enumerate(found):
        folder.mkdir()
        (folder / "seed").write_text(str(seed))
    with pytest.MonkeyPatch.context() as patch, allow_packages(["reuse_loader"]):
        patch.syspath_prepend(str(tmp_path))
        yield found
    sys.modules.pop("reuse_loader", None)


def words(folder: Path, *, tells: bool) -> list[str]:
    own = ["data._target_=reuse_loader.load", "~data.cache_dir", "data.task=x", f"+data.root={folder}"]
    fast = ["train.epochs=1", "logger=none", "progress=none", "latency_rounds=0", "method=linear"]
    return [*own, f"+data.tells={tells}".lower(), *fast, f"results_dir={folder.parent / 'results'}"]


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(folder: Path, *, tells: bool) -> str:
        reuse._fingerprint.cache_clear()  # as a new process has it
        assert main(["run", *words(folder, tells=tells)]) == 0
        return capsys.readouterr().out

    return run


def test_other_data_in_the_same_folder_are_run_and_the_old_record_is_kept(folders: list[Path], told: Run) -> None:
    folder, _ = folders
    assert "0 of 1 found" in told(folder, tells=True)
    assert "1 of 1 found" in told(folder, tells=True)
    folder.rename(folder.parent / "gone")
    assert "1 of 1 found" in told(folder, tells=True)  # a record stands where its data are not
    (folder.parent / "gone").rename(folder)
    (path,) = folder.parent.glob("results/runs/*/*.json")
    old = record.read_record(path)
    (folder / "seed").write_text("7")
    said = told(folder, tells=True)
    assert "0 of 1 found" in said
    assert f"its record of the old ones is {path.stem}.old1" in said
    assert record.read_record(path).run_id == old.run_id
    assert record.read_record(path).provenance["data"]["fingerprint"] == "7"
    path.with_suffix(".old1").rename(path)
    assert record.read_record(path) == old
    (folder / "seed").write_text("0")
    assert "1 of 1 found" in told(folder, tells=True)


def test_the_root_of_a_suite_is_not_the_run_and_that_of_a_loader_is(folders: list[Path]) -> None:
    one, two = (compose(words(folder, tells=True)) for folder in folders)
    assert record.run_id(one) != record.run_id(two)
    assert record.identity(record.identity(one)) == record.identity(one)
    for told in ({"suite": "vtab1k", "sha256": None}, {"sha256": "0"}):  # what tells which data they are
        known = [{"data": {"_target_": "x", "task": "dtd", "root": root, **told}} for root in "ab"]
        assert record.run_id(known[0]) == record.run_id(known[1])
