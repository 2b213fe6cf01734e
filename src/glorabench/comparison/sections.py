"""Sections of a results page as Markdown lines: what holds, each claim task by task, costs, the winner's curse."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from glorabench import crossed, stats
from glorabench.comparison.compare import Comparison, points
from glorabench.comparison.side import Seed, Side
from glorabench.render import grid

_VERDICT = {1: "holds", -1: "does not hold", 0: "not decided"}
_OUTCOME = {1: "win", -1: "loss", 0: "tie"}
_SUMMARY = ("claim", "verdict", "points", "95 % interval", "n", "wins / ties / losses", "parameters", "FLOPs")
_READ = (
    "points: top-1 of the first configuration minus that of the second, mean over tasks; interval: Student's t over "
    "the n seeds, the tasks taken as given. A claim holds when the interval lies above zero, does not hold when it "
    "lies below, and is not decided otherwise; intervals are not corrected for the number of claims. A task is won or "
    "lost when the interval of its paired outcomes excludes zero: "
    f"{crossed.WORDS}. parameters, FLOPs: first / second; parameters are those of the subnet without the head, FLOPs "
    "those of training and search together, every run counted as if it stood alone."
)
_COST = ("configuration", "records", "runs", "parameters", "stage", "seconds", "TFLOP")
_CURSE = ("configuration", "images", "candidates", "first batch", "winner", "held out", "test", "too high by")
_CURSE_READ = (
    "Top-1 in %, mean over tasks and seeds. first batch: mean over the candidates asked for first; winner: the best "
    "candidate on the images that chose it; held out: the same network on images of the search split that chose "
    "nothing; too high by: winner minus held out, in points, with Student's t over seeds; test: what is reported, of a "
    "winner that was trained again where the configuration says so. images: choosing / held out, of a task."
)


@dataclass(frozen=True)
class Claim:
    """A claim, that the first side is ahead of the second, and what the records say of it."""

    claim: str
    note: str
    comparison: Comparison

    @property
    def verdict(self) -> str:
        """`holds`, `does not hold` or `not decided`."""
        return _VERDICT[self.comparison.sign]


def summary(claims: Sequence[Claim]) -> list[str]:
    """Every claim with its verdict, the difference and its price."""
    body = []
    for claim in claims:
        c = claim.comparison
        tally, ratios = " / ".join(map(str, c.tally)), (_ratio(c.params_ratio), _ratio(c.flops_ratio))
        body.append((claim.claim, f"**{claim.verdict}**", points(c.mean.value), *_span(c.mean), tally, *ratios))
    return ["## What holds", "", *grid(_SUMMARY, body, ("claim", "verdict")), "", _READ]


def detail(number: int, claim: Claim) -> list[str]:
    """One claim, task by task."""
    c = claim.comparison
    conclusion = c.conclusion[0].upper() + c.conclusion[1:]
    columns = ("task", c.first.name, c.second.name, "points", "95 % interval", "n", "outcome")
    body: list[tuple[str, ...]] = []
    for on in c.tasks:
        d, tops = on.difference, (_percent(on.first), _percent(on.second))
        body.append((on.task, *tops, points(d.value), *_span(d), _OUTCOME[on.sign]))
    means = [_percent(side.mean(side.top1).value) for side in (c.first, c.second)]
    body.append((f"mean of {len(c.tasks)}", *means, points(c.mean.value), *_span(c.mean), ""))
    note = [claim.note, ""] if claim.note else []
    head = [f"## {number}. {claim.claim}", "", f"{conclusion}.", "", *note]
    return [*head, *grid(columns, body, ("task", "outcome"))]


def costs(sides: Iterable[tuple[Side, str]]) -> list[str]:
    """Seconds and FLOPs of each stage of every side; with each side goes what chose its records."""
    body: list[tuple[str, ...]] = []
    for side, chosen in sides:
        who = (side.name, f"`{chosen}`", str(len(side.runs)), f"{side.params:,.0f}")
        stages = dict(side.stages)
        if len(stages) > 1:
            stages["together"] = {k: sum(stage[k] for stage in stages.values()) for k in ("seconds", "flops")}
        spent = [(n, f"{s['seconds']:,.1f}", f"{s['flops'] / 1e12:,.3f}") for n, s in stages.items()]
        for index, stage in enumerate(spent or [("not recorded", "", "")]):
            body.append((*(who if index == 0 else ("", "", "", "")), *stage))
    read = "Mean over runs. Seconds are of the machines that the records name, perhaps beside other work."
    return ["## Cost", "", *grid(_COST, body, ("configuration", "records", "stage")), "", read]


def curse(sides: Iterable[Side]) -> list[str]:
    """What choosing the best of many candidates is worth where they were chosen, apart from there, and on test."""
    body = []
    for side in sides:
        tops = side.mean(side.top1).value
        first, winner = (_percent(_searched(side, key).value) for key in ("first", "score"))
        found = [r.search or {} for r in side.runs.values()]
        counted = f"{fmean(search['evaluated'] for search in found):,.0f}"
        held, gap = "", ""
        if all(search["held_out"] is not None for search in found):
            held = _percent(_searched(side, "held_out").value)
            d = _searched(side, "score", "held_out")
            gap = f"{points(d.value)} ({_span(d)[0] or 'one seed'})"
        images = " / ".join(_values(search[key] for search in found) for key in ("n", "n_held_out"))
        body.append((side.name, images, counted, first, winner, held, _percent(tops), gap))
    return ["## The winner's curse", "", *grid(_CURSE, body, ("configuration",)), "", _CURSE_READ]


def _searched(side: Side, key: str, minus: str | None = None) -> stats.Estimate:
    """Mean of a number of the searches, or of the difference of two."""

    def value(task: str, seed: Seed) -> float:
        found = side.runs[task, seed].search or {}
        return found[key] - (found[minus] if minus else 0)

    return side.mean(value)


def _values(values: Iterable[Any]) -> str:
    return ", ".join(map(str, sorted(set(values))))


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _span(d: stats.Estimate) -> tuple[str, str]:
    """The interval in points, empty for one seed, and n."""
    return ("" if math.isnan(d.low) else f"{points(d.low)} to {points(d.high)}", str(d.n))
