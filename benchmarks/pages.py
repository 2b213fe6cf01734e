"""The page of results/efficiency, a function of the files beside it: what a step counts, and what a clock says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import counters
import steps
from counters import FLOOR, SETTINGS
from steps import ALL, LITERAL, LORA, SUPERNET, THEIRS

Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]


def counter_tables(result: dict[str, Any]) -> Iterator[Table]:
    """Title, columns and rows of what is counted."""
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
    ours, theirs = result["saved_bytes_per_image"], result["peft_saved_bytes_per_image"]
    rows = []
    for label in ours:
        row = [label]
        for counted in (ours, theirs):
            value = counted.get(label)
            row += ["", ""] if value is None else [f"{value / 1e6:.1f}", f"{value / ours[LORA]:.3f}"]
        rows.append(tuple(row))
    columns = ("method", "MB", "/ lora, all layers", "peft", "/ lora, all layers")
    yield f"kept for backward on {result['backbone']}, MB per image", columns, rows
    saved = [
        (label, f"{without / 1e9:.2f}", f"{found / 1e9:.2f}", f"{100 * (1 - found / without):.1f} %")
        for label, (without, found) in result["shortcuts"].items()
    ]
    yield "exact shortcuts, GFLOP per image", ("shortcut", "without", "with", "saves"), saved


def step_tables(result: dict[str, Any]) -> Iterator[Table]:
    """Title, columns and rows of what was measured; ratios are medians of ratios within a round."""
    ms, peak, speed = result["ms"], result["peak_bytes"], result.get("images_per_s")
    rows = []
    for label, samples in ms.items():
        low, middle, high = quantiles(samples, n=4, method="inclusive")
        ratios = [a / b for a, b in zip(samples, ms[FLOOR], strict=True)]
        row = [label, f"{middle:.1f}", f"{high - low:.1f}", f"{median(ratios):.3f}", f"{peak[label] / 1e6:,.0f}"]
        rows.append((*row, *([f"{speed[label]:.1f}"] if speed else [])))
    columns = ("variant", "step ms", "IQR", "/ floor", "peak MB", *(["images/s, an epoch"] if speed else []))
    where = f"{result['device']}, {result['precision']}, {result['threads']} threads"
    yield f"{result['backbone']}, batches of {result['batch']}, {where}", columns, rows


def faster(result: dict[str, Any]) -> Iterator[str]:
    """How many times faster a step of GLoRA is than the same computed otherwise: medians over rounds."""
    ms, pairs = result["ms"], ((SUPERNET, LITERAL), (SUPERNET, THEIRS), (ALL, THEIRS))
    for ours, other in (pair for pair in pairs if ms.keys() >= set(pair)):
        times = median(a / b for a, b in zip(ms[other], ms[ours], strict=True))
        yield f"A step of {ours} is {times:.2f} times as fast as one of {other}."


def _said(module: Any) -> str:
    return " ".join((module.__doc__ or "").split("\n\n", 1)[1].split())


def _tables(found: Iterator[Table]) -> Iterator[str]:
    for title, columns, rows in found:
        rule = ["---", *["---:"] * (len(columns) - 1)]
        yield f"## {title[0].upper()}{title[1:]}"
        yield "\n".join(f"| {' | '.join(line)} |" for line in (columns, rule, *rows))


def _code(result: dict[str, Any]) -> str:
    git = result["provenance"]["git"]
    code = git["sha"][:10] + " (with local changes)" * git["dirty"] if git else "an installed package"
    return f"{code}, with torch {result['provenance']['versions']['torch']} and peft {result['peft']}."


def markdown(counted: Sequence[dict[str, Any]], measured: Sequence[dict[str, Any]]) -> str:
    """All tables, with what they mean."""
    parts = ["# What a training step costs"]
    if measured:
        parts.append(f"`benchmarks/efficiency.py`: {_said(steps)}")
    for result in measured:
        parts += [*_tables(step_tables(result)), " ".join(faster(result)), f"Measured at {_code(result)}"]
    if counted:
        parts.append(f"`benchmarks/efficiency.py --counters`: {_said(counters)}")
    for result in counted:
        parts += [*_tables(counter_tables(result)), f"Counted at {_code(result)}"]
    return "\n\n".join(parts) + "\n"


def page(folder: Path) -> str:
    """The page of a folder of results."""
    read = [
        [json.loads(p.read_text()) for p in sorted(folder.glob(f"{kind}-*.json"))] for kind in ("counters", "steps")
    ]
    return markdown(*read)
