"""`delete`: what goes, what stays, that it asks, and that it can be repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from glorabench.cli import main
from glorabench.cli import runs as commands
from glorabench.files import alone
from glorabench.records import record, removal
from test_long_table import made

RUNS = {"lora": made(right=100), "full": made("full", right=150), "ssf": made("ssf", status="failed")}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for r in RUNS.values():
        record.write_record(r, record.path_of(tmp_path, r.config))
        for folder in ("adapters", "predictions"):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{r.run_id}.safetensors").write_text("x")
        for place in ("checkpoints/{}", "csv/{}/version_0", "tensorboard/{}", "wandb/wandb/offline-run-2026-{}"):
            (tmp_path / place.format(r.run_id)).mkdir(parents=True)
    (tmp_path / "supernets").mkdir()
    (tmp_path / "supernets" / "shared.safetensors").write_text("x")
    (tmp_path / "exports" / f"lora-{RUNS['lora'].run_id}").mkdir(parents=True)
    return tmp_path


def left(results: Path, name: str) -> list[str]:
    """What a run still has, except exports."""
    paths = [path.relative_to(results).as_posix() for path in results.rglob(f"*{RUNS[name].run_id}*")]
    return [path for path in paths if not path.startswith("exports/")]


def delete(results: Path, *words: str) -> int:
    return main(["delete", *words, "--results", str(results)])


def test_a_run_goes_with_all_its_files_and_nothing_else(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = len(left(results, "full"))
    assert delete(results, RUNS["lora"].run_id[:8], "--yes") == 0
    out = capsys.readouterr().out
    assert f"{RUNS['lora'].run_id}  lora on digits, seed 0, done: 7 files and folders" in out
    assert "1 deleted" in out
    assert left(results, "lora") == []
    assert len(left(results, "full")) == before == 7
    assert (results / "supernets" / "shared.safetensors").exists()
    assert (results / "exports" / f"lora-{RUNS['lora'].run_id}").exists()


def test_conditions_choose_runs_and_status_is_one(results: Path) -> None:
    assert delete(results, "status=failed", "--yes") == 0
    assert left(results, "ssf") == []
    assert left(results, "lora")
    assert left(results, "full")


@pytest.mark.parametrize(("answer", "stays"), [("n", True), ("", True), ("y", False), ("YES", False)])
def test_it_asks_on_a_terminal(results: Path, answer: str, stays: bool, monkeypatch, capsys) -> None:
    asked: list[str] = []
    monkeypatch.setattr(commands.sys, "stdin", type("Terminal", (), {"isatty": lambda self: True})())
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or answer)
    assert delete(results, RUNS["lora"].run_id) == 0
    assert asked == ["Delete 1 run? [y/N] "]
    assert bool(left(results, "lora")) == stays
    assert ("nothing was deleted" in capsys.readouterr().out) == stays


def test_a_removal_that_stops_half_way_can_be_repeated(results: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(removal.shutil, "rmtree", refuse)
        assert delete(results, RUNS["lora"].run_id, "--yes") == 2
    error = capsys.readouterr().err
    assert "cannot be removed (Permission denied); the record stays" in error
    assert error.count("\n") == 1
    assert delete(results, RUNS["lora"].run_id, "--yes") == 0
    assert left(results, "lora") == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "delete needs the id of a run, or KEY=VALUE"),
        (["zzz", "--yes"], "no run 'zzz'"),
        (["", "--yes"], "is the beginning of 3 ids"),
        (["method=nothing", "--yes"], "no record has method=nothing"),
        ([RUNS["lora"].run_id], "standard input is no terminal: add --yes"),
    ],
)
def test_what_cannot_be_deleted_is_one_line_and_nothing_goes(results: Path, words, message, capsys) -> None:
    assert delete(results, *words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert all(len(left(results, name)) == 7 for name in RUNS)


def test_a_run_that_is_being_made_stays(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with alone(results / "locks" / RUNS["lora"].run_id, ""):
        assert delete(results, RUNS["lora"].run_id, "--yes") == 2
    assert f"another process makes run {RUNS['lora'].run_id}" in capsys.readouterr().err
