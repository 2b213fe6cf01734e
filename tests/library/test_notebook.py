"""The notebook of examples/: stored without outputs, and its cells run in order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "folder_to_figure.ipynb"
CELLS = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


def test_it_is_stored_without_outputs() -> None:
    assert [(cell["outputs"], cell["execution_count"]) for cell in CELLS] == [([], None)] * len(CELLS)


def test_it_goes_from_a_folder_to_a_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    names: dict[str, Any] = {}
    for number, cell in enumerate(CELLS, start=1):
        exec(compile("".join(cell["source"]), f"cell {number} of {NOTEBOOK.name}", "exec"), names)
    assert list(names["summary"].index) == ["linear", "lora", "glora"]
    assert {r.status for r in names["results"]} == {"done"}
    assert names["glorabench"].count(names["model"]).trained > 0
    with Image.open("accuracy.png") as image:
        assert len(image.convert("RGB").getcolors(2**20) or ()) > 10, "a figure with dots of several colours"
