"""The tables of tuning: learning rates by method, and what the best epoch would have added."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from math import isclose
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from glorabench.analysis.cells import Group
from glorabench.analysis.tuning import Gain, Trials, check_budgets, epoch_gains, trials_of_methods
from glorabench.records.metrics import Metric
from glorabench.records.record import Record
from glorabench.reports.captions import DETAILS, interval_text, label_of, title_of, unit_text
from glorabench.reports.rendering import Part, grid

_LR_OF = re.compile(r"^lr:.*train\.lr_of\.", re.MULTILINE)  # a file of conf/train that takes its rates from lr_of

EDGE_NOTE = "at the edge: the best rate is an end of the grid"
GAIN_NOTES = (
    "gain: by how much the best epoch is better than the last, both in {label} on {split} ({n}), mean over tasks. It "
    f"is what reporting the best epoch would add to a result, and no gain on other images. {DETAILS}",
    "In the literature: +0.65 points, mean of 14 methods on VTAB-1k, from 320 result files with the last and the best "
    "epoch of each (OSU-MLB/PETL_Vision@245d262, 2025-01).",
)


def trials_table(of_methods: Sequence[Trials]) -> tuple[list[str], list[list[str]]]:
    """Heading and rows: mean score of each method at each learning rate, and which is best."""
    rates = sorted({lr for one in of_methods for lr in one.runs})
    head = ["method", "trials", *(f"{lr:g}" for lr in rates), "best lr", "at the edge"]
    body = []
    for one in of_methods:
        body.append([one.method, str(len(one.runs)), *_scores(one, rates), f"{one.best:g}", _edge(one)])
    return head, body


def _scores(one: Trials, rates: Iterable[float]) -> Iterable[str]:
    for lr in rates:
        if lr not in one.runs:
            yield "-"
        else:
            score = one.score(lr)
            yield "failed" if score is None else one.metric.text(score)


def trial_parts(groups: Sequence[Group]) -> list[Part]:
    """The tables of the trials.

    Raises:
        BadInput: they are no trials of an equal budget.
    """
    parts = []
    for group in groups:
        of_methods = _equal_trials(group)
        notes = f"{trials_note(of_methods)}, by learning rate; {EDGE_NOTE}"
        parts.append(Part(title_of(group.records, True), *trials_table(of_methods), notes=notes))
    return parts


def commented_yaml(groups: Sequence[Group], files: Iterable[Path]) -> str:
    """What goes into an experiment or a file of conf/train (see `fragment`), below the trials as comments.

    Raises:
        BadInput: they are no trials of an equal budget.
    """
    files, blocks = list(files), []
    for group in groups:
        of_methods = _equal_trials(group)
        table = grid(*trials_table(of_methods), ("method",))
        lines = [title_of(group.records, True), trials_note(of_methods), "", *table, ""]
        blocks.append("".join(f"{f'# {line}'.rstrip()}\n" for line in lines) + fragment(of_methods, files))
    return "".join(blocks)


def _equal_trials(group: Group) -> list[Trials]:
    of_methods = trials_of_methods(group.records)
    check_budgets(of_methods)
    return of_methods


def gain_part(group: Group) -> Part:
    """The table of what the best epoch adds.

    Raises:
        BadInput: the records have no curve, or are no trials.
    """
    of_methods, left_out = epoch_gains(group.records)
    notes = gain_notes(group.records, group.metric, left_out)
    return Part(title_of(group.records, True), gain_columns(of_methods), gain_rows(of_methods), notes)


def trials_note(of_methods: Sequence[Trials]) -> str:
    """What the numbers of `trials_table` are."""
    return f"{unit_text(of_methods[0].metric)}, mean over tasks"


def _edge(one: Trials) -> str:
    """A rate beyond what was tried may be better still."""
    rates = list(one.runs)
    if len(rates) == 1:
        return "only one"
    return {rates[0]: "lowest", rates[-1]: "highest"}.get(one.best, "")


def fragment(found: Sequence[Trials], files: Iterable[Path]) -> str:
    """What goes into an experiment or a file of conf/train, as YAML: `train.lr_of` where the one that the records were
    made with takes it, else `recipe`.

    Args:
        found: of all methods.
        files: of conf/train; of these, the one that agrees most with the records.
    """
    own = found[0].best_runs[0].config["train"]
    made_with = max(sorted(files), key=lambda path: _agreement(path, own))
    if _LR_OF.search(made_with.read_text()):
        body = ["train:", "  lr_of:", *(f"    {one.method}: {_yaml(one.best)}" for one in found)]
    else:
        body = ["recipe:", *(f"  {one.method}: {{lr: {_yaml(one.best)}}}" for one in found)]
    return "\n".join([f"# for conf/train/{made_with.name}", *body]) + "\n"


def _agreement(path: Path, own: Mapping[str, Any]) -> int:
    """How many plain values of a file of conf/train are those of a record."""
    said = yaml.safe_load(path.read_text())
    return sum(_same(value, own[key]) for key, value in said.items() if key in own and key != "lr")


def _same(a: Any, b: Any) -> bool:
    try:  # YAML takes 1e-4, without a point, for a word
        return isclose(float(a), float(b))
    except (TypeError, ValueError):
        return a == b


def _yaml(lr: float) -> str:
    """A number that YAML takes for one: 2.0e-3."""
    digits, _, power = f"{lr:.10e}".partition("e")
    return f"{float(digits)}e{int(power)}"


def gain_columns(of_methods: Sequence[Gain]) -> tuple[str, ...]:
    """The heads of the columns of `gain_rows`."""
    unit = f" {of_methods[0].metric.unit}".rstrip() if of_methods else ""
    return ("method", "lr", f"last{unit}", f"best{unit}", "gain", "95 % interval", "largest", "tasks", "best epoch")


def gain_rows(of_methods: Sequence[Gain]) -> list[tuple[str, ...]]:
    """A row for each method, then the mean over methods."""
    body = []
    for one in of_methods:
        metric = one.metric
        values = (metric.text(one.last), metric.text(one.best), metric.difference_text(one.gain.value))
        tail = (metric.difference_text(one.largest), str(one.gain.n), f"{one.epoch:.1f}")
        body.append((one.method, f"{one.lr:g}", *values, interval_text(one.gain, metric), *tail))
    mean = of_methods[0].metric.difference_text(fmean(one.gain.value for one in of_methods)) if of_methods else ""
    return [*body, (f"mean of {len(of_methods)} methods", "", "", "", mean, "", "", "", "")]


def gain_notes(records: Sequence[Record], metric: Metric | None, left_out: Mapping[str, str]) -> list[str]:
    """What the numbers estimate, and what they stand beside."""
    sizes = sorted({int(r.metrics["n"]) for r in records if r.status == "done"})
    n = f"{sizes[0]} to {sizes[-1]} images" if len(sizes) > 1 else f"{sizes[0]} images"
    split = records[0].config["selection"]["report_on"]
    lines = [line.format(split=split, n=n, label=label_of(metric)) for line in GAIN_NOTES]
    return [*lines, *(f"left out: {method}: {why}" for method, why in left_out.items())]
