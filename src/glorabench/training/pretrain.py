"""The recipe that made the weights of `vit_mini`, which are part of the package.

Three objectives share the trunk. First, the class token names the glyphs of the scene. Second, each
patch token names the glyph in its cell, so the trunk learns to separate things by place without
labels of places. Third, the class token predicts a small copy of the picture, so it keeps what the
names leave out. Only the head of the first objective is saved. Scenes are easy at first and grow
harder over most of the run. With only the hardest ones, hundreds of steps pass without any progress.
"""

import hashlib
import json
import math
import platform
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Generator, Tensor, nn

from glorabench.backbones import vit_mini as architecture
from glorabench.data.synthetic import glyphs
from glorabench.files import check_writable, whole_file, write_text

VALIDATION_SEED = 1_000_003
VALIDATION_IMAGES = 2048


@dataclass(frozen=True)
class Recipe:
    """All values on which the weights depend, apart from the code.

    Attributes:
        steps: optimiser steps.
        batch: scenes in a step; every scene is new.
        muon_lr: peak learning rate of Muon, which trains the matrices of the blocks.
        adam_lr: peak learning rate of AdamW, which trains everything else.
        warmup: steps until the peak; then the rate falls to zero along a cosine.
        weight_decay: weight decay of both optimisers.
        clip: largest norm of the gradient.
        crowd: the most glyphs in a scene.
        growth: share of the steps over which the hardness grows from 0 to 1.
        cells: weight of the patch tokens' loss.
        redraw: weight of the class token's squared error on the small picture.
        thumbnail: side of the small grey picture in pixels.
    """

    steps: int = 4800
    batch: int = 128
    muon_lr: float = 3e-3
    adam_lr: float = 2e-3
    warmup: int = 100
    weight_decay: float = 0.05
    clip: float = 1.0
    crowd: int = 6
    growth: float = 0.7
    cells: float = 0.5
    redraw: float = 5.0
    thumbnail: int = 16


def pretrain(folder: Path, seed: int = 0, recipe: Recipe | None = None) -> dict[str, Any]:
    """Train `vit_mini` from scratch on glyphs and write its weights and their record.

    Args:
        folder: where `vit_mini.safetensors` (half precision) and `vit_mini.json` are written.
        seed: seed of the initialisation and of every image.
        recipe: the values to train with; None for those of the shipped weights.

    Returns:
        The record, as written to `vit_mini.json`.
    """
    recipe = recipe or Recipe()
    check_writable(folder, "give another folder with --out")
    start = time.monotonic()
    torch.manual_seed(seed)
    bank = glyphs.draw_bank()
    net = architecture.vit_mini(num_classes=len(glyphs.GLYPHS))
    heads = nn.ModuleDict(
        {
            "cells": nn.Linear(net.embed_dim, len(glyphs.GLYPHS)),
            "redraw": nn.Linear(net.embed_dim, recipe.thumbnail**2),
        }
    )
    optimisers = _optimisers(net, heads, recipe)
    schedules = [torch.optim.lr_scheduler.LambdaLR(optimiser, partial(_rate, recipe)) for optimiser in optimisers]
    generator = Generator().manual_seed(seed)
    for step in range(recipe.steps):
        hardness = min(1.0, step / (recipe.growth * recipe.steps))
        batch = glyphs.draw_scenes(bank, recipe.batch, generator, hardness, recipe.crowd)
        losses = _backward(net, heads, batch, recipe)
        for optimiser, schedule in zip(optimisers, schedules, strict=True):
            optimiser.step()
            schedule.step()
        if step % 100 == 0 or step + 1 == recipe.steps:
            parts = " ".join(f"{loss.item():.3f}" for loss in losses)
            print(f"step {step} loss {parts} seconds {time.monotonic() - start:.0f}", flush=True)
    return _save(net, folder, seed, recipe, start)


