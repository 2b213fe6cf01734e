"""The table of the costs of each configuration, and of its probability to be on each Pareto front."""

from __future__ import annotations

import csv as library
import io
import math
from collections.abc import Iterable, Sequence
from statistics import median

from glorabench.analysis.cells import Group
from glorabench.analysis.costs import AXES, CostGroup, Point, Standing, Standings, is_mergeable, relative_latency
from glorabench.reports.captions import DETAILS, estimate_text, heading_of, notes_of_marks, title_of, unit_text
from glorabench.reports.rendering import Part

_NETWORKS = [(network, batch) for batch in (64, 1) for network in ("unmerged", "merged")]
_UNITS = ((1, 0), (1e12, 3), (1, 1), (2**20, 0))  # unit and decimals of the columns of the first axes
_COSTS = ("parameters", "TFLOP", "seconds", "MiB", *(f"{network} {batch}" for network, batch in _NETWORKS))
FRONTS = ("on the front of", *(axis.short for axis in AXES))
NOTES = (
    "{}: mean over tasks, 95 % interval over seeds; TFLOP and seconds are of training and search; unmerged, merged: "
    "latency at batch 64 and 1, relative to the plain backbone.",
    "Fronts: the share of 2,000 bootstrap samples in which no other configuration is as good and as cheap and better "
    f"in one of them; *: so for the means. {DETAILS}",
)


def cost_parts(costs: CostGroup) -> list[Part]:
    """The tables of costs and of fronts, with notes."""
    title = title_of(costs.group.records, True)
    return [
        Part(title, cost_columns(costs.group), cost_rows(costs.points)),
        Part(f"{title}: fronts", FRONTS, front_rows(costs.points, costs.standings), remarks(costs.group)),
    ]


def cost_rows(points: Iterable[Point]) -> list[tuple[str, ...]]:
    """A row for each configuration: its score and its costs, or the reason why it has none."""
    return [_row(point) for point in points]


def _row(point: Point) -> tuple[str, ...]:
    if point.reason:
        return (point.method, point.reason, "", "0", *([""] * len(_COSTS)))
    texts = []
    for axis, (unit, digits) in zip(AXES, _UNITS, strict=False):
        cost = point.cost(axis)
        texts.append("" if cost is None else f"{cost / unit:,.{digits}f}")
    ratios = [_ratio(point, batch, network) for network, batch in _NETWORKS]
    return (point.method, *estimate_text(point.score, point.metric), str(point.score.n), *texts, *ratios)


def _ratio(point: Point, batch: int, network: str) -> str:
    """The text of a latency column: a number, or a sign that says why there is none."""
    values = [relative_latency(r, batch, network) for r in point.records]
    numbers = [value for value in values if value is not None]
    if numbers and len(numbers) == len(values):
        return f"{median(numbers):.2f}"
    if not any(relative_latency(r, batch, "unmerged") for r in point.records):
        return "-"  # it was not measured
    if numbers or relative_latency(point.records[0], batch, "unmerged") is None:
        return ""  # some runs have it, some not
    return "=" if all(map(is_mergeable, point.records)) else "no"


def front_rows(points: Sequence[Point], standings: Standings) -> list[tuple[str, ...]]:
    """A row of `FRONTS` for each configuration: the probability that it is on the front of each axis."""
    body = []
    for index, point in enumerate(points):
        body.append((point.method, *(_standing(standings[axis.name][index]) for axis in AXES)))
    return body


def _standing(standing: Standing | None) -> str:
    if standing is None:
        return ""
    return f"{standing.probability:.2f}{'*' if standing.on_front else ''}"


def remarks(group: Group) -> list[str]:
    """Notes on columns and marks, and a warning where values cannot be compared."""
    finished_runs = [r for r in group.records if r.status == "done"]
    devices = sorted({str(r.provenance["device"]) for r in finished_runs if "device" in r.provenance})
    kinds = sorted({str(r.cost["peak_kind"]) for r in finished_runs if "peak_kind" in r.cost})
    lines = [NOTES[0].format(unit_text(group.metric)), NOTES[1] + notes_of_marks(group)]
    if len(devices) > 1 or len(kinds) > 1:
        machines = "; ".join([*devices, *(kinds if len(kinds) > 1 else [])])
        lines.append(f"MEASURED ON DIFFERENT MACHINES ({machines}): do not compare seconds, memory or latency here.")
    if any(not r.cost.get("stages") for r in finished_runs):
        lines.append("Runs of before stages were recorded have no FLOPs and no seconds.")
    return lines


def cost_columns(group: Group) -> tuple[str, ...]:
    """The heads of the columns of `cost_rows`."""
    return ("method", heading_of(group.metric), "95 % interval", "n", *_COSTS)


def costs_csv(groups: Iterable[CostGroup]) -> str:
    """One row for each configuration, in units: parameters, FLOPs, seconds, bytes; and its standings."""
    networks = [f"{network}_{batch}" for network, batch in _NETWORKS]
    names = [axis.name for axis in AXES[:4]]
    standings = [f"{prefix}_{axis.name}" for axis in AXES for prefix in ("front", "p_front")]
    out = io.StringIO()
    writer = library.writer(out, lineterminator="\n")
    head = ["backbone", "suite", "protocol", "fit_on", "report_on", "rule", "method", "metric", "score", "low", "high"]
    writer.writerow([*head, "n", *names, *networks, "mergeable", *standings])
    for costs in groups:
        first = costs.group.records[0]
        selection = [first.config["selection"][key] for key in ("fit_on", "report_on", "rule")]
        about = [first.names["backbone"], first.names["data"], first.protocol, *selection]
        for index, point in enumerate(costs.points):
            writer.writerow([*about, *_csv_row(point, [costs.standings[axis.name][index] for axis in AXES])])
    return out.getvalue()


def _csv_row(point: Point, standings: Sequence[Standing | None]) -> list[object]:
    places = [text for standing in standings for text in _standing_texts(standing)]
    if point.reason:
        return [point.method, "", "", "", "", 0, *([""] * (4 + len(_NETWORKS) + 1)), *places]
    score = point.score
    ratios = [_ratio(point, batch, network) for network, batch in _NETWORKS]
    return [
        point.method,
        point.metric.name,
        *(_number(x) for x in (score.value, score.low, score.high)),
        score.n,
        *(_number(point.cost(axis)) for axis in AXES[:4]),
        *("" if text in ("no", "=", "-") else text for text in ratios),
        int(all(map(is_mergeable, point.records))),
        *places,
    ]


def _standing_texts(standing: Standing | None) -> tuple[object, object]:
    return (int(standing.on_front), f"{standing.probability:.4f}") if standing else ("", "")


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.10g}"
