"""What scoring a candidate of a search costs, in plain forward passes of the same images.

    python benchmarks/search.py
    python benchmarks/search.py --candidates 20 --images 32 backbone=vit_b16 backbone.model=vit_small_patch16_224 \
        backbone.weights_from=null

A supernet of random factors is scored on random images, in turns with a forward pass of the plain network, so that a
machine that slows down slows down both; on a CPU processor time is taken. Candidates are random ones, which share next
to nothing, and those of the last generations of the official evolution on an additive landscape, which share first
blocks; each generation is scored in the order of the driver. Uses one thread and the CPU unless told otherwise.

Writes results/efficiency/search-BACKBONE.json and README.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import pages
from glorabench.config.compose import compose
from glorabench.config.instantiate import ALGORITHM, BACKBONE, METHOD, make
from glorabench.search.algorithms import Algorithm
from glorabench.search.candidates import Candidates
from glorabench.search.evaluator import Evaluator
from glorabench.search.space import Genome, PathSpace
from glorabench.training.measure.provenance import provenance

CLASSES = 10


def generations(space: PathSpace, algorithm: Algorithm) -> list[list[Genome]]:
    """What an algorithm asks for where every choice of a gene is worth a random number, and worths add up."""
    rng = np.random.default_rng(0)
    worth = rng.normal(size=space.sizes.shape)
    genes = np.arange(len(space.options))
    asking = algorithm.propose(Candidates(space, *space.limits, rng))
    batches = [next(asking)]
    while True:
        try:
            batches.append(asking.send([float(worth[genes, list(genome)].sum()) for genome in batches[-1]]))
        except StopIteration:
            return batches


def seconds(step: Callable[[], object], device: torch.device) -> float:
    """Time of one call: of the processor on a CPU, where other processes may run; else of the clock."""
    if device.type == "cpu":
        started = time.process_time()
        step()
        return time.process_time() - started
    torch.accelerator.synchronize()
    started = time.perf_counter()
    step()
    torch.accelerator.synchronize()
    return time.perf_counter() - started


def _right(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return net(batch[0]).argmax(-1) == batch[1]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("overrides", nargs="*", help="backbone=... method...=...")
    parser.add_argument("--candidates", type=int, default=200)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("results/efficiency"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    torch.manual_seed(0)
    config = compose(["method=glora", "method.path=supernet", "search=evolution", *args.overrides])
    backbone, plain = make(config["backbone"], BACKBONE), make(config["backbone"], BACKBONE)
    for made in (backbone, plain):
        made.set_head(CLASSES)
        made.net.to(device).eval()
    make(config["method"], METHOD).inject(backbone)
    with torch.no_grad():
        for parameter in backbone.net.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.02)
    side = backbone.preprocess.size
    images = torch.randn(args.images, 3, side, side, device=device)
    labels = torch.randint(CLASSES, (args.images,), device=device)
    evaluator = Evaluator(
        backbone, [(images, labels)], lambda net, batch: net(batch[0]).argmax(-1) == batch[1], nullcontext
    )

    @torch.no_grad()
    def forward() -> None:
        plain.net(images).argmax(-1).eq(labels).sum().item()

    def taken(genomes: Sequence[Genome]) -> dict[str, float]:
        """Milliseconds of a candidate and of a forward pass, means; their ratio."""
        pairs = [(seconds(lambda g=g: evaluator(g), device), seconds(forward, device)) for g in genomes]
        ours, floor = (1e3 * sum(times) / len(pairs) for times in zip(*pairs, strict=True))
        return {
            "candidates": len(pairs),
            "candidate_ms": round(ours, 2),
            "forward_ms": round(floor, 2),
            "ratio": round(ours / floor, 3),
        }

    batches = generations(evaluator.space, make(config["search"]["algorithm"], ALGORITHM))
    draws = [evaluator.space.draw(0, step) for step in range(args.candidates + 1)]
    evaluator(draws[-1])  # counts FLOPs, and warms up
    forward()
    late = [genome for batch in batches[-max(1, args.candidates // len(batches[0])) :] for genome in sorted(batch)]
    model = config["backbone"].get("model", backbone.name)
    result = {
        "model": model,
        "images": args.images,
        "threads": args.threads,
        "device": str(device),
        "scoring": {"random candidates": taken(draws[:-1]), "late generations": taken(late[: args.candidates])},
        "provenance": provenance(),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"search-{model}.json").write_text(json.dumps(result, indent=1) + "\n")
    (args.out / "README.md").write_text(pages.page(args.out))
    print("\n\n".join(pages.sections(pages.search_tables(result))))


if __name__ == "__main__":
    main()
