"""Figures for papers: a file of each kind and format, the same each time, and one line where none can be drawn."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from glorabench import cli

ROOT = Path(__file__).parents[2]
QUICK = ["figure", "mini", "--results", str(ROOT / "results" / "quickstart")]
BEGINNINGS = {"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}


@pytest.mark.parametrize(("kind", "form"), [("front", "pdf"), ("ranking", "svg"), ("tasks", "png")])
def test_a_figure_is_a_file_and_the_same_each_time(kind: str, form: str, tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.{form}" for i in (1, 2)]
    for path in paths:
        assert cli.main([*QUICK, "--kind", kind, "--format", form, "--out", str(path)]) == 0
    first, second = (path.read_bytes() for path in paths)
    assert first.startswith(BEGINNINGS[form])
    assert first == second


def test_a_pdf_holds_its_fonts_as_truetype(tmp_path: Path) -> None:
    out = tmp_path / "a.pdf"
    assert cli.main([*QUICK, "--out", str(out)]) == 0
    assert b"/FontFile2" in out.read_bytes()
    assert b"/Type3" not in out.read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["figure", "mini", "--results", "EMPTY"], "no records"),
        ([*QUICK, "--kind", "pie"], "--kind 'pie'"),
        ([*QUICK, "--format", "gif"], "--format 'gif'"),
        ([*QUICK, "--width", "0"], "--width 0"),
        ([*QUICK, "method=nothing"], "nothing"),
        ([*QUICK, "--out", "EMPTY"], "cannot be written"),
    ],
)
def test_what_cannot_be_drawn_is_one_line_and_exit_code_2(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([str(tmp_path) if word == "EMPTY" else word for word in words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line


def test_matplotlib_is_imported_only_to_draw() -> None:
    code = (
        "import sys, glorabench.reports.figures.paper; sys.exit('matplotlib' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
