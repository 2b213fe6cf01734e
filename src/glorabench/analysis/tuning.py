"""The learning rate that equal tuning found best for each method, and what the best epoch would have added."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from glorabench.analysis import statistics
from glorabench.errors import BadInput
from glorabench.records.compatibility import settings
from glorabench.records.metrics import Metric
from glorabench.records.record import Record

_LR = "train.lr"


@dataclass(frozen=True)
class Trials:
    """The runs of one method that differ in learning rate, task and seed alone.

    Args:
        method: its name.
        runs: by learning rate, then by task and seed; failed runs too.
    """

    method: str
    runs: Mapping[float, Mapping[tuple[str, int], Record]]

    @property
    def metric(self) -> Metric:
        """The metric that decides.

        Raises:
            LookupError: no run has a result.
        """
        return next(r for runs in self.runs.values() for r in runs.values() if r.status == "done").metric

    def score(self, lr: float) -> float | None:
        """Mean over tasks, of means over seeds; None where a run failed."""
        runs = self.runs[lr]
        if any(r.status != "done" for r in runs.values()):
            return None
        by_task: dict[str, list[float]] = {}
        for (task, _), r in sorted(runs.items()):
            by_task.setdefault(task, []).append(r.score)
        mean = fmean(map(fmean, by_task.values()))
        return round(mean, 12)  # equal means must not differ by what floating point leaves

    @property
    def lost(self) -> bool:
        """True when a run failed at each learning rate."""
        return all(self.score(lr) is None for lr in self.runs)

    @property
    def best(self) -> float:
        """The learning rate with the best mean; of equal ones the smallest.

        Raises:
            BadInput: a run failed at each of them.
        """
        scores = {lr: self.score(lr) for lr in self.runs}
        known = {lr: self.metric.sign * score for lr, score in scores.items() if score is not None}
        if not known:
            raise BadInput(f"{self.method}: a run failed at every {_LR} that was tried")
        return max(known, key=lambda lr: (known[lr], -lr))

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


@dataclass(frozen=True)
class Gain:
    """What the best epoch adds to a method.

    Args:
        method, lr: which runs.
        metric: the one that decides.
        last, best: its mean over tasks at the last epoch, and at the best.
        gain: by how much the best is better, mean over tasks.
        largest: the gain of a task.
        epoch: the first of the best, mean over runs.
    """

    method: str
    lr: float
    metric: Metric
    last: float
    best: float
    gain: statistics.Estimate
    largest: float
    epoch: float


def gains(records: Iterable[Record]) -> tuple[list[Gain], dict[str, str]]:
    """One for each method that has all runs, in the order in which they came; and which are left out, and why.

    Raises:
        BadInput: the records have no curve on the split that they report on, or are no trials (see `trials`).
    """
    found = trials(records)
    left = lacking(found)
    left |= {one.method: "a run failed at every learning rate" for one in found if one.method not in left and one.lost}
    return [_gain(one) for one in found if one.method not in left], left


def curve(r: Record) -> list[float]:
    """The metric that decides on the split that is reported on, epoch by epoch.

    Raises:
        BadInput: it was not evaluated after every epoch.
    """
    name = f"{r.config['selection']['report_on']}_{r.metric.name}"
    values = [entry[name] for entry in r.history if name in entry]
    if not values or len(values) < len(r.history) or any("stage" in entry for entry in r.history):
        raise BadInput(
            f"{r.run_id} has no curve of {name} in its history: records of selection.fit_on=train "
            "selection.report_on=val have one, such as those of experiment=mini_tune"
        )
    return values


def _gain(one: Trials) -> Gain:
    metric = one.metric
    best_of = max if metric.higher_is_better else min
    by_task: dict[str, list[list[float]]] = {}
    for r in one.chosen:
        by_task.setdefault(r.names["task"], []).append(curve(r))
    gain_of_tasks, last, best, epochs = [], [], [], []
    for curves in by_task.values():
        # rounded: the curve has six digits
        gain_of_tasks.append(round(fmean(metric.sign * (best_of(c) - c[-1]) for c in curves), 9))
        last.append(fmean(c[-1] for c in curves))
        best.append(fmean(map(best_of, curves)))
        epochs += [c.index(best_of(c)) + 1 for c in curves]
    gain = statistics.mean(gain_of_tasks)
    return Gain(one.method, one.best, metric, fmean(last), fmean(best), gain, max(gain_of_tasks), fmean(epochs))
