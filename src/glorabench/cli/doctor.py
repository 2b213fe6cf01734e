"""`glorabench doctor`: what this machine lacks, each with its fix.

Only the standard library is imported at the top: everything else may be what is missing. What only one
check needs is imported there, since every command imports this file.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from glorabench.errors import BadInput

ROOM = 2**30  # bytes: caches, checkpoints and adapters of the embedded suite, many times over
INSTALL = "install again: make setup, or pip install"
FETCH = "put the file there, or backbone.weights_from=PATH, or =hub (timm downloads its own)"

Status = Literal["ok", "missing", "note"]


@dataclass(frozen=True)
class Check:
    """One row: `missing` stops the quickstart, a `note` stops at most something else."""

    name: str
    status: Status
    finding: str
    fix: str = ""


def doctor() -> int:
    """Name what is missing on this machine, each with its fix.

    The exit code is 0 when the quickstart can run, else 2.
    """
    rows = list(checks())
    _show(rows)
    if absent := [row.name for row in rows if row.status == "missing"]:
        print(f"not ready: `glorabench run experiment=quickstart` lacks {', '.join(absent)}")
        return 2
    print("ready: `glorabench run experiment=quickstart` can run")
    return 0


def checks() -> Iterator[Check]:
    """Every check, in the order of the table; none raises."""
    from importlib.metadata import requires, version

    yield _look("python", _python, "install Python 3.11 or newer")
    yield (package := _look("glorabench", partial(version, "glorabench"), INSTALL))
    for line in (requires("glorabench") or []) if package.status == "ok" else []:
        name = re.split(r"[^\w.-]", line, maxsplit=1)[0]
        if "extra ==" not in line:
            yield _look(name, partial(_package, name, line), INSTALL)
    yield _look("torchvision operators", _operators, INSTALL)
    yield _look("accelerator", _accelerator, INSTALL, "note")
    yield _look("embedded weights", _check_embedded_weights, INSTALL)
    for key in ("cache_dir", "results_dir"):
        yield _look(key, partial(_folder, key), f"set {key}=FOLDER, writable and with room")
    yield (conf := _look("conf", _conf, INSTALL))
    for path in sorted(Path(conf.finding, "backbone").glob("*.yaml")) if conf.status == "ok" else []:
        if "\nfamily: auto" in path.read_text(encoding="utf-8"):  # it is for many models, whose weights a run names
            continue
        yield _look(f"weights of {path.stem}", partial(_weights, path.stem), FETCH, "note")
    yield _look("W&B key", _wandb, "for logger.mode=online: wandb login", "note")
    yield _look("git", _git, "install git", "note")


def _look(name: str, check: Callable[[], str], fix: str, otherwise: Status = "missing") -> Check:
    """One row: what the check found, or how it failed and the fix."""
    try:
        return Check(name, "ok", check())
    except BadInput as error:
        return Check(name, otherwise, str(error), fix)
    except Exception as error:  # whatever a broken installation raises is a finding
        line = (str(error).splitlines() or [""])[0]
        return Check(name, otherwise, f"{type(error).__name__}: {line}", fix)


def _python() -> str:
    if sys.version_info < (3, 11):  # noqa: UP036  # PYTHONPATH=src asks no installer
        raise BadInput(platform.python_version())
    return platform.python_version()


def _package(name: str, requirement: str) -> str:
    """The version by the metadata: importing every package would be slow."""
    from importlib.metadata import version

    installed_version = version(name)
    from packaging.requirements import Requirement  # comes with lightning

    specifier = Requirement(requirement).specifier
    if not specifier.contains(installed_version, prereleases=True):
        raise BadInput(f"{installed_version}, needs {specifier}")
    return installed_version


def _operators() -> str:
    """Run torchvision's compiled nms on two equal boxes, one of which it must drop."""
    import torch

    package = find_spec("torchvision")
    libraries = list(Path(package.origin).parent.glob("_C*")) if package and package.origin else []
    for library in libraries:  # the library alone: importing torchvision takes seconds more
        torch.ops.load_library(library)
    if not libraries:
        import torchvision.ops  # noqa: F401  # a release that names it otherwise
    boxes = torch.ops.torchvision.nms(torch.tensor([[0.0, 0, 2, 2]] * 2), torch.ones(2), 0.5)
    if len(boxes) != 1:
        raise BadInput(f"nms kept {len(boxes)} of two equal boxes")
    return "nms works"


def _accelerator() -> str:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"none: the CPU works, with {torch.get_num_threads()} threads (OMP_NUM_THREADS sets it)"


def _check_embedded_weights() -> str:
    from glorabench.checksum import ASSETS, sha256_of

    path = ASSETS / "vit_mini.safetensors"
    sha256 = json.loads(path.with_suffix(".json").read_text())["sha256"]
    digest = sha256_of(path)
    if digest != sha256:
        raise BadInput(f"{path} has sha256 {digest}, expected {sha256}")
    return f"vit_mini, sha256 {digest[:12]}"


def _folder(key: str) -> str:
    """The folder and its free space, if it is writable or could be made; nothing is made."""
    import tempfile

    from glorabench.config.compose import compose

    path = Path(compose([])[key]).expanduser().absolute()
    nearest = next(place for place in (path, *path.parents) if place.exists())
    with tempfile.TemporaryFile(dir=nearest):  # mode bits say little to root or of a mount
        free = shutil.disk_usage(nearest).free
    if free < ROOM:
        raise BadInput(f"{path}, {free / 2**30:.1f} GiB free, needs {ROOM / 2**30:.0f}")
    return f"{path}, {free / 2**30:.1f} GiB free"


def _conf() -> str:
    from glorabench.config.paths import conf_dir

    return str(conf_dir())


def _weights(name: str) -> str:
    from glorabench.config.compose import compose

    source = compose([f"backbone={name}"])["backbone"].get("weights_from")
    if source == "hub":
        raise BadInput("none here: timm downloads them at the first run")
    if source not in (None, "embedded") and not Path(source).expanduser().is_file():
        raise BadInput(f"no file {source}")
    return source or "none: random initialisation"


def _wandb() -> str:
    """Where the key is; it is neither shown nor kept."""
    import netrc
    from urllib.parse import urlsplit

    if os.environ.get("WANDB_API_KEY"):
        return "WANDB_API_KEY"
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    netrc_word = os.environ.get("NETRC")
    for path in [Path(netrc_word)] if netrc_word else [Path.home() / ".netrc", Path.home() / "_netrc"]:
        if path.is_file() and netrc.netrc(path).authenticators(host):
            return str(path)
    raise BadInput("none: offline, the default, needs none")


def _git() -> str:
    if path := shutil.which("git"):
        return path
    raise BadInput("not found: records will not name the commit")


def _show(rows: list[Check]) -> None:
    try:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table
    except ImportError:  # then rich is one of the rows
        for row in rows:
            print(f"{row.name}: {row.status}: {row.finding}" + (f" -> {row.fix}" if row.fix else ""))
        return
    grid = Table("check", "status", "found", "fix")
    colour = {"ok": "green", "missing": "bold red", "note": "yellow"}
    for row in rows:
        status = f"[{colour[row.status]}]{row.status}[/]"
        grid.add_row(row.name, status, escape(row.finding), escape(row.fix))
    Console(width=None if sys.stdout.isatty() else 160, highlight=False).print(grid)
