"""Adapters: the trained tensors of an injected backbone, kept as safetensors under their names in its network."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from glorabench.backbones.base import Backbone
from glorabench.errors import BadInput, first_line


def trained(backbone: Backbone) -> dict[str, Tensor]:
    """Every tensor that is trained, head included."""
    return {name: p for name, p in backbone.net.named_parameters() if p.requires_grad}


def save(tensors: dict[str, Tensor], path: Path) -> None:
    """Write atomically: a file that exists is whole.

    Raises:
        BadInput: the folder is not writable or the disk is full.
    """
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, draft)
        draft.replace(path)
    except (OSError, SafetensorError) as error:
        draft.unlink(missing_ok=True)
        raise BadInput(
            f"{path} cannot be written ({first_line(error)}). Free space or set results_dir=FOLDER and give the same "
            "command again: training goes on from its checkpoint."
        ) from error


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file.

    Raises:
        BadInput: there is no such file, or it is damaged.
    """
    if not path.is_file():
        raise BadInput(f"no trained weights at {path}: they lie beside the records of the run that made them")
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{path} is damaged ({first_line(error)}): remove it, and the run is made again") from error


@torch.no_grad()
def load(backbone: Backbone, path: Path) -> None:
    """Fill in every trained tensor from a file.

    Raises:
        BadInput: there is no such file, it is damaged, or it holds other tensors.
    """
    found, wanted = read(path), trained(backbone)
    shapes = {name: tuple(t.shape) for name, t in wanted.items()}
    if shapes != (have := {name: tuple(t.shape) for name, t in found.items()}):
        differing = sorted(name for name in {*shapes, *have} if shapes.get(name) != have.get(name))
        raise BadInput(f"{path} is of another network: {len(differing)} tensors differ, such as {differing[0]}")
    for name, tensor in wanted.items():
        tensor.copy_(found[name])
