"""What a training step costs, relative to the frozen floor.

    python benchmarks/efficiency.py --counters

counts FLOPs on the meta device: no weights, no data, no accelerator. The floor is one forward pass and the
gradients with respect to the activations of every block: nothing trainable but the class token and the head.
Writes results/efficiency/counters-BACKBONE.json and prints the table.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import fmean

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table

from glorabench.backbones.base import Backbone
from glorabench.compose import compose, make
from glorabench.cost import flops
from glorabench.provenance import provenance
from glorabench.search import PathSpace

BATCH, CLASSES, DRAWS = 8, 100, 24
_VECTOR = "method.path={A: vector, B: vector, C: vector, D: vector, E: vector}"
_NO_A = "method.path={A: none, B: lora, C: lora, D: vector, E: vector}"
_LORA = "method.path={A: lora, B: lora, C: lora, D: vector, E: vector}"
VARIANTS: dict[str, list[str]] = {
    "full fine-tuning": ["method=full"],
    "bitfit": ["method=bitfit"],
    "lora (rank 8, q and v)": ["method=lora"],
    "glora, all vectors": ["method=glora", _VECTOR],
    "glora, A none, the rest lora": ["method=glora", _NO_A],
    "glora supernet, mean of 24 draws": ["method=glora", "method.path=supernet"],
    "glora, all lora": ["method=glora", _LORA],
}


def floor(backbone: Backbone) -> None:
    """Leave nothing trainable but the class token, through which gradients cross every block, and the head."""
    backbone.net.requires_grad_(False)
    for parameter in (backbone.net.get_parameter("cls_token"), *backbone.head_parameters()):
        parameter.requires_grad_(True)


def step_flops(name: str, overrides: list[str] | None) -> float:
    """FLOPs of a training step of a batch (mean over drawn paths for a supernet); None is the floor."""
    config = compose([f"backbone={name}", *(overrides or [])])
    with torch.device("meta"):
        backbone = make(config["backbone"])
        backbone.set_head(CLASSES)
        if overrides is None:
            floor(backbone)
        else:
            make(config["method"]).inject(backbone)
        side = backbone.preprocess.size
        images, labels = torch.randn(BATCH, 3, side, side), torch.zeros(BATCH, dtype=torch.long)

        def step() -> torch.Tensor:
            return F.cross_entropy(backbone.net(images), labels)

        space = PathSpace(backbone.net)
        if not space.is_supernet:
            return flops(step)
        counted = []
        for index in range(DRAWS):
            space.set(space.draw(0, index))
            counted.append(flops(step))
        return fmean(counted)


def counters(name: str) -> dict[str, float]:
    """FLOPs per image of the floor and of every variant."""
    every = {"frozen floor": None, **VARIANTS}
    return {label: step_flops(name, overrides) / BATCH for label, overrides in every.items()}


def main() -> None:
    """Count, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counters", action="store_true", help="FLOPs on the meta device", required=True)
    parser.add_argument("--backbone", default="vit_b16")
    parser.add_argument("--out", type=Path, default=Path("results/efficiency"))
    args = parser.parse_args()
    counted = counters(args.backbone)
    base = counted["frozen floor"]
    grid = Table(title=f"training step on {args.backbone}, FLOPs (2 per multiply-add)")
    for column in ("variant", "GFLOP per image", "relative to floor"):
        grid.add_column(column, justify="left" if column == "variant" else "right")
    for label, value in counted.items():
        grid.add_row(label, f"{value / 1e9:.2f}", f"{value / base:.3f}")
    Console().print(grid)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"counters-{args.backbone}.json"
    result = {"backbone": args.backbone, "flops_per_image": counted, "provenance": provenance()}
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
