"""`glorabench doctor`: what it finds, and that it survives whatever is missing."""

import os
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from glorabench import checksum
from glorabench.cli import doctor

SOURCE = Path(doctor.__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user without keys, weights or earlier results."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (*os.environ,):
        if name.startswith(("WANDB_", "GLORABENCH_")) or name == "NETRC":
            monkeypatch.delenv(name)


def found() -> dict[str, doctor.Check]:
    return {check.name: check for check in doctor.checks()}


def test_a_whole_installation_is_ready(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert doctor.doctor() == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1].startswith("ready")
    for name in ("torch", "lightning", "torchvision operators", "embedded weights", "git"):
        assert name in out
    assert not list(tmp_path.iterdir()), "looking leaves nothing behind"


def test_weights_that_are_absent_are_named_and_stop_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "ViT-B_16.npz" in found()["weights of vit_b16"].finding
    assert found()["weights of vit_b16"].status == "note"
    (tmp_path / "ViT-B_16.npz").touch()
    monkeypatch.setenv("GLORABENCH_WEIGHTS", str(tmp_path))
    assert found()["weights of vit_b16"].status == "ok"


def test_altered_embedded_weights_stop_the_quickstart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assets = tmp_path / "assets"
    shutil.copytree(checksum.ASSETS, assets)
    with (assets / "vit_mini.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    monkeypatch.setattr(checksum, "ASSETS", assets)
    assert doctor.doctor() == 2
    assert "lacks embedded weights" in capsys.readouterr().out


def test_packages_that_are_missing_or_too_old_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(name: str) -> str:
        if name == "timm":
            raise PackageNotFoundError(name)
        return "1.0" if name == "torchmetrics" else version(name)

    monkeypatch.setattr("importlib.metadata.version", other)
    checks = found()
    missing = {name for name, check in checks.items() if check.status == "missing"}
    assert missing == {"timm", "torchmetrics"}
    assert "1.0, needs" in checks["torchmetrics"].finding


def test_a_folder_that_cannot_be_made_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GLORABENCH_CACHE", str(tmp_path / "file" / "cache"))
    assert found()["cache_dir"].status == "missing"
    assert "cache_dir=FOLDER" in found()["cache_dir"].fix


def test_a_configuration_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GLORABENCH_CONF", str(tmp_path))
    assert "GLORABENCH_CONF" in found()["conf"].finding
    assert found()["conf"].status == "missing"


def test_a_key_is_found_but_never_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert found()["W&B key"].status == "note"
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password not-to-be-shown\n")
    assert found()["W&B key"].status == "ok"
    (tmp_path / ".netrc").write_text("machine\n")
    assert found()["W&B key"].status == "note"
    monkeypatch.setenv("WANDB_API_KEY", "not-to-be-shown")
    assert found()["W&B key"].status == "ok"
    doctor.doctor()
    assert "not-to-be-shown" not in capsys.readouterr().out


def test_without_any_package_there_is_advice_and_no_traceback(tmp_path: Path) -> None:
    bare = subprocess.run(
        [sys.executable, "-S", "-m", "glorabench.cli", "doctor"],  # -S: no site-packages
        env={"PYTHONPATH": str(SOURCE), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert bare.returncode == 2
    assert bare.stderr == ""
    assert bare.stdout.splitlines()[-1].startswith("not ready")
    assert "install again: make setup" in bare.stdout
