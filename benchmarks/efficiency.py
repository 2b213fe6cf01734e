"""What a training step costs, relative to the frozen floor.

    python benchmarks/efficiency.py --counters

counts FLOPs on the meta device: two for a multiply-add, attention counted, element-wise work not, batches of 8; no
weights, data or accelerator. The floor is a forward pass and the gradients with respect to the activations of every
block: nothing trainable but the class token, below all of them, and the head. Below the floor is what needs no gradient
in the first layers of the first block (pfeiffer, lora) or in any (linear). There are two settings, each with its own
floor: the last block computed for the class token that the head reads, which is the default, and for all tokens, which
is how Hugging Face peft is compared: its layers cannot compute a part of a fused projection.

Writes results/efficiency/counters-BACKBONE.json and README.md, and prints the tables; --format md prints what
README.md says.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from rich.table import Table

from glorabench.backbones.base import Backbone
from glorabench.compose import compose, make, options
from glorabench.cost import flops
from glorabench.provenance import provenance
from glorabench.search import PathSpace

T = TypeVar("T")
BATCH, CLASSES, DRAWS = 8, 100, 24
FLOOR = "frozen floor"
SETTINGS = ("class_token", "all")  # of backbone.last_block
_VECTOR = "method.path={A: vector, B: vector, C: vector, D: vector, E: vector}"
_NO_A = "method.path={A: none, B: lora, C: lora, D: vector, E: vector}"
_LORA = "method.path={A: lora, B: lora, C: lora, D: vector, E: vector}"
_EVERY = "method.targets=[qkv,o,fc1,fc2]"
_PROMPTS = ["method=vpt_deep", "method.prompts=50"]
VARIANTS: dict[str, list[str]] = {  # beside every method of conf/method/ as it is there
    "lora, fused qkv": ["method=lora", "method.targets=[qkv]"],
    "lora, all linear layers": ["method=lora", _EVERY],
    "dora, fused qkv": ["method=dora", "method.targets=[qkv]"],
    "ia3, fused qkv and fc2": ["method=ia3", "method.targets=[qkv,fc2]"],
    "vpt_deep, 50 prompts": _PROMPTS,
    "glora, all vectors": ["method=glora", _VECTOR],
    "glora, A none, the rest lora": ["method=glora", _NO_A],
    "glora, all lora": ["method=glora", _LORA],
    "glora supernet, mean of 24 draws": ["method=glora", "method.path=supernet"],
}
_GLORA = ["method=peft", "method.config=GloraConfig", _EVERY]
PEFT: dict[str, list[str]] = {  # the same in Hugging Face peft
    "lora, fused qkv": ["method=peft", "method.args={r: 8, lora_alpha: 8}", "method.targets=[qkv]"],
    "lora, all linear layers": ["method=peft", "method.args={r: 8, lora_alpha: 8}", _EVERY],
    "dora, fused qkv": ["method=peft", "method.args={r: 8, lora_alpha: 8, use_dora: true}", "method.targets=[qkv]"],
    "ia3, fused qkv and fc2": [
        "method=peft",
        "method.config=IA3Config",
        "method.args={feedforward_modules: [fc2]}",
        "method.targets=[qkv,fc2]",
    ],
    "glora, all vectors": [*_GLORA, "method.args={config_A_B: vector, config_C: vector, config_D_E: vector}"],
    "glora, all lora": [*_GLORA, "method.args={r: 4, config_A_B: lora, config_C: lora, config_D_E: vector}"],
}
_PLAIN = "backbone.last_block=all"
_APART = ["method.targets=[q,k,v,o,fc1,fc2]"]
SHORTCUTS: dict[str, tuple[list[str] | None, list[str]]] = {  # a run with it, None for the floor, and what undoes it
    "last block for the class token: frozen floor": (None, [_PLAIN]),
    "last block for the class token: full fine-tuning": (["method=full"], [_PLAIN]),
    "VPT-Deep, 50 prompts as keys and values only": (_PROMPTS, ["method.keys_only=false"]),
    "VPT-Deep, the same, no dropout of prompts": ([*_PROMPTS, "method.dropout=0"], ["method.keys_only=false"]),
    "FacT-TT, U once for q, k, v": (["method=fact_tt"], _APART),
    "FacT-TK, U once for q, k, v": (["method=fact_tk"], _APART),
    "FacT-TT, the same, last block for all tokens": (["method=fact_tt", _PLAIN], _APART),
    "FacT-TK, the same, last block for all tokens": (["method=fact_tk", _PLAIN], _APART),
}


def variants() -> dict[str, list[str] | None]:
    """Label and overrides of the floor (None), and of every method, its variants after it."""
    every = {**{name: [f"method={name}"] for name in options("method")}, **VARIANTS}
    return {FLOOR: None, **dict(sorted(every.items()))}


def floor(backbone: Backbone) -> None:
    """Leave nothing trainable but the class token, through which gradients cross every block, and the head."""
    backbone.net.requires_grad_(False)
    for parameter in (backbone.net.get_parameter("cls_token"), *backbone.head_parameters()):
        parameter.requires_grad_(True)


@lru_cache(maxsize=2)
def _pristine(config: str) -> Backbone:
    with torch.device("meta"):
        backbone = make(json.loads(config))
        backbone.set_head(CLASSES)
    return backbone


def step_flops(words: Sequence[str], overrides: Sequence[str] | None) -> float:
    """FLOPs of a training step, per image (mean over drawn paths for a supernet).

    Args:
        words: overrides that choose the backbone.
        overrides: those that choose the method; None is the floor.
    """
    config = compose([*words, *(overrides or [])])
    backbone = copy.deepcopy(_pristine(json.dumps(config["backbone"])))
    torch.manual_seed(0)  # a random path is the same one every time
    with torch.device("meta"):
        if overrides is None:
            floor(backbone)
        else:
            make(config["method"]).inject(backbone)
        assert backbone.preprocess is not None
        side = backbone.preprocess.size
        images, labels = torch.randn(BATCH, 3, side, side), torch.zeros(BATCH, dtype=torch.long)

        def step() -> torch.Tensor:
            return F.cross_entropy(backbone.net(images), labels)

        space = PathSpace(backbone.net)
        if not space.is_supernet:
            return flops(step) / BATCH
        counted = []
        for index in range(DRAWS):
            space.set(space.draw(0, index))
            counted.append(flops(step))
        return fmean(counted) / BATCH


def _progress(runs: Mapping[str, T], said: str) -> Iterable[tuple[str, T]]:
    console = Console(stderr=True)
    return track(runs.items(), said, console=console, transient=True, disable=not console.is_terminal)


def counters(name: str, setting: str = SETTINGS[0]) -> dict[str, float]:
    """FLOPs per image of the floor and of every variant, with one way to compute the last block."""
    words = [f"backbone={name}", f"backbone.last_block={setting}"]
    said = f"{name}, last block for {setting}"
    return {label: step_flops(words, run) for label, run in _progress(variants(), said)}


def peft_counters(name: str) -> dict[str, float]:
    """FLOPs per image of what Hugging Face peft has, the last block for all tokens."""
    words = [f"backbone={name}", f"backbone.last_block={SETTINGS[1]}"]
    return {label: step_flops(words, run) for label, run in _progress(PEFT, "peft")}


def shortcuts(name: str) -> dict[str, list[float]]:
    """FLOPs per image without and with each exact shortcut."""
    made = {}
    for label, (run, undo) in _progress(SHORTCUTS, "shortcuts"):
        words = [f"backbone={name}"]
        plain = step_flops([*words, *undo], None) if run is None else step_flops(words, [*run, *undo])
        made[label] = [plain, step_flops(words, run)]
    return made


def measure(name: str) -> dict[str, Any]:
    """All that goes into the file."""
    return {
        "backbone": name,
        "flops_per_image": {setting: counters(name, setting) for setting in SETTINGS},
        "peft_flops_per_image": peft_counters(name),
        "shortcuts": shortcuts(name),
        "peft": version("peft"),
        "provenance": provenance(),
    }


def tables(result: dict[str, Any]) -> Iterator[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """Title, columns and rows of both tables."""
    short, plain, peft = *(result["flops_per_image"][s] for s in SETTINGS), result["peft_flops_per_image"]
    rows = []
    for label in short:
        row = [label]
        for counted, base in ((short, short[FLOOR]), (plain, plain[FLOOR]), (peft, plain[FLOOR])):
            value = counted.get(label)
            row += ["", ""] if value is None else [f"{value / 1e9:.2f}", f"{value / base:.3f}"]
        rows.append(tuple(row))
    columns = ("method", "GFLOP", "/ floor", "all tokens", "/ floor", "peft, all tokens", "/ floor")
    yield f"a training step on {result['backbone']}, GFLOP per image", columns, rows
    saved = [
        (label, f"{without / 1e9:.2f}", f"{found / 1e9:.2f}", f"{100 * (1 - found / without):.1f} %")
        for label, (without, found) in result["shortcuts"].items()
    ]
    yield "exact shortcuts, GFLOP per image", ("shortcut", "without", "with", "saves"), saved


def markdown(result: dict[str, Any]) -> str:
    """Both tables, with what they mean."""
    said = " ".join((__doc__ or "").split("\n\n")[2].split())
    git = result["provenance"]["git"] or {"sha": "an installed package"}
    parts = ["# What a training step costs", f"`benchmarks/efficiency.py --counters` {said}"]
    for title, columns, rows in tables(result):
        rule = ["---", *["---:"] * (len(columns) - 1)]
        lines = [f"| {' | '.join(line)} |" for line in (columns, rule, *rows)]
        parts += [f"## {title[0].upper()}{title[1:]}", "\n".join(lines)]
    parts.append(f"Counted at {git['sha'][:10]}, with peft {result['peft']}.")
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Count, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counters", action="store_true", help="FLOPs on the meta device", required=True)
    parser.add_argument("--backbone", default="vit_b16")
    parser.add_argument("--out", type=Path, default=Path("results/efficiency"))
    parser.add_argument("--format", choices=("text", "md"), default="text")
    args = parser.parse_args()
    result = measure(args.backbone)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"counters-{args.backbone}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    (args.out / "README.md").write_text(markdown(result))
    if args.format == "md":
        print(markdown(result), end="")
        return
    console = Console(width=None if sys.stdout.isatty() else 120)
    for title, columns, rows in tables(result):
        grid = Table(title=title)
        for column in columns:
            grid.add_column(column, justify="left" if column == columns[0] else "right")
        for row in rows:
            grid.add_row(*row)
        console.print(grid)
    print(f"written to {path} and {args.out / 'README.md'}")


if __name__ == "__main__":
    main()
