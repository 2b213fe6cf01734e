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
from glorabench.reports.rendering import grid
from steps import ALL, LITERAL, LORA, SUPERNET, THEIRS

_SCORED = (
    "a candidate of a search against a forward pass of the plain network on the same images, in turns; processor time "
    "on a CPU. Late generations of an evolution share their first blocks, random candidates only what comes before all."
)
_LOADED = (
    "how fast images come, ready for the network, beside what the backbone consumes in training: out of the cache that "
    "the first run of a sweep decodes; the same with timm's training augmentation; decoded in threads, as a test split "
    "that is not kept; and as published code does, by a DataLoader that decodes with Pillow in each epoch. JPEG files."
)
Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]


def counter_tables(result: dict[str, Any]) -> Iterator[Table]:
    """Title, columns and rows of what is counted."""
    short, plain = (result["flops_per_image"][s] for s in SETTINGS)
    literal, peft = (result[f"{whose}_flops_per_image"] for whose in ("literal", "peft"))
    rows = []
    for label in short:
        row = [label]
        for counted, base in (
            (short, short[FLOOR]),
            (plain, plain[FLOOR]),
            (literal, plain[FLOOR]),
            (peft, plain[FLOOR]),
        ):
            value = counted.get(label)
            row += ["", ""] if value is None else [f"{value / 1e9:.2f}", f"{value / base:.3f}"]
        rows.append(tuple(row))
    heads = ("GFLOP", "all tokens", "formula taken literally", "peft")
    columns = ("method", *(name for head in heads for name in (head, "/ floor")))
    yield f"a training step on {result['backbone']}, GFLOP per image", columns, rows
    ours, literal, theirs = (result[f"{whose}saved_bytes_per_image"] for whose in ("", "literal_", "peft_"))
    rows = []
    for label in ours:
        row = [label]
        for counted in (ours, literal, theirs):
            value = counted.get(label)
            row += ["", ""] if value is None else [f"{value / 1e6:.1f}", f"{value / ours[LORA]:.3f}"]
        rows.append(tuple(row))
    heads = ("MB", "formula taken literally", "peft")
    columns = ("method", *(name for head in heads for name in (head, "/ lora, all layers")))
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


def search_tables(result: dict[str, Any]) -> Iterator[Table]:
    """Title, columns and rows of what scoring a candidate takes."""
    rows = [
        (label, f"{t['candidate_ms']:.1f}", f"{t['forward_ms']:.1f}", f"{t['ratio']:.3f}", str(t["candidates"]))
        for label, t in result["scoring"].items()
    ]
    columns = ("candidates", "one of them, ms", "plain forward, ms", "ratio", "n")
    where = f"{result['model']}, {result['images']} images, {result['device']}, {result['threads']} threads"
    yield f"scoring a candidate of a search: {where}", columns, rows


def data_tables(result: dict[str, Any]) -> Iterator[Table]:
    """Title, columns and rows of how fast images come; medians over rounds."""
    shapes, rows = list(result["images_per_s"]), []
    for way in result["images_per_s"][shapes[0]]:
        paces = [median(result["images_per_s"][shape][way]) for shape in shapes]
        rows.append((way, *(word for pace in paces for word in (f"{pace:,.0f}", f"{pace / result['consumed']:,.1f}"))))
    columns = ("images", *(word for shape in shapes for word in (f"{shape}, images/s", "/ consumed")))
    where = f"{result['device']}, {result['provenance']['threads']} threads"
    yield f"images to {result['size']} x {result['size']}, {where}", columns, rows


def faster(result: dict[str, Any]) -> Iterator[str]:
    """How many times faster a step of GLoRA is than the same computed otherwise: medians over rounds."""
    ms, pairs = result["ms"], ((SUPERNET, LITERAL), (SUPERNET, THEIRS), (ALL, THEIRS))
    for ours, other in (pair for pair in pairs if ms.keys() >= set(pair)):
        times = median(a / b for a, b in zip(ms[other], ms[ours], strict=True))
        yield f"A step of {ours} is {times:.2f} times as fast as one of {other}."


def _said(module: Any) -> str:
    return " ".join((module.__doc__ or "").split("\n\n", 1)[1].split())


def sections(found: Iterator[Table]) -> Iterator[str]:
    """Each table below its title, as Markdown."""
    for title, columns, rows in found:
        yield f"## {title[0].upper()}{title[1:]}"
        yield "\n".join(grid(columns, rows, columns[:1]))


def _code(result: dict[str, Any]) -> str:
    git = result["provenance"]["git"]
    code = git["sha"][:10] + " (with local changes)" * git["dirty"] if git else "an installed package"
    peft = f" and peft {result['peft']}" if "peft" in result else ""
    return f"{code}, with torch {result['provenance']['versions']['torch']}{peft}."


def markdown(
    counted: Sequence[dict[str, Any]],
    measured: Sequence[dict[str, Any]],
    scored: Sequence[dict[str, Any]],
    loaded: Sequence[dict[str, Any]] = (),
) -> str:
    """All tables, with what they mean."""
    parts = ["# What a training step costs"]
    if measured:
        parts.append(f"`benchmarks/efficiency.py`: {_said(steps)}")
    for result in measured:
        parts += [*sections(step_tables(result)), " ".join(faster(result)), f"Measured at {_code(result)}"]
    if scored:
        parts.append(f"`benchmarks/search.py`: {_SCORED}")
    for result in scored:
        parts += [*sections(search_tables(result)), f"Measured at {_code(result)}"]
    if loaded:
        parts.append(f"`benchmarks/data.py`: {_LOADED}")
    for result in loaded:
        consumed = (
            f"{result['backbone']} trains on {result['consumed']:.1f} images/s (LoRA, batches of {result['batch']})."
        )
        parts += [*sections(data_tables(result)), consumed, f"Measured at {_code(result)}"]
    if counted:
        parts.append(f"`benchmarks/efficiency.py --counters`: {_said(counters)}")
    for result in counted:
        parts += [*sections(counter_tables(result)), f"Counted at {_code(result)}"]
    return "\n\n".join(parts) + "\n"


def page(folder: Path) -> str:
    """The page of a folder of results."""
    read = [
        [json.loads(p.read_text()) for p in sorted(folder.glob(f"{kind}-*.json"))]
        for kind in ("counters", "steps", "search", "data")
    ]
    return markdown(*read)
