"""Compare two configurations on the same tasks and seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

from glorabench.analysis import statistics
from glorabench.analysis.significance import paired_outcomes
from glorabench.errors import BadInput
from glorabench.records.compatibility import MARK, any_contaminated, draw_of, refuse_mixtures, settings
from glorabench.records.filters import conditions_text, filter_records, values_text
from glorabench.records.metrics import Metric, equal_scale
from glorabench.records.outcomes import example_counts
from glorabench.records.record import Record

_TASK = ("data.task", "names.task")
_STAGES = ("train", "supernet", "search", "retrain")  # in the order in which they run; JSON does not keep it
_MAX_KEYS = 4  # keys that a message about several configurations names
Seed = int | str  # a text where the few-shot split has its own seed


def select(records: Iterable[Record], conditions: Mapping[str, Any]) -> list[Record]:
    """The records of the one configuration that the conditions describe: all tasks and seeds, failed runs too.

    Args:
        records: the records to choose from.
        conditions: dotted keys of the config and their values. A list matches any of its values; null matches a missing
            key. A group is compared by its name ({method: lora, method.rank: [4, 8], search: null}).

    Raises:
        BadInput: nothing matches, or several configurations do. The message names the keys in which they differ.
    """
    matches = filter_records(records, conditions)
    flats = [{key: value for key, value in settings(r.config).items() if key not in _TASK} for r in matches]
    if keys := _differing_keys(flats):
        clashes = []
        for key in keys:
            clashes.append(f"{key.removeprefix('names.')} is {values_text(flat.get(key) for flat in flats)}")
        words = conditions_text(conditions) or "no condition"
        raise BadInput(f"{words} is more than one configuration: {'; '.join(clashes)}: add one to `where`")
    return matches


def place_of(r: Record) -> tuple[str, Seed]:
    """Task and seed of a record; the seed of a few-shot split is part of the seed."""
    seed, draw = draw_of(r)
    return r.names["task"], seed if draw < 0 else f"{seed}, split seed {draw}"


def _differing_keys(flats: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys on which the configurations disagree, the least nested first."""
    keys: set[str] = set()
    for flat in flats:
        keys |= {key for key in {*flat, *flats[0]} if flat.get(key) != flats[0].get(key)}
    return sorted(keys, key=lambda key: (key.count("."), key))[:_MAX_KEYS]


@dataclass(frozen=True)
class Side:
    """One configuration on its tasks and seeds.

    Args:
        label: what it is called.
        records: the runs of this configuration alone (see `select`), failed runs too.
    """

    label: str
    records: Sequence[Record]

    @cached_property
    def runs(self) -> dict[tuple[str, Seed], Record]:
        """The runs that have a result, by task and seed, in this order."""
        by_place = {place_of(r): r for r in self.records if r.status == "done"}
        return {key: by_place[key] for key in sorted(by_place, key=lambda key: (key[0], draw_of(by_place[key])))}

    @property
    def name(self) -> str:
        """The label, marked where something was chosen on the test split."""
        return f"{self.label} {MARK}" if self.contaminated else self.label

    @property
    def tasks(self) -> list[str]:
        """The tasks that have a result, in the order of their names."""
        return list(dict.fromkeys(task for task, _ in self.runs))

    def seeds(self, task: str) -> list[Seed]:
        """The seeds that have a result on `task`."""
        return [seed for run_task, seed in self.runs if run_task == task]

    def score(self, task: str, seed: Seed) -> float:
        """The value of the metric that decides, for one run."""
        return self.runs[task, seed].score

    def mean(self, value: Callable[[str, Seed], float]) -> statistics.Estimate:
        """Mean of a value of (task, seed) over tasks, then over the seeds that every task has, with Student's t.

        Raises:
            BadInput: no seed has a result on every task.
        """
        shared_seeds = self.seeds(self.tasks[0]) if self.runs else []
        for task in self.tasks:
            shared_seeds = [seed for seed in shared_seeds if (task, seed) in self.runs]
        if not shared_seeds:
            raise BadInput(f"{self.label}: no seed has a result on every task ({', '.join(self.tasks) or 'none'})")
        means = [fmean(value(task, seed) for task in self.tasks) for seed in shared_seeds]
        return statistics.mean([round(mean, 12) for mean in means])  # equal seeds must not differ by rounding errors

    @property
    def contaminated(self) -> bool:
        """True when something was chosen on the test split."""
        return any_contaminated(self.records)

    @property
    def params(self) -> float:
        """Trained parameters without the head, mean over runs; of a searched run those of its subnet."""
        return fmean(r.params["method"] or 0 for r in self.runs.values())

    @property
    def stages(self) -> dict[str, dict[str, float]]:
        """Seconds and FLOPs of each stage of training, mean over runs; empty where a record has none."""
        of_runs = [r.cost.get("stages") or {} for r in self.runs.values()]
        if not all(of_runs):
            return {}
        names = sorted({name for stages in of_runs for name in stages}, key=_STAGES.index)
        result = {}
        for name in names:
            stages = [stages.get(name, {}) for stages in of_runs]
            result[name] = {key: fmean(stage.get(key, 0) for stage in stages) for key in ("seconds", "flops")}
        return result

    @property
    def seconds(self) -> float | None:
        """Seconds of all stages, the search included, mean over runs; None where a record has none."""
        if self.stages:
            return sum(stage["seconds"] for stage in self.stages.values())
        seconds = [r.cost.get("train_s") for r in self.runs.values()]
        numbers = [float(value) for value in seconds if value is not None]
        return fmean(numbers) if numbers and len(numbers) == len(seconds) else None

    @property
    def flops(self) -> float | None:
        """FLOPs of all stages, the search included, mean over runs; None where a record has none."""
        return sum(stage["flops"] for stage in self.stages.values()) if self.stages else None


