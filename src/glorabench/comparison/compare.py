"""Comparisons: two configurations on the same tasks and seeds, and what their records support."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from glorabench import stats
from glorabench.cells import refuse_mixtures
from glorabench.comparison.side import Side, place_of
from glorabench.errors import BadInput
from glorabench.outcomes import counts, packed_of, paired


@dataclass(frozen=True)
class OnTask:
    """Both sides on one task: mean top-1 of each, and first - second with the interval of paired outcomes, or, where
    some are missing (not `paired`), Student's t over seeds."""

    task: str
    first: float
    second: float
    difference: stats.Estimate
    paired: bool = True

    @property
    def sign(self) -> int:
        """1: the first is ahead; -1: the second is; 0: a tie, the interval holds zero."""
        return _sign(self.difference)


@dataclass(frozen=True)
class Comparison:
    """Two configurations on the same tasks and seeds.

    Args:
        tasks: one by one; intervals by `crossed`.
        mean: first - second of the mean over tasks: a value for each seed that has every task, then Student's t.
    """

    first: Side
    second: Side
    tasks: tuple[OnTask, ...]
    mean: stats.Estimate

    @property
    def tally(self) -> tuple[int, int, int]:
        """Tasks won, tied and lost by the first side."""
        signs = [on.sign for on in self.tasks]
        return signs.count(1), signs.count(0), signs.count(-1)

    @property
    def sign(self) -> int:
        """1: the first is ahead; -1: it is behind; 0: not decided, also when a side saw the test split."""
        return 0 if self.first.contaminated or self.second.contaminated else _sign(self.mean)

    @property
    def params_ratio(self) -> float | None:
        """Parameters, first / second; None when the second has none."""
        return self.first.params / self.second.params if self.second.params else None

    @property
    def flops_ratio(self) -> float | None:
        """FLOPs of training and search, first / second; None where a record does not say them."""
        a, b = self.first.flops, self.second.flops
        return a / b if a is not None and b else None

    @property
    def conclusion(self) -> str:
        """One sentence that the numbers support."""
        first, second, d = self.first.label, self.second.label, self.mean
        if seen := [side.label for side in (self.first, self.second) if side.contaminated]:
            return f"not decided: {' and '.join(seen)} saw the test split"
        won, tied, lost = self.tally
        tally = f"{_count(won, 'win')}, {_count(tied, 'tie')}, {_count(lost, 'loss', 'losses')}"
        tally += f" of {_count(len(self.tasks), 'task')}"
        low, high = (d.low, d.high) if self.sign >= 0 else (-d.high, -d.low)
        sure = f"95 % interval {points(low)} to {points(high)}, {d.n} seeds" if d.n > 1 else "one seed, so no interval"
        if self.sign:
            way = "ahead of" if self.sign > 0 else "behind"
            return f"{first} is {way} {second} by {points(abs(d.value))} points ({sure}; {tally})"
        return f"not decided: {first} minus {second} is {points(d.value)} points ({sure}; {tally})"


def compare(first: Side, second: Side) -> Comparison:
    """How the first side does against the second, on the same tasks and seeds.

    Raises:
        BadInput: a run that one side has is missing on the other, no seed has every task, or the records do not
            compare (protocol, selection, backbone, data, precision).
    """
    check_pairs([(first, second)])
    refuse_mixtures([*first.runs.values(), *second.runs.values()])
    mean = first.mean(lambda task, seed: first.top1(task, seed) - second.top1(task, seed))
    return Comparison(first, second, tuple(_on_task(task, first, second) for task in first.tasks), mean)


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
    one, two = (tuple(packed_of(side.runs[task, seed]) for seed in seeds) for side in (first, second))
    a, b = (fmean(side.top1(task, seed) for seed in seeds) for side in (first, second))
    if "" in (known := counts(one, two)) or len(known) > 1:  # outcomes are missing, or seeds have other examples
        gaps = stats.mean([first.top1(task, seed) - second.top1(task, seed) for seed in seeds])
        return OnTask(task, a, b, gaps, paired=False)
    return OnTask(task, a, b, paired(one, two).estimate)


def points(value: float) -> str:
    """A difference of accuracies in percentage points."""
    return f"{round(100 * value, 2) + 0:.2f}"  # + 0: no minus before a zero


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _sign(d: stats.Estimate) -> int:
    return (1 if d.value > 0 else -1) if d.excludes_zero else 0
