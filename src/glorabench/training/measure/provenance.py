"""The provenance of a result: commit, versions, machine."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import nn

# packages that compute, and packages that decode, resize or ship images
_PACKAGES = ("glorabench", "torch", "timm", "lightning", "numpy", "torchvision", "Pillow", "scipy", "scikit-learn")
_PARTS = ("peft", "transformers", "schedulefree", "bitsandbytes")  # only if the network or the optimiser is from them


def provenance(net: nn.Module | None = None, packages: Iterable[str] = ()) -> dict[str, Any]:
    """{git: {sha, dirty}, versions, threads}; git is None outside a checkout.

    Args:
        net: the network of the run, if there is one.
        packages: further packages that took part.
    """
    package_names = set(packages)
    if net is not None:
        kinds = {kind for module in net.modules() for kind in type(module).__mro__}
        package_names |= {kind.__module__.partition(".")[0] for kind in kinds}
    versions = {"python": platform.python_version()}
    for name in (*_PACKAGES, *(name for name in _PARTS if name in package_names)):
        number = _version(name)
        if number is not None:
            versions[name] = number
    return {
        "git": _git(),
        "versions": versions,
        "threads": torch.get_num_threads(),
    }


@cache
def _version(name: str) -> str | None:
    """The version in the metadata of a package, which is not imported."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@cache
def _git() -> dict[str, Any] | None:
    root = Path(str(files("glorabench"))).parents[1]
    if not (root / "conf" / "run.yaml").is_file():
        return None  # an installed wheel: a repository around it is another project

    def ask(*words: str) -> str:
        process = subprocess.run(["git", "-C", str(root), *words], check=True, capture_output=True, text=True)
        return process.stdout.strip()

    try:
        changes = ask("status", "--porcelain", "--", "src", "conf")
        return {"sha": ask("rev-parse", "HEAD"), "dirty": bool(changes)}
    except (subprocess.CalledProcessError, OSError):
        return None


def device_name(device: torch.device) -> str:
    """The accelerator's name, or the processor's architecture."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"
