"""Where a number comes from: code, versions, machine."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

_PACKAGES = ("glorabench", "torch", "timm", "lightning", "numpy")


@cache
def provenance() -> dict[str, Any]:
    """{git: {sha, dirty}, versions, threads}; git is None outside a checkout."""
    return {
        "git": _git(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
        "threads": torch.get_num_threads(),
    }


def _git() -> dict[str, Any] | None:
    root = Path(__file__).resolve().parents[2]
    if not (root / "conf" / "run.yaml").is_file():
        return None  # an installed wheel; a repository around it is somebody else's

    def ask(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    try:
        changed = ask("status", "--porcelain", "--", "src", "conf")
        return {"sha": ask("rev-parse", "HEAD"), "dirty": bool(changed)}
    except (subprocess.CalledProcessError, OSError):
        return None


def device_name(device: torch.device) -> str:
    """The accelerator's name, or the processor's architecture."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"