@dataclass(frozen=True)
class TaskComparison:
    """Both sides on one task.

    Args:
        task: its name.
        metric: the metric that decides on the task.
        first, second: the mean of each side over seeds.
        difference: first - second. The interval is that of paired outcomes. Where outcomes are missing,
            it is that of Student's t over seeds.
    """

    task: str
    metric: Metric
    first: float
    second: float
    difference: statistics.Estimate
    is_paired: bool = True

    @property
    def sign(self) -> int:
        """1: the first is ahead. -1: the second is ahead. 0: a tie, as the interval holds zero."""
        return _sign(self.difference, self.metric)


@dataclass(frozen=True)
class Comparison:
    """Two configurations on the same tasks and seeds.

    Args:
        tasks: the comparison on each task.
        mean: first - second of the mean over tasks, with Student's t over the seeds that have every task. None where
            the tasks are scored by metrics of different units or directions.
    """

    first: Side
    second: Side
    tasks: tuple[TaskComparison, ...]
    mean: statistics.Estimate | None

    @property
    def metric(self) -> Metric:
        """The metric of the first task. Where there is a mean, all tasks share its unit and direction."""
        return self.tasks[0].metric

    @property
    def tally(self) -> tuple[int, int, int]:
        """Tasks won, tied and lost by the first side."""
        signs = [row.sign for row in self.tasks]
        return signs.count(1), signs.count(0), signs.count(-1)

    @property
    def sign(self) -> int:
        """1: the first is ahead. -1: it is behind. 0: not decided, also when a side saw the test split."""
        if self.first.contaminated or self.second.contaminated or self.mean is None:
            return 0
        return _sign(self.mean, self.metric)

    @property
    def params_ratio(self) -> float | None:
        """Parameters, first / second; None when the second has none."""
        return self.first.params / self.second.params if self.second.params else None

    @property
    def flops_ratio(self) -> float | None:
        """FLOPs of training and search, first / second; None where a record has none."""
        first, second = self.first.flops, self.second.flops
        return first / second if first is not None and second else None


def compare_sides(first: Side, second: Side) -> Comparison:
    """Compare the first side with the second on the same tasks and seeds.

    Raises:
        BadInput: a run of one side is missing on the other, no seed has every task, or the records cannot be compared
            (they differ in protocol, selection, backbone, data or precision).
    """
    check_pairs([(first, second)])
    refuse_mixtures([*first.runs.values(), *second.runs.values()])
    tasks = tuple(_compare_on_task(task, first, second) for task in first.tasks)
    mean = None
    if equal_scale(row.metric for row in tasks):
        mean = first.mean(lambda task, seed: first.score(task, seed) - second.score(task, seed))
    return Comparison(first, second, tasks, mean)


def check_pairs(pairs: Iterable[tuple[Side, Side]]) -> None:
    """Check that both sides of each pair have a result on the same tasks and seeds.

    Raises:
        BadInput: runs are missing; the message names each of them.
    """
    gaps: list[str] = []
    for first, second in pairs:
        gaps += [*_missing_runs(first, second), *_missing_runs(second, first)]
    if gaps:
        names = "; ".join(dict.fromkeys(gaps))
        raise BadInput(f"runs are missing: {names}. Make them, or leave their seed or task out by `where`.")


def _missing_runs(side: Side, other: Side) -> list[str]:
    """The runs that `other` has and `side` does not, as text."""
    errors = {place_of(r): r.error or {} for r in side.records if r.status != "done"}
    lines = []
    for task, seed in other.runs:
        if (task, seed) not in side.runs:
            reason = f" (failed: {errors[task, seed].get('kind')})" if (task, seed) in errors else ""
            lines.append(f"{side.label} on {task}, seed {seed}{reason}")
    return lines


def _compare_on_task(task: str, first: Side, second: Side) -> TaskComparison:
    seeds = first.seeds(task)
    metric = first.runs[task, seeds[0]].metric
    scores = [fmean(side.score(task, seed) for seed in seeds) for side in (first, second)]
    outcomes = [tuple(side.runs[task, seed].outcomes_of(metric.name) for seed in seeds) for side in (first, second)]
    counts = example_counts(*outcomes)
    if "" in counts or len(counts) > 1:  # outcomes are missing, or seeds have other examples
        over_seeds = statistics.mean([first.score(task, seed) - second.score(task, seed) for seed in seeds])
        return TaskComparison(task, metric, scores[0], scores[1], over_seeds, is_paired=False)
    return TaskComparison(task, metric, scores[0], scores[1], paired_outcomes(outcomes[0], outcomes[1]).estimate)


def _sign(difference: statistics.Estimate, metric: Metric) -> int:
    if not difference.excludes_zero:
        return 0
    return metric.sign if difference.value > 0 else -metric.sign
