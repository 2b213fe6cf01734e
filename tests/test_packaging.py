"""What a user installs: source and wheel are whole, the wheel reads its own configuration, and its help is light."""

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import glorabench

ROOT = Path(__file__).resolve().parents[1]
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
HEAVY = {"torch", "lightning", "timm", "hydra", "numpy", "matplotlib", "wandb", "rich"}


def call(*words: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GLORABENCH_")}
    env = {**kept, **env, "PATH": PATH}
    return subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source package, and with the wheel that was built from it."""
    out = tmp_path_factory.mktemp("dist")
    builders = ("uv", "build"), (sys.executable, "-m", "build")
    said = ""
    for builder in builders:
        if shutil.which(builder[0], path=PATH):
            built = call(*builder, "--out-dir" if builder[0] == "uv" else "--outdir", str(out), ROOT, cwd=out)
            if built.returncode == 0:
                return out
            said += built.stdout + built.stderr
    if "hatchling" in said and re.search("fetch|connect|resol|download|network|satisf", said):
        pytest.skip("the build backend is not installed and no index answers")
    pytest.fail(said)


@pytest.fixture(scope="module")
def wheel(packages: Path) -> Path:
    return next(packages.glob("*.whl"))


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


def test_the_source_package_holds_code_pages_and_tests(packages: Path) -> None:
    with tarfile.open(next(packages.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    parts = {"src", "conf", "tests", "docs", "examples", "benchmarks"}
    tracked = call("git", "ls-files", *parts, cwd=ROOT)
    if tracked.returncode == 0:  # the tests may run in an unpacked source package
        assert set(tracked.stdout.splitlines()) - {".gitignore"} <= names
    assert {"README.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "mkdocs.yml", "constraints.txt"} <= names
    folders = {name.partition("/")[0] for name in names if "/" in name}
    assert folders == {*parts, "results"}
    assert {name.split("/")[1] for name in names if name.startswith("results/")} == {"published"}


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (place,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(place))
        assert "glorabench/py.typed" in archive.namelist()
        assert any(name.endswith(".dist-info/licenses/LICENSE") for name in archive.namelist())
    assert metadata["Version"] == glorabench.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    assert metadata["Description-Content-Type"] == "text/markdown"


def test_the_citation_is_of_this_version() -> None:
    """The fields that version 1.2.0 of the Citation File Format demands, and those that we promise."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["version"] == glorabench.__version__
    assert citation["license"] == "Apache-2.0"
    for work in (citation, *citation["references"]):
        assert work["title"]
        assert work["authors"]
        for author in work["authors"]:
            assert set(author) in ({"name"}, {"family-names", "given-names"})
    for work in citation["references"]:
        assert {"type", "title", "authors", "year", "url"} <= set(work)
        assert work["url"].startswith("https://")
        assert all(set(identifier) == {"type", "value"} for identifier in work["identifiers"])


def test_the_changelog_has_this_version_and_the_next() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0].startswith("[Unreleased]")
    assert headings[1].partition(" ")[0].strip("[]") == glorabench.__version__


@pytest.mark.campaign
def test_an_empty_environment_makes_the_quickstart(wheel: Path, tmp_path: Path) -> None:
    """With the packages of an index, at the versions of constraints.txt; some gigabytes unless they are cached."""
    uv = shutil.which("uv", path=PATH)
    if uv is None:
        pytest.skip("uv is not installed")
    assert call(uv, "venv", "--python", sys.executable, "venv", cwd=tmp_path).returncode == 0
    python = tmp_path / "venv/bin/python"
    installed = call(uv, "pip", "install", "--python", python, "-c", ROOT / "constraints.txt", wheel, cwd=tmp_path)
    if installed.returncode:
        pytest.skip(f"no index answers: {installed.stderr[-300:]}")
    fast = ["train.epochs=1", "train.warmup_epochs=0", "latency_rounds=0", "progress=none"]
    words = ["run", "experiment=quickstart", *fast, "seed=0", "data.task=digits"]
    done = call(tmp_path / "venv/bin/glorabench", *words, cwd=tmp_path, GLORABENCH_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    assert "digits: " in done.stdout
    assert (tmp_path / done.stdout.partition("figure: ")[2].partition(";")[0]).is_file()


def test_the_wheel_reads_its_own_configuration(site: Path, tmp_path: Path) -> None:
    mine = (site / "glorabench/conf/method/lora.yaml").read_text().replace("rank: ${recipe:rank,8}", "rank: 1")
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
    for line in [*project["project"]["dependencies"], *chain(*project["dependency-groups"].values())]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(pins[wanted.name]), wanted.name
