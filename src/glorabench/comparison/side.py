"""Sides of a comparison: the records of one configuration, chosen by what their configs say, and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

from glorabench import stats
from glorabench.cells import MARK, contaminated, draw_of, settings
from glorabench.conditions import matching, told, values
from glorabench.errors import BadInput
from glorabench.record import Record

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
    found = matching(records, where)
    flats = [{k: v for k, v in settings(r.config).items() if k not in _TASK} for r in found]
    if keys := _differing(flats):
        clash = "; ".join(f"{key.removeprefix('names.')} is {values(f.get(key) for f in flats)}" for key in keys)
        raise BadInput(f"{told(where) or 'no condition'} is more than one configuration: {clash}: add one to `where`")
    return found


def place_of(r: Record) -> tuple[str, Seed]:
    """Its task and seed; that of the shots is part of the seed."""
    seed, draw = draw_of(r)
    return r.names["task"], seed if draw < 0 else f"{seed}, split seed {draw}"


def _differing(flats: Sequence[Mapping[str, Any]]) -> list[str]:
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

    def top1(self, task: str, seed: Seed) -> float:
        """Accuracy on the test split of one run."""
        return self.runs[task, seed].metrics["top1"]

    def mean(self, value: Callable[[str, Seed], float]) -> stats.Estimate:
        """Mean over tasks of a value of (task, seed), then over the seeds that every task has, with Student's t.

        Raises:
            BadInput: there is no such seed.
        """
        shared = set.intersection(*(set(self.seeds(task)) for task in self.tasks)) if self.runs else set()
        common = [seed for seed in self.seeds(self.tasks[0]) if seed in shared] if shared else []
        if not common:
            raise BadInput(f"{self.label}: no seed has a result on every task ({', '.join(self.tasks) or 'none'})")
        # rounded: equal seeds must not differ by what floating point leaves
        return stats.mean([round(fmean(value(task, seed) for task in self.tasks), 12) for seed in common])

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
        found = [r.cost.get("stages") or {} for r in self.runs.values()]
        names = sorted({name for stages in found for name in stages}, key=_STAGES.index) if all(found) else []
        return {n: {k: fmean(s.get(n, {}).get(k, 0) for s in found) for k in ("seconds", "flops")} for n in names}

    @property
    def seconds(self) -> float | None:
        """Seconds of all stages, the search included, mean over runs; None where a record does not say them."""
        found = [r.cost.get("train_s") for r in self.runs.values()]
        if self.stages:
            return sum(stage["seconds"] for stage in self.stages.values())
        known = [float(value) for value in found if value is not None]
        return fmean(known) if known and len(known) == len(found) else None

    @property
    def flops(self) -> float | None:
        """FLOPs of all stages, the search included, mean over runs; None where a record does not say them."""
        return sum(stage["flops"] for stage in self.stages.values()) if self.stages else None
