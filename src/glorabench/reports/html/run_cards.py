"""The runs as compact JSON. The page builds the card of a run from it when a reader opens the card."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from glorabench.analysis.cells import Group
from glorabench.records.compatibility import draw_of
from glorabench.records.record import Record

_NO_CURVES = ("epoch", "step", "seconds", "lr", "stage")  # keys of the history without a curve
_POINTS, _ALL_POINTS = 100, 40_000  # points of one curve, and of this curve over all runs
_SECTIONS = ("result", "parameters", "cost", "merge certificate", "search", "configuration", "provenance", "error")


def runs_json(groups: Iterable[Group]) -> str:
    """The runs of all tables as JSON that can stand in a script element.

    A fact is a triple of section, key and value. Each fact stands once in a pool; a run lists places in the pool.
    """
    members = [(cell, r) for group in groups for cell in group.cells for r in cell.records]
    most = min(_POINTS, max(12, _ALL_POINTS // max(1, len(members))))
    pool: dict[tuple[int, str, str], int] = {}
    runs = []
    for cell, r in members:
        facts = [pool.setdefault(fact, len(pool)) for fact in _facts(r)]
        seed, shots = draw_of(r)
        runs.append(
            {
                "id": r.run_id,
                "method": cell.method,
                "task": f"{r.names['data']}: {cell.task}",
                "seed": f"{seed}" + (f", shots {shots}" if shots >= 0 else ""),
                "score": _score(r),
                "facts": facts,
                "curves": _curves(r.history, most),
            }
        )
    whole = {"sections": _SECTIONS, "facts": list(pool), "runs": runs}
    return json.dumps(whole, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")


def _facts(r: Record) -> list[tuple[int, str, str]]:
    paths = {"paths": _paths(r.paths)} if r.paths else {}
    search = {key: value for key, value in (r.search or {}).items() if key not in ("best", "front")}
    sections: tuple[Mapping[str, Any], ...] = (
        {**r.metrics, **({"upstream": _numbers(r.upstream)} if r.upstream else {})},
        r.params,
        r.cost,
        r.merge or {},
        {**search, **paths},
        {**r.config, "selection": {**r.config.get("selection", {}), **r.selection}},
        r.provenance,
        {key: value for key, value in (r.error or {}).items() if key != "traceback"},
    )
    return [(i, *pair) for i, section in enumerate(sections) for pair in _flat(section)]


def _flat(node: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Dotted keys and values as text, in the order of the keys; null is left out."""
    if isinstance(node, Mapping):
        return [pair for key in sorted(node) for pair in _flat(node[key], f"{prefix}.{key}" if prefix else str(key))]
    if node is None:
        return []
    if isinstance(node, bool | list | tuple):
        return [(prefix, json.dumps(node))]
    if isinstance(node, int) and prefix != "seed":
        return [(prefix, f"{node:,}")]
    return [(prefix, f"{node:.6g}" if isinstance(node, float) else str(node))]


def _paths(layers: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """For each support, each choice and the number of layers that made it."""
    supports = sorted({support for layer in layers for support in layer})
    counts = {support: Counter(layer[support] for layer in layers if support in layer) for support in supports}
    texts = {}
    for support, choices in counts.items():
        texts[support] = ", ".join(f"{choice} {n}" for choice, n in sorted(choices.items()))
    return texts


def _curves(history: Sequence[Mapping[str, Any]], most: int) -> dict[str, list[list[float]]]:
    """(epoch, value) of all that a run logged, through its stages, reduced to evenly spaced points."""
    curves: dict[str, list[list[float]]] = {}
    for epoch, entry in enumerate(history, start=1):
        for key, value in entry.items():
            if key not in _NO_CURVES and isinstance(value, int | float) and math.isfinite(value):
                curves.setdefault(key, []).append([epoch, float(f"{value:.4g}")])
    return {key: _thin(points, most) for key, points in sorted(curves.items())}


def _thin(points: list[list[float]], most: int) -> list[list[float]]:
    if len(points) <= most:
        return points
    return [points[round(i * (len(points) - 1) / (most - 1))] for i in range(most)]


def _score(r: Record) -> str:
    """The score with the label and unit of its metric; for a run without a result its status."""
    return f"{r.metric.label} {r.metric.with_unit(r.score)}" if r.status == "done" else r.status


def _numbers(upstream: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in upstream.items() if key != "metric"}
