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
from glorabench.records.compatibility import MARK, contaminated, draw_of, refuse_mixtures, settings
from glorabench.records.filters import matching, told, values
from glorabench.records.metrics import Metric, equal_scale
from glorabench.records.outcomes import example_counts
from glorabench.records.record import Record

_TASK = ("data.task", "names.task")
_STAGES = ("train", "supernet", "search", "retrain")  # in the order in which they run; JSON does not keep it
_SHOWN = 4  # keys that a message about several configurations names
Seed = int | str  # a text where the shots have a seed of their own


def select(records: Iterable[Record], where: Mapping[str, Any]) -> list[Record]:
    """The records of the one configuration that `where` describes: all its tasks and seeds, failed runs too.

    Args:
        records: to choose from.
        where: dotted keys of the config and their values; a list is any of its values, null is a key that is not
            there, and a group is compared by its name ({method: lora, method.rank: [4, 8], search: null}).

    Raises:
        BadInput: nothing matches, or several configurations do (more than task and seed differ), with the key.
    """
    matches = matching(records, where)
    flats = [{k: v for k, v in settings(r.config).items() if k not in _TASK} for r in matches]
    if keys := _differing_keys(flats):
        clash = "; ".join(f"{key.removeprefix('names.')} is {values(f.get(key) for f in flats)}" for key in keys)
        raise BadInput(f"{told(where) or 'no condition'} is more than one configuration: {clash}: add one to `where`")
    return matches


def place_of(r: Record) -> tuple[str, Seed]:
    """Its task and seed; that of the shots is part of the seed."""
    seed, draw = draw_of(r)
    return r.names["task"], seed if draw < 0 else f"{seed}, split seed {draw}"


