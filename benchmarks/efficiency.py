"""What a training step costs, relative to the frozen floor.

    python benchmarks/efficiency.py --counters

counts FLOPs on the meta device: two for a multiply-add, attention counted, element-wise work not, batches of 8; no
weights, data or accelerator. The floor is a forward pass and the gradients with respect to the activations of every
block: nothing trainable but the class token, below all of them, and the head. Below the floor is what needs no gradient
in the first layers of the first block (pfeiffer, lora) or in any (linear). There are two settings, each with its own
floor: the last block computed for the class token that the head reads, which is the default, and for all tokens, which
is how Hugging Face peft is compared: its layers cannot compute a part of a fused projection.

Writes results/efficiency/counters-BACKBONE.json and README.md, and prints the page.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import track

from glorabench.backbones.base import Backbone
from glorabench.compose import compose, make, options
from glorabench.cost import flops
from glorabench.count import pristine
from glorabench.provenance import provenance
from glorabench.search import PathSpace

BATCH, CLASSES, DRAWS = 8, 100, 24
FLOOR = "frozen floor"
SETTINGS = ("class_token", "all")  # of backbone.last_block
_EVERY = "method.targets=[qkv,o,fc1,fc2]"
_PROMPTS = ["method=vpt_deep", "method.prompts=50"]
VARIANTS: dict[str, list[str]] = {  # beside every method of conf/method/ as it is there
    "lora, fused qkv": ["method=lora", "method.targets=[qkv]"],
    "lora, all linear layers": ["method=lora", _EVERY],
    "dora, fused qkv": ["method=dora", "method.targets=[qkv]"],
    "ia3, fused qkv and fc2": ["method=ia3", "method.targets=[qkv,fc2]"],
    "vpt_deep, 50 prompts": _PROMPTS,
    "glora, all vectors": ["method=glora", "method.path={A: vector, B: vector, C: vector, D: vector, E: vector}"],
    "glora, A none, the rest lora": ["method=glora", "method.path={A: none, B: lora, C: lora, D: vector, E: vector}"],
    "glora, all lora": ["method=glora", "method.path={A: lora, B: lora, C: lora, D: vector, E: vector}"],
    f"glora supernet, mean of {DRAWS} draws": ["method=glora", "method.path=supernet"],
}
_GLORA = ["method=peft", "method.config=GloraConfig", _EVERY]
_IA3 = ["method=peft", "method.config=IA3Config", "method.args={feedforward_modules: [fc2]}"]
PEFT: dict[str, list[str]] = {  # the same in Hugging Face peft
    "lora, fused qkv": ["method=peft", "method.args={r: 8, lora_alpha: 8}", "method.targets=[qkv]"],
    "lora, all linear layers": ["method=peft", "method.args={r: 8, lora_alpha: 8}", _EVERY],
    "dora, fused qkv": ["method=peft", "method.args={r: 8, lora_alpha: 8, use_dora: true}", "method.targets=[qkv]"],
    "ia3, fused qkv and fc2": [*_IA3, "method.targets=[qkv,fc2]"],
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


def step_flops(words: Sequence[str], overrides: Sequence[str] | None) -> float:
    """FLOPs of a training step, per image (mean over drawn paths for a supernet).

    Args:
        words: overrides that choose the backbone.
        overrides: those that choose the method; None is the floor.
    """
    config = compose([*words, *(overrides or [])])
    backbone = copy.deepcopy(pristine(json.dumps(config["backbone"]), CLASSES))
    torch.manual_seed(0)  # a random path is the same one every time
    with torch.device("meta"):
        if overrides is None:
            floor(backbone)
        else:
            make(config["method"]).inject(backbone)
        assert backbone.preprocess is not None
        side = backbone.preprocess.size
        images, labels = torch.randn(BATCH, 3, side, side), torch.zeros(BATCH, dtype=torch.long)
        space = PathSpace(backbone.net)
        counted = []
        for index in range(DRAWS if space.is_supernet else 1):
            if space.is_supernet:
                space.set(space.draw(0, index))
            counted.append(flops(lambda: F.cross_entropy(backbone.net(images), labels)))
    return fmean(counted) / BATCH


def _progress(runs: Mapping[str, Any], said: str) -> Iterable[tuple[str, Any]]:
    console = Console(stderr=True)
    return track(runs.items(), said, console=console, transient=True, disable=not console.is_terminal)


def counters(name: str, setting: str, runs: Mapping[str, Sequence[str] | None]) -> dict[str, float]:
    """FLOPs per image of every run, with one way to compute the last block."""
    words = [f"backbone={name}", f"backbone.last_block={setting}"]
    return {label: step_flops(words, run) for label, run in _progress(runs, f"{name}, last block for {setting}")}


def shortcuts(name: str) -> dict[str, list[float]]:
    """FLOPs per image without and with each exact shortcut."""
    words = [f"backbone={name}"]
    runs = _progress(SHORTCUTS, "shortcuts")
    return {label: [step_flops([*words, *undo], run), step_flops(words, run)] for label, (run, undo) in runs}


def measure(name: str) -> dict[str, Any]:
    """All that goes into the file."""
    return {
        "backbone": name,
        "flops_per_image": {setting: counters(name, setting, variants()) for setting in SETTINGS},
        "peft_flops_per_image": counters(name, SETTINGS[1], PEFT),
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
    git = result["provenance"]["git"]
    code = git["sha"][:10] + " (with local changes)" * git["dirty"] if git else "an installed package"
    parts = ["# What a training step costs", f"`benchmarks/efficiency.py --counters` {said}"]
    for title, columns, rows in tables(result):
        rule = ["---", *["---:"] * (len(columns) - 1)]
        lines = [f"| {' | '.join(line)} |" for line in (columns, rule, *rows)]
        parts += [f"## {title[0].upper()}{title[1:]}", "\n".join(lines)]
    parts.append(f"Counted at {code}, with peft {result['peft']}.")
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Count, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counters", action="store_true", help="FLOPs on the meta device", required=True)
    parser.add_argument("--backbone", default="vit_b16")
    parser.add_argument("--out", type=Path, default=Path("results/efficiency"))
    args = parser.parse_args()
    result = measure(args.backbone)
    page = markdown(result)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"counters-{args.backbone}.json").write_text(json.dumps(result, indent=1) + "\n")
    (args.out / "README.md").write_text(page)
    Console(width=None if sys.stdout.isatty() else 120).print(Markdown(page))


if __name__ == "__main__":
    main()
