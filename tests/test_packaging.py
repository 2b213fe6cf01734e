"""What a user installs: the wheel is whole, reads its own configuration, and its help is light."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
HEAVY = {"torch", "lightning", "timm", "hydra", "numpy", "matplotlib", "wandb", "rich"}


def call(*words: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GLORABENCH_")}
    env = {**kept, **env, "PATH": PATH}
    return subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    builders = ("uv", "build"), (sys.executable, "-m", "build")
    said = ""
    for builder in builders:
        if shutil.which(builder[0], path=PATH):
            built = call(*builder, "--wheel", "--out-dir", str(out), ROOT, cwd=out)
            if built.returncode == 0:
                return next(out.glob("*.whl"))
            said += built.stdout + built.stderr
    if "hatchling" in said and re.search("fetch|connect|resol|download|network|satisf", said):
        pytest.skip("the build backend is not installed and no index answers")
    pytest.fail(said)


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the installed wheel and nothing of the checkout."""
    target = tmp_path_factory.mktemp("site")
    if uv := shutil.which("uv", path=PATH):
        installer = [uv, "pip", "install", "--python", sys.executable]
    else:
        installer = [sys.executable, "-m", "pip", "install"]
    done = call(*installer, "--no-deps", "--target", target, wheel, cwd=target)
    assert done.returncode == 0, done.stderr
    return target


def test_the_wheel_holds_configuration_and_assets(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    conf = {f"glorabench/{p.relative_to(ROOT).as_posix()}" for p in (ROOT / "conf").rglob("*.yaml")}
    assert "glorabench/conf/run.yaml" in conf
    conf |= {f"glorabench/published/{p.name}" for p in (ROOT / "results" / "published").iterdir()}
    assert "glorabench/published/vtab1k.csv" in conf
    source = ROOT / "src"
    found = [p for kind in ("py", "json", "safetensors", "css", "js") for p in source.rglob(f"*.{kind}")]
    files = {p.relative_to(source).as_posix() for p in found}
    assert "glorabench/assets/vit_mini.safetensors" in files
    assert conf | files <= names
    assert all(name.startswith("glorabench/") or ".dist-info/" in name for name in names)


def test_the_wheel_reads_its_own_configuration(site: Path, tmp_path: Path) -> None:
    mine = (site / "glorabench/conf/method/lora.yaml").read_text().replace("rank: 8", "rank: 1")
    (site / "glorabench/conf/method/mine.yaml").write_text(mine)  # known to this copy alone
    cli = (sys.executable, "-m", "glorabench.cli")
    counted = call(*cli, "count", "backbone=vit_mini", "method=mine", cwd=tmp_path, PYTHONPATH=str(site))
    assert counted.returncode == 0, counted.stderr
    assert "3,072" in counted.stdout  # q and v of 6 blocks, rank 1, width 128
    table = call(*cli, "table", cwd=tmp_path, PYTHONPATH=str(site))
    assert table.returncode == 2
    assert "no records" in table.stderr
    published = call(*cli, "table", "vtab1k", "--format", "md", cwd=tmp_path, PYTHONPATH=str(site))
    assert published.returncode == 0, published.stderr
    assert "| GLoRA | 76.4 [p" in published.stdout


def test_help_imports_nothing_heavy(site: Path, tmp_path: Path) -> None:
    snippet = (
        "import sys, glorabench\n"
        "from glorabench.cli import main\n"
        "try: main(['--help'])\n"
        f"finally: print(glorabench.__file__, {HEAVY} & set(sys.modules), file=sys.stderr)\n"
    )
    helped = call(sys.executable, "-c", snippet, cwd=tmp_path, PYTHONPATH=str(site))
    assert helped.returncode == 0
    assert "doctor" in helped.stdout
    assert helped.stderr == f"{site / 'glorabench/__init__.py'} set()\n"


def test_every_dependency_is_pinned_within_its_bounds() -> None:
    text = (ROOT / "constraints.txt").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    pins = dict(line.split("==") for line in lines)
    assert len(pins) == len(lines), "a name is pinned twice"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for line in [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(pins[wanted.name]), wanted.name
