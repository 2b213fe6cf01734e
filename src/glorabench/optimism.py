"""Optimism: what reporting the best epoch, instead of the last, would have added on the split that is reported on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from glorabench import stats
from glorabench.cells import comparable
from glorabench.comparison.compare import points
from glorabench.errors import BadInput
from glorabench.forms import Part
from glorabench.gathered import gathered
from glorabench.output import put
from glorabench.record import Record
from glorabench.render import title_of
from glorabench.tuned import Trials, lacking, trials

LITERATURE = 0.65  # points; see NOTES
_HEAD = ("method", "lr", "last %", "best %", "gain", "95 % interval", "largest", "tasks", "best epoch")
NOTES = (
    "gain: top-1 of the best epoch minus that of the last, both on {split}, in points: mean over tasks (of means over "
    "seeds), Student's t over the tasks; largest: of a task; best epoch: the first of the best, mean over runs. The "
    "learning rate is the one that is best on {split} at the last epoch.",
    "It estimates what reporting the best epoch on the very split that chose it would show, for these tasks, epochs "
    "and {n}: the maximum over the epochs of a curve, its noise included. The fewer the images, the larger the noise "
    "and the gain: a test split of thousands of images can be expected to show less. It is no gain on images that did "
    "not choose the epoch.",
    f"In the literature: +{LITERATURE} points, 14 methods on 19 VTAB-1k tasks (median 0.29, largest 10.8; VPT-deep "
    "+1.51, Convpass +0.72, LoRA +0.69, linear +0.29, full fine-tuning +7.4), computed from the 320 result files of "
    "OSU-MLB/PETL_Vision at commit 245d262 (2025-01), which hold the last and the best-on-test accuracy of each.",
)


@dataclass(frozen=True)
class Gain:
    """What the best epoch adds to a method.

    Args:
        method, lr: which runs.
        last, best: mean accuracy over tasks at the last epoch, and at the best.
        gain: best - last, mean over tasks.
        largest: the gain of a task.
        epoch: the first of the best, mean over runs.
    """

    method: str
    lr: float
    last: float
    best: float
    gain: stats.Estimate
    largest: float
    epoch: float


def gains(records: Iterable[Record]) -> tuple[list[Gain], dict[str, str]]:
    """One for each method that has all runs, in the order in which they came; and which are left out, and why.

    Raises:
        BadInput: the records have no curve on the split that they report on, or are no trials (see `tuned.trials`).
    """
    found = trials(records)
    left = lacking(found)
    left |= {one.method: "a run failed at every learning rate" for one in found if one.method not in left and one.lost}
    return [_gain(one) for one in found if one.method not in left], left


def curve(r: Record) -> list[float]:
    """Accuracy on the split that is reported on, epoch by epoch.

    Raises:
        BadInput: it was not evaluated after every epoch.
    """
    name = f"{r.config['selection']['report_on']}_top1"
    found = [entry[name] for entry in r.history if name in entry]
    if not found or len(found) < len(r.history) or any("stage" in entry for entry in r.history):
        raise BadInput(
            f"{r.run_id} has no curve of {name} in its history: records of selection.fit_on=train "
            "selection.report_on=val have one, such as those of experiment=mini_tune"
        )
    return found


def _gain(one: Trials) -> Gain:
    by_task: dict[str, list[list[float]]] = {}
    for r in one.chosen:
        by_task.setdefault(r.names["task"], []).append(curve(r))
    # rounded: the curve has six digits
    each = [round(fmean(max(c) - c[-1] for c in curves), 9) for curves in by_task.values()]
    last, best = (fmean(fmean(map(of, curves)) for curves in by_task.values()) for of in (_last, max))
    epochs = [c.index(max(c)) + 1 for curves in by_task.values() for c in curves]
    return Gain(one.method, one.best, last, best, stats.mean(each), max(each), fmean(epochs))


def _last(curve: Sequence[float]) -> float:
    return curve[-1]


def rows(made: Sequence[Gain]) -> list[tuple[str, ...]]:
    """A row for each method, then the mean over methods."""
    body = []
    for one in made:
        span = "" if math.isnan(one.gain.low) else f"{points(one.gain.low)} to {points(one.gain.high)}"
        tops = (f"{100 * one.last:.2f}", f"{100 * one.best:.2f}", points(one.gain.value))
        tail = (points(one.largest), str(one.gain.n), f"{one.epoch:.1f}")
        body.append((one.method, f"{one.lr:g}", *tops, span, *tail))
    over = points(fmean(one.gain.value for one in made)) if made else ""
    return [*body, (f"mean of {len(made)} methods", "", "", "", over, "", "", "", "")]


def notes(records: Sequence[Record], left: Mapping[str, str]) -> list[str]:
    """What the numbers estimate, and what they stand beside."""
    sizes = sorted({int(r.metrics["n"]) for r in records if r.status == "done"})
    n = f"{sizes[0]}{f' to {sizes[-1]}' if len(sizes) > 1 else ''} images"
    said = [line.format(split=records[0].config["selection"]["report_on"], n=n) for line in NOTES]
    return [*said, *(f"left out: {method}: {why}" for method, why in left.items())]


def main(suite: str, results: Path | None, form: str, into: str | None) -> int:
    """The `optimism` command: the gains of a suite's records, shown as `form` or written `into` a file.

    Raises:
        BadInput: there are no records, none with a curve, or the file has no block for the suite.
    """
    parts = []
    for group in comparable(gathered(suite, results)[1]):
        made, left = gains(group)
        parts.append(Part(title_of(group, True), _HEAD, rows(made), notes(group, left)))
    put(parts, form, into, f"optimism:{suite}")
    return 0