def _differing_keys(flats: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys that do not agree, the shortest first."""
    known = {key for flat in flats for key in flat}
    keys = [key for key in known if any(flat.get(key) != flats[0].get(key) for flat in flats)]
    return sorted(keys, key=lambda key: (key.count("."), key))[:_SHOWN]


@dataclass(frozen=True)
class Side:
    """One configuration on its tasks and seeds.

    Args:
        label: what it is called.
        records: of this configuration alone (see `select`), failed runs too.
    """

    label: str
    records: Sequence[Record]

    @cached_property
    def runs(self) -> dict[tuple[str, Seed], Record]:
        """What has a result, by task and seed, in this order."""
        done = {place_of(r): r for r in self.records if r.status == "done"}
        return {key: done[key] for key in sorted(done, key=lambda key: (key[0], draw_of(done[key])))}

    @property
    def name(self) -> str:
        """The label, with the mark of what was chosen on the test split."""
        return f"{self.label} {MARK}" if self.contaminated else self.label

    @property
    def tasks(self) -> list[str]:
        """In the order of their names."""
        return list(dict.fromkeys(task for task, _ in self.runs))

    def seeds(self, task: str) -> list[Seed]:
        """Those that have a result on `task`."""
        return [seed for on, seed in self.runs if on == task]

    def score(self, task: str, seed: Seed) -> float:
        """The metric that decides, of one run."""
        return self.runs[task, seed].score

    def mean(self, value: Callable[[str, Seed], float]) -> statistics.Estimate:
        """Mean over tasks of a value of (task, seed), then over the seeds that every task has, with Student's t.

        Raises:
            BadInput: there is no such seed.
        """
        shared = set.intersection(*(set(self.seeds(task)) for task in self.tasks)) if self.runs else set()
        common = [seed for seed in self.seeds(self.tasks[0]) if seed in shared] if shared else []
        if not common:
            raise BadInput(f"{self.label}: no seed has a result on every task ({', '.join(self.tasks) or 'none'})")
        # rounded: equal seeds must not differ by what floating point leaves
        return statistics.mean([round(fmean(value(task, seed) for task in self.tasks), 12) for seed in common])

    @property
    def contaminated(self) -> bool:
        """True when something was chosen on the test split."""
        return contaminated(self.records)

    @property
    def params(self) -> float:
        """Trained parameters without the head (those of the subnet), mean over runs."""
        return fmean(r.params["method"] or 0 for r in self.runs.values())

    @property
    def stages(self) -> dict[str, dict[str, float]]:
        """Seconds and FLOPs of each stage of training, mean over runs; empty where a record does not say them."""
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
        """Seconds of all stages, the search included, mean over runs; None where a record does not say them."""
        if self.stages:
            return sum(stage["seconds"] for stage in self.stages.values())
        seconds = [r.cost.get("train_s") for r in self.runs.values()]
        known = [float(value) for value in seconds if value is not None]
        return fmean(known) if known and len(known) == len(seconds) else None

    @property
    def flops(self) -> float | None:
        """FLOPs of all stages, the search included, mean over runs; None where a record does not say them."""
        return sum(stage["flops"] for stage in self.stages.values()) if self.stages else None


@dataclass(frozen=True)
class OnTask:
    """Both sides on one task.

    Args:
        task: its name.
        metric: the one that decides on it.
        first, second: its mean over seeds, of each side.
        difference: first - second with the interval of paired outcomes, or, where some are missing (not `paired`), of
            Student's t over seeds.
    """

    task: str
    metric: Metric
    first: float
    second: float
    difference: statistics.Estimate
    paired: bool = True

    @property
    def sign(self) -> int:
        """1: the first is ahead; -1: the second is; 0: a tie, the interval holds zero."""
        return _sign(self.difference, self.metric)


@dataclass(frozen=True)
class Comparison:
    """Two configurations on the same tasks and seeds.

    Args:
        tasks: one by one.
        mean: first - second of the mean over tasks: a value for each seed that has every task, then Student's t. None
            where the tasks are scored by metrics of different units or directions.
    """

    first: Side
    second: Side
    tasks: tuple[OnTask, ...]
    mean: statistics.Estimate | None

    @property
    def metric(self) -> Metric:
        """The metric of the first task; where there is a mean, unit and direction are those of all."""
        return self.tasks[0].metric

    @property
    def tally(self) -> tuple[int, int, int]:
        """Tasks won, tied and lost by the first side."""
        signs = [on.sign for on in self.tasks]
        return signs.count(1), signs.count(0), signs.count(-1)

    @property
    def sign(self) -> int:
        """1: the first is ahead; -1: it is behind; 0: not decided, also when a side saw the test split."""
        if self.first.contaminated or self.second.contaminated or self.mean is None:
            return 0
        return _sign(self.mean, self.metric)

    @property
    def params_ratio(self) -> float | None:
        """Parameters, first / second; None when the second has none."""
        return self.first.params / self.second.params if self.second.params else None

    @property
    def flops_ratio(self) -> float | None:
        """FLOPs of training and search, first / second; None where a record does not say them."""
        a, b = self.first.flops, self.second.flops
        return a / b if a is not None and b else None


def compare(first: Side, second: Side) -> Comparison:
    """How the first side does against the second, on the same tasks and seeds.

    Raises:
        BadInput: a run that one side has is missing on the other, no seed has every task, or the records do not
            compare (protocol, selection, backbone, data, precision).
    """
    check_pairs([(first, second)])
    refuse_mixtures([*first.runs.values(), *second.runs.values()])
    tasks = tuple(_on_task(task, first, second) for task in first.tasks)
    mean = None
    if equal_scale(on.metric for on in tasks):
        mean = first.mean(lambda task, seed: first.score(task, seed) - second.score(task, seed))
    return Comparison(first, second, tasks, mean)


def check_pairs(pairs: Iterable[tuple[Side, Side]]) -> None:
    """Check that both sides of each pair have a result on the same tasks and seeds.

    Raises:
        BadInput: naming every run that is missing.
    """
    gaps = [gap for one, two in pairs for gap in (*_gaps(one, two), *_gaps(two, one))]
    if gaps:
        lacking = "; ".join(dict.fromkeys(gaps))
        raise BadInput(f"runs are missing: {lacking}. Make them, or leave their seed or task out by `where`.")


def _gaps(side: Side, other: Side) -> list[str]:
    """What `side` lacks of the runs that `other` has."""
    failed = {place_of(r): r.error or {} for r in side.records if r.status != "done"}
    lacks = [key for key in other.runs if key not in side.runs]
    why = {key: f" (failed: {failed[key].get('kind')})" if key in failed else "" for key in lacks}
    return [f"{side.label} on {task}, seed {seed}{why[task, seed]}" for task, seed in lacks]


def _on_task(task: str, first: Side, second: Side) -> OnTask:
    seeds = first.seeds(task)
    metric = first.runs[task, seeds[0]].metric
    one, two = (tuple(side.runs[task, seed].outcomes_of(metric.name) for seed in seeds) for side in (first, second))
    a, b = (fmean(side.score(task, seed) for seed in seeds) for side in (first, second))
    counts = example_counts(one, two)
    if "" in counts or len(counts) > 1:  # outcomes are missing, or seeds have other examples
        over_seeds = statistics.mean([first.score(task, seed) - second.score(task, seed) for seed in seeds])
        return OnTask(task, metric, a, b, over_seeds, paired=False)
    return OnTask(task, metric, a, b, paired_outcomes(one, two).estimate)


def _sign(difference: statistics.Estimate, metric: Metric) -> int:
    if not difference.excludes_zero:
        return 0
    return metric.sign if difference.value > 0 else -metric.sign