def _optimisers(net: VisionTransformer, heads: nn.ModuleDict, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the hidden layers, and AdamW for everything else."""
    matrices = [p for p in net.blocks.parameters() if p.ndim == 2]
    matrix_ids = {id(p) for p in matrices}
    other_parameters = [p for p in (*net.parameters(), *heads.parameters()) if id(p) not in matrix_ids]
    decay = recipe.weight_decay
    return [
        torch.optim.Muon(matrices, recipe.muon_lr, weight_decay=decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(other_parameters, recipe.adam_lr, weight_decay=decay),
    ]


def _backward(
    net: VisionTransformer, heads: nn.ModuleDict, batch: glyphs.GlyphScenes, recipe: Recipe
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the losses of a batch and their clipped gradients."""
    losses = _losses(net, heads, batch, recipe)
    net.zero_grad()
    heads.zero_grad()
    torch.stack(losses).sum().backward()
    nn.utils.clip_grad_norm_([*net.parameters(), *heads.parameters()], recipe.clip)
    return losses


def _rate(recipe: Recipe, step: int) -> float:
    """Share of the peak learning rate: a linear warm-up, then a cosine to zero."""
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    progress = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return 0.5 * (1 + math.cos(math.pi * progress))


def _losses(
    net: VisionTransformer, heads: nn.ModuleDict, batch: glyphs.GlyphScenes, recipe: Recipe
) -> tuple[Tensor, Tensor, Tensor]:
    tokens = net.forward_features(normalise(batch.images))
    token, patches = tokens[:, 0], tokens[:, 1:]
    naming = F.cross_entropy(net.head(token), batch.present)
    cells = F.cross_entropy(heads["cells"](patches).flatten(0, 1), batch.cells.flatten(), ignore_index=glyphs.NO_GLYPH)
    small = F.adaptive_avg_pool2d(batch.images.mean(1, keepdim=True), recipe.thumbnail)
    redrawn = F.mse_loss(heads["redraw"](token), normalise(small).flatten(1))
    return naming, recipe.cells * cells, recipe.redraw * redrawn


def normalise(images: Tensor) -> Tensor:
    """Map images in [0, 1] to the [-1, 1] that `vit_mini` takes."""
    return images.mul(2).sub(1)


@torch.no_grad()
def evaluate_upstream(net: nn.Module) -> float:
    """Top-1 accuracy, in [0, 1], of a net with its upstream head on the held-out upstream set.

    Args:
        net: maps images (N, 3, 32, 32) to logits (N, glyphs), in the order of `glyphs.GLYPHS`.
    """
    training = net.training
    device = next(net.parameters()).device
    net.eval()
    images, labels = held_out()
    guesses = [net(batch.to(device)).argmax(1).cpu() for batch in images.split(256)]
    net.train(training)
    return float((torch.cat(guesses) == labels).double().mean())


def held_out() -> tuple[Tensor, Tensor]:
    """The held-out upstream set: 2048 x 3 x 32 x 32 normalised images of one glyph at full hardness, and labels."""
    generator, bank = Generator().manual_seed(VALIDATION_SEED), glyphs.draw_bank()
    batches = [glyphs.draw_scenes(bank, 256, generator, hardness=1.0, crowd=1) for _ in range(VALIDATION_IMAGES // 256)]
    images = torch.cat([normalise(batch.images) for batch in batches])
    return images, torch.cat([batch.present.argmax(1) for batch in batches])


def _save(net: nn.Module, folder: Path, seed: int, recipe: Recipe, start: float) -> dict[str, Any]:
    half = {name: tensor.half().contiguous() for name, tensor in net.state_dict().items()}
    net.load_state_dict(half)  # the accuracy in the record is that of the rounded weights
    file = folder / "vit_mini.safetensors"
    with whole_file(file) as draft:
        save_file(half, draft)
    record: dict[str, Any] = {
        "architecture": "vit_mini",
        "parameters": sum(tensor.numel() for tensor in half.values()),
        "recipe": asdict(recipe),
        "seed": seed,
        "steps": recipe.steps,
        "images": recipe.steps * recipe.batch,
        "upstream": {
            "task": "which glyph",
            "classes": len(glyphs.GLYPHS),
            "val_images": VALIDATION_IMAGES,
            "top1": evaluate_upstream(net),
        },
        "seconds": round(time.monotonic() - start, 1),
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "timm": timm.__version__,
            "matplotlib": mpl.__version__,
        },
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    write_text(folder / "vit_mini.json", json.dumps(record, indent=2) + "\n")
    print(f"upstream top-1 {record['upstream']['top1']:.4f}", flush=True)
    return record
