"""The best learning rate of each method under an equal tuning budget, and what the best epoch would add."""

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
    """The runs of one method that differ only in learning rate, task and seed.

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
        """The mean over tasks of means over seeds; None where a run failed."""
        runs = self.runs[lr]
        if any(r.status != "done" for r in runs.values()):
            return None
        by_task: dict[str, list[float]] = {}
        for (task, _), r in sorted(runs.items()):
            by_task.setdefault(task, []).append(r.score)
        mean = fmean(map(fmean, by_task.values()))
        return round(mean, 12)  # equal means must not differ by floating-point error

    @property
    def has_failed(self) -> bool:
        """True when a run failed at every learning rate."""
        return all(self.score(lr) is None for lr in self.runs)

    @property
    def best(self) -> float:
        """The learning rate with the best mean; the smallest of several with equal means.

        Raises:
            BadInput: a run failed at every learning rate.
        """
        scores_by_lr = {lr: self.score(lr) for lr in self.runs}
        signed_scores = {lr: self.metric.sign * score for lr, score in scores_by_lr.items() if score is not None}
        if not signed_scores:
            raise BadInput(f"{self.method}: a run failed at every {_LR} that was tried")
        return max(signed_scores, key=lambda lr: (signed_scores[lr], -lr))

    @property
    def best_runs(self) -> list[Record]:
        """The runs at the best learning rate, by task and seed."""
        return [r for _, r in sorted(self.runs[self.best].items())]


def trials_of_methods(records: Iterable[Record]) -> list[Trials]:
    """Group records by method and learning rate, in the order in which the methods came.

    Raises:
        BadInput: records were scored on test, or the runs of a method differ in more than learning rate, task and seed.
    """
    by_method: dict[str, dict[float, dict[tuple[str, int], Record]]] = {}
    firsts: dict[tuple[str, str], Mapping[str, Any]] = {}
    for r in records:
        if r.config["selection"]["report_on"] == "test":
            raise BadInput(
                f"{r.run_id} was scored on test, where nothing is chosen: make runs of selection.report_on=val"
            )
        method = " + ".join(filter(None, [r.names["method"], r.names.get("search")]))
        flat = {key: value for key, value in settings(r.config).items() if key != _LR}
        first = firsts.setdefault((method, r.names["task"]), flat)
        for key in sorted({*flat, *first}):
            if flat.get(key) != first.get(key):
                raise BadInput(f"{method}: its runs differ in {key}, too ({flat.get(key)}, {first.get(key)})")
        by_method.setdefault(method, {}).setdefault(float(r.config["train"]["lr"]), {})[_place(r)] = r
    return [Trials(method, {lr: runs[lr] for lr in sorted(runs)}) for method, runs in by_method.items()]


def _place(r: Record) -> tuple[str, int]:
    return r.names["task"], r.config["seed"]


def missing_trials(methods: Sequence[Trials]) -> dict[str, str]:
    """The methods that lack a run at one of their learning rates, on a task and seed that others have, and where."""
    places: set[tuple[str, int]] = set()
    for trials in methods:
        places |= {place for runs in trials.runs.values() for place in runs}
    gaps = {}
    for trials in methods:
        absent_trials = []
        for lr, runs in trials.runs.items():
            absent_trials += [(lr, *place) for place in sorted(places) if place not in runs]
        if absent_trials:
            further = f" and {len(absent_trials) - 1} more" if len(absent_trials) > 1 else ""
            gaps[trials.method] = "no run with {}={:g} on {}, seed {}{}".format(_LR, *absent_trials[0], further)
    return gaps


def check_budgets(methods: Sequence[Trials]) -> None:
    """Check that every method has the same number of learning rates, each on the same tasks and seeds.

    Raises:
        BadInput: a method has fewer runs; the message names it.
    """
    most = max(methods, key=lambda trials: len(trials.runs))
    for trials in methods:
        if len(trials.runs) < len(most.runs):
            counts = f"{trials.method} had {len(trials.runs)} trials, {most.method} {len(most.runs)}"
            raise BadInput(f"{counts}: an equal budget is an equal number of learning rates")
    for method, gap in missing_trials(methods).items():
        raise BadInput(f"{method} has {gap}: an equal budget has them all, so make them first")


@dataclass(frozen=True)
class Gain:
    """How much the best epoch adds to a method.

    Args:
        method, lr: the runs that were compared.
        metric: the metric that decides.
        last, best: the mean over tasks at the last and at the best epoch.
        gain: by how much the best epoch is better, mean over tasks.
        largest: the largest gain of a task.
        epoch: the first best epoch, mean over runs.
    """

    method: str
    lr: float
    metric: Metric
    last: float
    best: float
    gain: statistics.Estimate
    largest: float
    epoch: float


def epoch_gains(records: Iterable[Record]) -> tuple[list[Gain], dict[str, str]]:
    """The gain of each method that has all runs, in the order in which they came; and why others have none.

    Raises:
        BadInput: the records have no curve on the split that they report on, or are no trials (see `trials`).
    """
    methods = trials_of_methods(records)
    omissions = missing_trials(methods)
    for trials in methods:
        if trials.has_failed:
            omissions.setdefault(trials.method, "a run failed at every learning rate")
    return [_gain(trials) for trials in methods if trials.method not in omissions], omissions


def score_curve(r: Record) -> list[float]:
    """The metric that decides, on the split that is reported, epoch by epoch.

    Raises:
        BadInput: the run was not evaluated after every epoch.
    """
    name = f"{r.config['selection']['report_on']}_{r.metric.name}"
    values = [entry[name] for entry in r.history if name in entry]
    if not values or len(values) < len(r.history) or any("stage" in entry for entry in r.history):
        raise BadInput(
            f"{r.run_id} has no curve of {name} in its history: records of selection.fit_on=train "
            "selection.report_on=val have one, such as those of experiment=mini_tune"
        )
    return values


def _gain(trials: Trials) -> Gain:
    metric = trials.metric
    best_of = max if metric.higher_is_better else min
    by_task: dict[str, list[list[float]]] = {}
    for r in trials.best_runs:
        by_task.setdefault(r.names["task"], []).append(score_curve(r))
    gain_of_tasks, last, best, epochs = [], [], [], []
    for curves in by_task.values():
        # rounded: the curve has six digits
        gain_of_tasks.append(round(fmean(metric.sign * (best_of(curve) - curve[-1]) for curve in curves), 9))
        last.append(fmean(curve[-1] for curve in curves))
        best.append(fmean(map(best_of, curves)))
        epochs += [curve.index(best_of(curve)) + 1 for curve in curves]
    gain = statistics.mean(gain_of_tasks)
    return Gain(trials.method, trials.best, metric, fmean(last), fmean(best), gain, max(gain_of_tasks), fmean(epochs))
