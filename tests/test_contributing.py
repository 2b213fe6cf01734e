"""Adding a method is one file and one YAML: the example of CONTRIBUTING.md, done in a copy of the project."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "glorabench"
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
WALKS = re.findall(r"(?:^\S+\.py -> .*\n)+", GUIDE, re.MULTILINE)
EXAMPLE = dict(re.findall(r"```\w+\n# (\S+)\n(.*?)```", GUIDE, re.DOTALL))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project with the two files of the example in it."""
    for name in ("src", "conf", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, text in EXAMPLE.items():
        assert not (tmp_path / name).exists()
        (tmp_path / name).write_text(text)
    return tmp_path


def call(project: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(project / "src")}
    done = subprocess.run([sys.executable, "-m", *words], cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_is_one_module_and_one_configuration() -> None:
    assert list(EXAMPLE) == ["src/glorabench/methods/scaling.py", "conf/method/scaling.yaml"]


def test_the_conformance_matrix_takes_in_the_new_method(project: Path) -> None:
    said = call(project, "pytest", "-p", "no:cacheprovider", "-k", "scaling", "tests/methods/test_methods.py")
    (passed,) = re.findall(r"(\d+) passed", said)
    assert int(passed) >= 3 * 8  # three families, the checks of the matrix
    assert "skipped" not in said


@pytest.mark.campaign
def test_the_rules_of_the_tree_hold_for_it(project: Path) -> None:
    assert "passed" in call(project, "pytest", "-p", "no:cacheprovider", "-k", "scaling", "tests/test_rules.py")


@pytest.mark.campaign
def test_the_new_method_is_counted(project: Path) -> None:
    assert "1,536" in call(project, "glorabench.cli", "count", "method=scaling", "backbone=vit_mini")


def imported_files(name: str) -> set[str]:
    """The files of the package that a file imports, wherever in it."""
    files = set()
    for node in ast.walk(ast.parse((SRC / name).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            place = SRC.parent.joinpath(*node.module.split("."))
            files |= {place.with_suffix(".py"), *((place / alias.name).with_suffix(".py") for alias in node.names)}
    return {path.relative_to(SRC).as_posix() for path in files if path.is_file() and path.is_relative_to(SRC)}


@pytest.mark.parametrize("walk", WALKS, ids=["run", "table", "method"])
def test_a_walk_follows_the_imports_and_never_goes_back(walk: str) -> None:
    hops = [re.findall(r"[\w/]+\.py", line) for line in walk.splitlines()]
    assert 1 <= len(hops) <= 10
    reached = [hops[0][0]]
    for caller, callee in hops:
        assert caller in reached, f"{caller} comes from nowhere"
        assert callee in imported_files(caller), f"{caller} does not use {callee}"
        assert callee not in reached, f"the walk comes back to {callee}"
        reached.append(callee)
