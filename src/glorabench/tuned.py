"""Tuned: which learning rate an equal budget found best for each method, on val; the `tuned` command."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isclose
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from glorabench.cells import comparable, settings
from glorabench.compose import conf_dir
from glorabench.errors import BadInput
from glorabench.forms import Part, grid
from glorabench.gathered import gathered
from glorabench.output import put
from glorabench.record import Record
from glorabench.render import title_of

_LR = "train.lr"
_LR_OF = re.compile(r"^lr:.*train\.lr_of\.", re.MULTILINE)  # a file of conf/train that takes its rates from lr_of


@dataclass(frozen=True)
class Trials:
    """The runs of one method that differ in learning rate, task and seed alone.

    Args:
        method: its name.
        runs: by learning rate, then by task and seed; failed runs too.
    """

    method: str
    runs: Mapping[float, Mapping[tuple[str, int], Record]]

    def top1(self, lr: float) -> float | None:
        """Mean accuracy over tasks, of means over seeds; None where a run failed."""
        found = self.runs[lr]
        if any(r.status != "done" for r in found.values()):
            return None
        tasks = sorted({task for task, _ in found})
        each = [fmean(r.metrics["top1"] for (t, _), r in sorted(found.items()) if t == task) for task in tasks]
        return round(fmean(each), 12)  # equal means must not differ by what floating point leaves

    @property
    def lost(self) -> bool:
        """True when a run failed at each learning rate."""
        return all(self.top1(lr) is None for lr in self.runs)

    @property
    def best(self) -> float:
        """The learning rate with the best mean; of equal ones the smallest.

        Raises:
            BadInput: a run failed at each of them.
        """
        tops = {lr: top1 for lr in sorted(self.runs) if (top1 := self.top1(lr)) is not None}
        if not tops:
            raise BadInput(f"{self.method}: a run failed at every {_LR} that was tried")
        return max(tops, key=lambda lr: (tops[lr], -lr))

    @property
    def chosen(self) -> list[Record]:
        """The runs at the best learning rate, by task and seed."""
        return [r for _, r in sorted(self.runs[self.best].items())]


def trials(records: Iterable[Record]) -> list[Trials]:
    """The records by method and learning rate, in the order in which the methods came.

    Raises:
        BadInput: they were scored on test, or the runs of a method differ in more than learning rate, task and seed.
    """
    found: dict[str, dict[float, dict[tuple[str, int], Record]]] = {}
    firsts: dict[tuple[str, str], Mapping[str, Any]] = {}
    for r in records:
        if r.config["selection"]["report_on"] == "test":
            raise BadInput(
                f"{r.run_id} was scored on test, where nothing is chosen: make runs of selection.report_on=val"
            )
        method = " + ".join(filter(None, [r.names["method"], r.names.get("search")]))
        flat = {k: v for k, v in settings(r.config).items() if k != _LR}
        first = firsts.setdefault((method, r.names["task"]), flat)
        if more := sorted(k for k in {*flat, *first} if flat.get(k) != first.get(k)):
            raise BadInput(f"{method}: its runs differ in {more[0]}, too ({flat.get(more[0])}, {first.get(more[0])})")
        found.setdefault(method, {}).setdefault(float(r.config["train"]["lr"]), {})[_where(r)] = r
    return [Trials(method, {lr: runs[lr] for lr in sorted(runs)}) for method, runs in found.items()]


def _where(r: Record) -> tuple[str, int]:
    return r.names["task"], r.config["seed"]


def lacking(found: Sequence[Trials]) -> dict[str, str]:
    """Which methods have no run at one of their learning rates on a task and seed that others have, and where."""
    places = sorted({where for one in found for runs in one.runs.values() for where in runs})
    gaps = {}
    for one in found:
        lacks = [(lr, *where) for lr, runs in one.runs.items() for where in places if where not in runs]
        if lacks:
            more = f" and {len(lacks) - 1} more" if len(lacks) > 1 else ""
            gaps[one.method] = "no run with {}={:g} on {}, seed {}{}".format(_LR, *lacks[0], more)
    return gaps


def check_budgets(found: Sequence[Trials]) -> None:
    """Refuse unequal budgets: every method has the same number of learning rates, each on the same tasks and seeds.

    Raises:
        BadInput: naming the method.
    """
    most = max(found, key=lambda one: len(one.runs))
    for one in found:
        if len(one.runs) < len(most.runs):
            told = f"{one.method} had {len(one.runs)} trials, {most.method} {len(most.runs)}"
            raise BadInput(f"{told}: an equal budget is an equal number of learning rates")
    for method, gap in lacking(found).items():
        raise BadInput(f"{method} has {gap}: an equal budget has them all, so make them first")


def table(found: Sequence[Trials]) -> tuple[list[str], list[list[str]]]:
    """Heading and rows: mean accuracy of each method at each learning rate, and which is best."""
    rates = sorted({lr for one in found for lr in one.runs})
    head = ["method", "trials", *(f"{lr:g}" for lr in rates), "best lr", "at the edge"]
    return head, [[one.method, str(len(one.runs)), *_tops(one, rates), f"{one.best:g}", _edge(one)] for one in found]


def _tops(one: Trials, rates: Iterable[float]) -> Iterable[str]:
    for lr in rates:
        top1 = one.top1(lr) if lr in one.runs else None
        yield f"{100 * top1:.2f}" if top1 is not None else "failed" if lr in one.runs else "-"


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
    own = found[0].chosen[0].config["train"]
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


def main(suite: str, results: Path | None, into: str | None = None) -> int:
    """The `tuned` command: the fragment of YAML that uses what is best, below the trials of a suite as comments; or the
    table of the trials, written `into` a file.

    Raises:
        BadInput: there are no records, they are no trials of an equal budget, or the file has no block for the suite.
    """
    groups = [(title_of(group, True), trials(group)) for group in comparable(gathered(suite, results)[1])]
    for _, found in groups:
        check_budgets(found)
    if into is not None:
        notes = "top-1 in percent, mean over tasks, by learning rate; at the edge: the best rate is an end of the grid"
        put([Part(title, *table(found), notes=notes) for title, found in groups], "md", into, f"tuned:{suite}")
        return 0
    for title, found in groups:
        lines = [title, "top-1 in percent, mean over tasks", "", *grid(*table(found), ("method",)), ""]
        print("\n".join(f"# {line}".rstrip() for line in lines))
        print(fragment(found, (conf_dir() / "train").glob("*.yaml")), end="")
    return 0
