"""How long a training step on a Llama takes, ours beside peft's.

    python benchmarks/text_steps.py          # one billion parameters, bfloat16, on a GPU
    python benchmarks/text_steps.py --cpu    # a small one in float32, on the CPU

Variants are those of text_counters.py, with random weights and tokens and AdamW; a supernet draws a path for each step.
All are warm, and steps of all of them are taken in turn. Medians; ratios to the floor are medians over rounds.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from glorabench.data.text.batches import TextBatch
from glorabench.reports.rendering import grid
from glorabench.search.space import PathSpace
from glorabench.training.objectives.language import LanguageModelling
from text_counters import FLOOR, LINEARS, VARIANTS, Variant, adapted

_ARGS = "backbone.model_args."
BILLION = (  # the shape of Llama-3.2-1B
    "backbone=llama_7b", "backbone.weights_from=null", "backbone.dtype=bfloat16", f"{_ARGS}vocab_size=128256",
    f"{_ARGS}hidden_size=2048", f"{_ARGS}intermediate_size=8192", f"{_ARGS}num_key_value_heads=8",
)  # fmt: skip
SMALL = (
    "backbone=llama_7b", "backbone.weights_from=null", f"{_ARGS}vocab_size=2048", f"{_ARGS}hidden_size=512",
    f"{_ARGS}intermediate_size=1376", f"{_ARGS}num_attention_heads=8", f"{_ARGS}num_key_value_heads=8",
)  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """A network and a batch."""

    words: tuple[str, ...]
    layers: int
    rows: int
    tokens: int
    device: str


class Runner:
    """A variant, ready to step."""

    def __init__(self, variant: Variant, shape: Shape) -> None:
        backbone = adapted(variant, shape.words, shape.layers, recompute=False)
        self.net, self.device, self.taken = backbone.net.to_empty(device=shape.device), shape.device, 0
        torch.manual_seed(0)
        with torch.no_grad():
            for parameter in self.net.parameters():
                parameter.normal_(std=0.02) if parameter.ndim > 1 else parameter.fill_(1.0)
            for buffer in self.net.buffers():  # frequencies of the rotation
                buffer.copy_(torch.logspace(0, -4, buffer.numel(), device=shape.device).view_as(buffer))
        self.space, self.objective = PathSpace(self.net), LanguageModelling(["loss"])
        trained = [p for p in self.net.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
        vocabulary = self.net.get_submodule("model.embed_tokens").get_parameter("weight").shape[0]
        ids = torch.randint(vocabulary, (shape.rows, shape.tokens), device=shape.device)
        at = torch.arange(ids.numel(), device=shape.device).view_as(ids)[:, :-1].flatten()
        self.batch = TextBatch(ids, at, ids.flatten()[at + 1], at // shape.tokens, [])

    def loss(self) -> Tensor:
        """Of the batch."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
            return self.objective.loss(self.net, self.batch)

    def step(self) -> tuple[float, int]:
        """Milliseconds of a step, and the bytes it allocates on CUDA at its peak."""
        if self.space.is_supernet:
            self.space.set(self.space.draw(0, self.taken))
            self.taken += 1
        before = self._synchronised_bytes()
        started = time.perf_counter()
        self.loss().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._synchronised_bytes()
        peak = torch.cuda.max_memory_allocated() if self.device == "cuda" else 0
        return 1e3 * (time.perf_counter() - started), peak - before

    def _synchronised_bytes(self) -> int:
        if self.device != "cuda":
            return 0
        torch.cuda.synchronize()
        return torch.cuda.memory_allocated()


def measure(shape: Shape, rounds: int) -> list[tuple[str, ...]]:
    """Rows of the table: label, layers, median milliseconds, ratio to the floor, and megabytes on CUDA."""
    runners = {variant: Runner(variant, shape) for variant in VARIANTS}
    ms: dict[Variant, list[float]] = {variant: [] for variant in VARIANTS}
    peaks: dict[Variant, int] = dict.fromkeys(VARIANTS, 0)
    for turn in range(rounds + 1):  # the first one warms up
        for variant, runner in runners.items():
            if shape.device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            taken, peak = runner.step()
            if turn:
                ms[variant].append(taken)
                peaks[variant] = max(peaks[variant], peak)
    rows = []
    for variant, samples in ms.items():
        base = ms[next(v for v in VARIANTS if v.targets == variant.targets and v.label == FLOOR)]
        ratio = median(a / b for a, b in zip(samples, base, strict=True))
        layers = "all seven" if variant.targets == LINEARS else variant.targets.replace(",", ", ")
        memory = (f"{peaks[variant] / 1e6:,.0f}",) if shape.device == "cuda" else ()
        rows.append((variant.label, layers, f"{median(samples):.1f}", f"{ratio:.3f}", *memory))
    return rows


def main() -> None:
    """Measure and print.

    Raises:
        SystemExit: there is no GPU, and `--cpu` is not given.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu", action="store_true", help="a small network in float32 on the CPU")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    if not (args.cpu or torch.cuda.is_available()):
        sys.exit("text_steps.py needs a CUDA GPU, and there is none: --cpu takes a small network on the CPU")
    shape = Shape(SMALL, 3, 2, 128, "cpu") if args.cpu else Shape(BILLION, 16, 8, 512, "cuda")
    columns = ("method", "layers", "step ms", "/ floor", *([] if args.cpu else ["peak MB"]))
    print("\n".join(grid(columns, measure(shape, args.rounds), columns[:2])))


if __name__ == "__main__":
    main()
