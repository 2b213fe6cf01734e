"""What a run trained, as files: safetensors under the names in the network, and notes in the same file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from glorabench import files
from glorabench.backbones.base import Backbone
from glorabench.errors import BadInput, first_line


def tensors(backbone: Backbone) -> dict[str, Tensor]:
    """Every tensor that is trained, head included."""
    return {name: p for name, p in backbone.net.named_parameters() if p.requires_grad}


def save(found: Mapping[str, Tensor], path: Path, notes: Mapping[str, Any] | None = None) -> None:
    """Write atomically: a file that exists is whole.

    Raises:
        BadInput: the folder is not writable or the disk is full.
    """
    said = None if notes is None else {"notes": json.dumps(notes)}
    fix = (
        "free space or set results_dir=FOLDER and give the same command again: training goes on from its last "
        "checkpoint"
    )
    try:
        with files.whole_file(path, fix) as draft:
            save_file({name: t.detach().cpu().contiguous() for name, t in found.items()}, draft, said)
    except SafetensorError as error:  # its own kind, also for a full disk
        raise BadInput(f"{path} cannot be written ({first_line(error)}): {fix}") from error


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a file and its notes.

    Raises:
        BadInput: there is no such file, or it is damaged.
    """
    if not path.is_file():
        raise BadInput(f"no trained weights at {path}: they lie beside the records of the run that made them")
    try:
        with safe_open(path, "pt") as file:
            notes = json.loads((file.metadata() or {}).get("notes", "{}"))
        return load_file(path), notes
    except (OSError, SafetensorError, ValueError) as error:
        raise BadInput(
            f"{path} is damaged ({first_line(error)}): remove it and the record of its run, and repeat the run"
        ) from error


@torch.no_grad()
def load(backbone: Backbone, path: Path) -> dict[str, Any]:
    """Fill in every trained tensor from a file; its notes.

    Raises:
        BadInput: there is no such file, it is damaged, or it holds other tensors. The backbone is as it was.
    """
    (found, notes), wanted = read(path), tensors(backbone)
    shapes = {name: tuple(t.shape) for name, t in wanted.items()}
    if shapes != (have := {name: tuple(t.shape) for name, t in found.items()}):
        differing = sorted(name for name in {*shapes, *have} if shapes.get(name) != have.get(name))
        raise BadInput(f"{path} is of another network: {len(differing)} tensors differ, such as {differing[0]}")
    for name, tensor in wanted.items():
        tensor.copy_(found[name])
    return notes
