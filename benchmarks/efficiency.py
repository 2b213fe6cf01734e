"""What a training step costs, relative to the frozen floor.

    python benchmarks/efficiency.py               # wall clock and memory, a process per variant
    python benchmarks/efficiency.py --counters    # FLOPs and bytes kept for backward

Writes results/efficiency/{steps-BACKBONE-DEVICE,counters-BACKBONE}.json and README.md, and prints the page.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markdown import Markdown

import counters
import pages
import steps
from glorabench.training.measure.provenance import provenance


def main() -> None:
    """Count or measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counters", action="store_true", help="count instead of measuring; exact, any machine")
    parser.add_argument("--backbone", default="vit_b16")
    parser.add_argument("--out", type=Path, default=Path("results/efficiency"))
    parser.add_argument("--batch", type=int, help="images of a step (8 on a CPU, 64 on CUDA)")
    parser.add_argument("--repeats", type=int, help="rounds (5 on a CPU, 30 on CUDA)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each process; all cores")
    args = parser.parse_args()
    cuda = torch.cuda.is_available()
    if args.counters:
        name = f"counters-{args.backbone}"
        result: dict[str, Any] = counters.measure(args.backbone)
    else:
        name = f"steps-{args.backbone}-{'cuda' if cuda else 'cpu'}"
        batch, repeats = args.batch or (64 if cuda else 8), args.repeats or (30 if cuda else 5)
        result = steps.measure(args.backbone, batch, repeats, args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    result |= {"peft": version("peft"), "provenance": provenance()}
    (args.out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    text = pages.page(args.out)
    (args.out / "README.md").write_text(text)
    Console(width=None if sys.stdout.isatty() else 120).print(Markdown(text))


if __name__ == "__main__":
    main()
