"""The tables of tuning: scores by learning rate for each method, and the gain of the best epoch."""

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

_LR_OF = re.compile(r"^lr:.*train\.lr_of\.", re.MULTILINE)  # in a file of conf/train that reads its rates from lr_of

EDGE_NOTE = "at the edge: the best rate is an end of the grid"
GAIN_NOTES = (
    "gain: by how much the best epoch is better than the last, both in {label} on {split} ({n}), mean over tasks. It "
    f"is what reporting the best epoch would add to a result, and no gain on other images. {DETAILS}",
    "In the literature: +0.65 points, mean of 14 methods on VTAB-1k, from 320 result files with the last and the best "
    "epoch of each (OSU-MLB/PETL_Vision@245d262, 2025-01).",
)


def trials_table(methods: Sequence[Trials]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: the mean score of each method at each learning rate, and the best rate."""
    rates = sorted({lr for trials in methods for lr in trials.runs})
    head = ["method", "trials", *(f"{lr:g}" for lr in rates), "best lr", "at the edge"]
    body = []
    for trials in methods:
        body.append(
            [trials.method, str(len(trials.runs)), *_scores(trials, rates), f"{trials.best:g}", _edge_text(trials)]
        )
    return head, body


def _scores(trials: Trials, rates: Iterable[float]) -> Iterable[str]:
    for lr in rates:
        if lr not in trials.runs:
            yield "-"
        else:
            score = trials.score(lr)
            yield "failed" if score is None else trials.metric.text(score)


def trial_parts(groups: Sequence[Group]) -> list[Part]:
    """The tables of the trials.

    Raises:
        BadInput: they are no trials of an equal budget.
    """
    parts = []
    for group in groups:
        methods = _equal_trials(group)
        notes = f"{trials_note(methods)}, by learning rate; {EDGE_NOTE}"
        parts.append(Part(title_of(group.records, True), *trials_table(methods), notes=notes))
    return parts


def commented_yaml(groups: Sequence[Group], files: Iterable[Path]) -> str:
    """YAML for an experiment or a file of conf/train (see `yaml_fragment`), after the trials as comments.

    Raises:
        BadInput: they are no trials of an equal budget.
    """
    files, blocks = list(files), []
    for group in groups:
        methods = _equal_trials(group)
        table = grid(*trials_table(methods), ("method",))
        lines = [title_of(group.records, True), trials_note(methods), "", *table, ""]
        blocks.append("".join(f"{f'# {line}'.rstrip()}\n" for line in lines) + yaml_fragment(methods, files))
    return "".join(blocks)


def _equal_trials(group: Group) -> list[Trials]:
    methods = trials_of_methods(group.records)
    check_budgets(methods)
    return methods


def gain_part(group: Group) -> Part:
    """The table of what the best epoch adds.

    Raises:
        BadInput: the records have no curve, or are no trials.
    """
    gains, omissions = epoch_gains(group.records)
    notes = gain_notes(group.records, group.metric, omissions)
    return Part(title_of(group.records, True), gain_columns(gains), gain_rows(gains), notes)


def trials_note(methods: Sequence[Trials]) -> str:
    """A note on the numbers of `trials_table`."""
    return f"{unit_text(methods[0].metric)}, mean over tasks"


def _edge_text(trials: Trials) -> str:
    """Which end of the grid the best rate is, as a rate beyond it may be better still."""
    rates = list(trials.runs)
    if len(rates) == 1:
        return "only one"
    return {rates[0]: "lowest", rates[-1]: "highest"}.get(trials.best, "")


def yaml_fragment(methods: Sequence[Trials], files: Iterable[Path]) -> str:
    """The best rates as YAML for an experiment or a file of conf/train.

    They stand under `train.lr_of` where the file behind the records reads it, else under `recipe`.

    Args:
        methods: the trials of all methods.
        files: the files of conf/train. The one that agrees most with the records counts as the file behind them.
    """
    train = methods[0].best_runs[0].config["train"]
    file = max(sorted(files), key=lambda path: _agreement(path, train))
    if _LR_OF.search(file.read_text()):
        body = ["train:", "  lr_of:", *(f"    {trials.method}: {_yaml_number(trials.best)}" for trials in methods)]
    else:
        body = ["recipe:", *(f"  {trials.method}: {{lr: {_yaml_number(trials.best)}}}" for trials in methods)]
    return "\n".join([f"# for conf/train/{file.name}", *body]) + "\n"


def _agreement(path: Path, train: Mapping[str, Any]) -> int:
    """The number of plain values of a file of conf/train that equal those of a record."""
    values = yaml.safe_load(path.read_text())
    return sum(_equal_values(value, train[key]) for key, value in values.items() if key in train and key != "lr")


def _equal_values(first: Any, second: Any) -> bool:
    try:  # YAML reads 1e-4, without a point, as text
        return isclose(float(first), float(second))
    except (TypeError, ValueError):
        return first == second


def _yaml_number(lr: float) -> str:
    """Format a number so that YAML reads a number: 2.0e-3."""
    digits, _, power = f"{lr:.10e}".partition("e")
    return f"{float(digits)}e{int(power)}"


def gain_columns(gains: Sequence[Gain]) -> tuple[str, ...]:
    """The heads of the columns of `gain_rows`."""
    unit = f" {gains[0].metric.unit}".rstrip() if gains else ""
    return ("method", "lr", f"last{unit}", f"best{unit}", "gain", "95 % interval", "largest", "tasks", "best epoch")


def gain_rows(gains: Sequence[Gain]) -> list[tuple[str, ...]]:
    """A row for each method, then the mean over methods."""
    body = []
    for gain in gains:
        metric = gain.metric
        values = (metric.text(gain.last), metric.text(gain.best), metric.difference_text(gain.gain.value))
        tail = (metric.difference_text(gain.largest), str(gain.gain.n), f"{gain.epoch:.1f}")
        body.append((gain.method, f"{gain.lr:g}", *values, interval_text(gain.gain, metric), *tail))
    mean = gains[0].metric.difference_text(fmean(gain.gain.value for gain in gains)) if gains else ""
    return [*body, (f"mean of {len(gains)} methods", "", "", "", mean, "", "", "", "")]


def gain_notes(records: Sequence[Record], metric: Metric | None, omissions: Mapping[str, str]) -> list[str]:
    """Notes on what the numbers estimate, and on gains in the literature."""
    sizes = sorted({int(r.metrics["n"]) for r in records if r.status == "done"})
    n = f"{sizes[0]} to {sizes[-1]} images" if len(sizes) > 1 else f"{sizes[0]} images"
    split = records[0].config["selection"]["report_on"]
    lines = [line.format(split=split, n=n, label=label_of(metric)) for line in GAIN_NOTES]
    return [*lines, *(f"left out: {method}: {reason}" for method, reason in omissions.items())]
