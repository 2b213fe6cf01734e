"""Activation checkpointing: a block keeps only its inputs for the backward pass, which computes the rest again.

The loss and the gradients are the same, dropout included. Memory falls to one block and the inputs of all of them; a
training step takes one more forward pass of the blocks.
"""

from __future__ import annotations

from functools import partial
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from glorabench.backbones.base import Backbone
from glorabench.errors import BadInput


def block_paths(backbone: Backbone) -> list[str]:
    """The paths of the blocks of a backbone; none where they are not known."""
    paths = [path for path, _ in backbone.net.named_modules()]
    if blocks := backbone.paths_of("block", paths):
        return blocks
    own_paths: dict[str, str] = {}  # the path without wrappers -> the outermost one; a method may wrap the trunk
    for path in paths:
        own_paths.setdefault(".".join(part for part in path.split(".") if part != "layer"), path)
    return [own_paths[path] for path in backbone.paths_of("block", list(own_paths))]


def check_blocks(name: str, blocks: int) -> None:
    """Refuse a backbone without blocks.

    Raises:
        BadInput: naming it.
    """
    if not blocks:
        raise BadInput(
            f"train.checkpoint_activations: the blocks of {name} are not known: leave it at false, or lower "
            "train.batch_size and raise train.accumulate"
        )


def recompute_blocks(backbone: Backbone) -> None:
    """Let every block compute its activations again in the backward pass, while it trains. No parameter is renamed.

    Raises:
        BadInput: the blocks of the backbone are not known.
    """
    paths = block_paths(backbone)
    check_blocks(backbone.name, len(paths))
    for path in paths:
        block: Any = backbone.net.get_submodule(path)
        block.forward = partial(_run, block.forward)


def _run(forward: MethodType, *args: Any, **kwargs: Any) -> Any:
    """The output of a block. The method is an argument, so that a copy of the network runs its own blocks."""
    block = forward.__self__
    assert isinstance(block, nn.Module)
    if block.training and torch.is_grad_enabled():
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)
    return forward(*args, **kwargs)
