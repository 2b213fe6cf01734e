"""The table of what each configuration costs, and on which Pareto fronts it is, how surely."""

from __future__ import annotations

import csv as library
import io
import math
from collections.abc import Iterable, Sequence
from statistics import median

from glorabench.analysis.costs import AXES, Point, Standing, Standings, Stood, mergeable, ratio
from glorabench.records.record import Record
from glorabench.reports.captions import estimate_text, marks, title_of
from glorabench.reports.rendering import Part

_NETWORKS = [(network, batch) for batch in (64, 1) for network in ("unmerged", "merged")]
_COSTS = ("parameters", "TFLOP", "seconds", "MiB", *(f"{network} {batch}" for network, batch in _NETWORKS))
FRONTS = ("on the front of", *(axis.short for axis in AXES))
NOTES = (
    "top-1: mean over tasks in percent, Student's t over the n seeds that every task has. Of a run, mean over tasks "
    "and seeds: parameters trained without the head (the subnet's); TFLOP and seconds of all stages of training, a "
    "search included; MiB at the peak of the last training; latency as a ratio to the plain backbone, median, unmerged "
    "and merged, at batch 64 and 1 (no: cannot be merged; =: nothing to merge).",
    "Fronts: the share of 2,000 bootstrap samples (seeds, then examples; optimistic for few seeds) in which no other "
    "configuration is as accurate and as cheap and better in one of them; * where that holds for the means. The tasks "
    "are taken as given. Latency is that of what would be deployed: 1 for what can be merged or is the plain network "
    "with other weights, else the unmerged ratio, at least 1.",
)


def parts(records: Sequence[Record], made: Sequence[Point], standings: Standings) -> list[Part]:
    """What comparable records cost, and on which fronts they are, with notes."""
    title = title_of(records, True)
    return [
        Part(title, head(), costs(made)),
        Part(f"{title}: fronts", FRONTS, fronts(made, standings), remarks(records)),
    ]


def costs(made: Iterable[Point]) -> list[tuple[str, ...]]:
    """A row for each configuration: accuracy and costs; why there is none."""
    return [_row(point) for point in made]


def _row(point: Point) -> tuple[str, ...]:
    if point.reason:
        return (point.method, point.reason, "", "0", *([""] * len(_COSTS)))
    scales, found = (1, 1e12, 1, 2**20), [point.cost(axis) for axis in AXES]
    shown = [f"{x / by:,.{d}f}" if x is not None else "" for x, by, d in zip(found, scales, (0, 3, 1, 0), strict=False)]
    ratios = [_ratio(point, batch, network) for network, batch in _NETWORKS]
    return (point.method, *estimate_text(point.top1), str(point.top1.n), *shown, *ratios)


def _ratio(point: Point, batch: int, network: str) -> str:
    """Of the columns of latency: a number, or why there is none."""
    values = [ratio(r, batch, network) for r in point.records]
    known = [value for value in values if value is not None]
    if known and len(known) == len(values):
        return f"{median(known):.2f}"
    if not any(ratio(r, batch, "unmerged") for r in point.records):
        return "-"  # it was not measured
    if known or ratio(point.records[0], batch, "unmerged") is None:
        return ""  # some runs have it, some not
    return "=" if all(map(mergeable, point.records)) else "no"


def fronts(made: Sequence[Point], standings: Standings) -> list[tuple[str, ...]]:
    """A row of `FRONTS` for each configuration: how sure it is that it is on the front of each axis."""
    entries = [[_standing(standings[axis.name][index]) for axis in AXES] for index in range(len(made))]
    return [(point.method, *row) for point, row in zip(made, entries, strict=True)]


def _standing(standing: Standing | None) -> str:
    return "" if standing is None else f"{standing.probability:.2f}{'*' if standing.on else ' '}".strip()


def remarks(records: Sequence[Record]) -> list[str]:
    """What the columns say, the marks of the rows, and what is not comparable in them."""
    done = [r for r in records if r.status == "done"]
    devices = sorted({str(r.provenance["device"]) for r in done if "device" in r.provenance})
    kinds = sorted({str(r.cost["peak_kind"]) for r in done if "peak_kind" in r.cost})
    said = [NOTES[0], NOTES[1] + marks(records)]
    if len(devices) > 1 or len(kinds) > 1:
        told = "; ".join([*devices, *(kinds if len(kinds) > 1 else [])])
        said.append(f"MEASURED ON DIFFERENT MACHINES ({told}): do not compare seconds, memory or latency here.")
    if any(not r.cost.get("stages") for r in done):
        said.append("Runs of before stages were recorded have no FLOPs and no seconds.")
    return said


def head() -> tuple[str, ...]:
    """What the columns of `costs` are called."""
    return ("method", "top-1 %", "95 % interval", "n", *_COSTS)


def csv(found: Iterable[Stood]) -> str:
    """One row for each configuration, in units: parameters, FLOPs, seconds, bytes; and its standings."""
    networks = [f"{network}_{batch}" for network, batch in _NETWORKS]
    names = [axis.name for axis in AXES[:4]]
    standings = [f"{what}_{axis.name}" for axis in AXES for what in ("front", "p_front")]
    head = ["backbone", "suite", "protocol", "fit_on", "report_on", "rule", "method", "top1", "low", "high", "n"]
    out = io.StringIO()
    writer = library.writer(out, lineterminator="\n")
    writer.writerow([*head, *names, *networks, "mergeable", *standings])
    for (first, *_), made, places in found:
        selection = [first.config["selection"][key] for key in ("fit_on", "report_on", "rule")]
        of = [first.names["backbone"], first.names["data"], first.protocol, *selection]
        for index, point in enumerate(made):
            row: list[object] = [*of, point.method]
            top1 = None if point.reason else point.top1
            row += [*(_number(x) for x in (top1.value, top1.low, top1.high)), top1.n] if top1 else ["", "", "", 0]
            row += [_number(point.cost(axis)) for axis in AXES[:4]]
            ratios = [_ratio(point, batch, network) if top1 else "" for network, batch in _NETWORKS]
            row += ["" if text in ("no", "=", "-") else text for text in ratios]
            row.append(int(all(map(mergeable, point.records))) if top1 else "")
            each = [places[axis.name][index] for axis in AXES]
            row += [x for s in each for x in ((int(s.on), f"{s.probability:.4f}") if s else ("", ""))]
            writer.writerow(row)
    return out.getvalue()


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.10g}"
