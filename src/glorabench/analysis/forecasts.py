"""What is known of a run before it starts: an estimate of its time by earlier records."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from glorabench.analysis.costs import stage_total
from glorabench.records.compatibility import configuration_of
from glorabench.records.record import Record

_Config = Mapping[str, Any]
_Key = Callable[[_Config], Any]


@dataclass(frozen=True)
class Forecast:
    """What is known of a run before it starts.

    Args:
        config: of the run.
        is_done: its record is there, so it is not made again.
        trained: trained parameters without the head, of all paths of a supernet; None where only a run can tell.
        is_drawn: `trained` is of one drawn path, and the run draws its own.
        seconds: of training and search; None where no record tells.
        basis: the records that tell it.
    """

    config: _Config
    is_done: bool
    trained: int | None
    is_drawn: bool
    seconds: float | None
    basis: str


class PastTimes:
    """The seconds of training and search of earlier runs, by what they have in common with a run to come.

    Args:
        records: finished ones.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        timed = [(r, seconds) for r in records if (seconds := stage_total(r, "seconds")) is not None]
        self._kinds: list[tuple[str, _Key, dict[Any, list[tuple[Record, float]]]]] = []
        for words, key in _KINDS:
            index: dict[Any, list[tuple[Record, float]]] = {}
            for r, seconds in timed:
                index.setdefault(key(r.config), []).append((r, seconds))
            self._kinds.append((words, key, index))

    def estimate(self, config: _Config) -> tuple[float | None, str]:
        """Mean seconds of the records that are nearest to a run, and which these are; None without any.

        The nearest are those of the same configuration with any seed; then those of the same method, search, backbone,
        epochs and batches on the same task; then those on other tasks of the suite.
        """
        for words, key, index in self._kinds:
            if matches := index.get(key(config)):
                devices = {str(r.provenance.get("device", "an unknown device")) for r, _ in matches}
                mean = fmean(seconds for _, seconds in matches)
                return mean, f"{len(matches)} {words}, on {' or '.join(sorted(devices))}"
        return None, ""


def _configuration(config: _Config) -> str:
    return json.dumps(configuration_of(dict(config)), sort_keys=True)


def _likeness(config: _Config) -> tuple[Any, ...]:
    names, train = config["names"], config["train"]
    sizes = [train.get(key, 1) for key in ("epochs", "batch_size", "accumulate", "devices")]
    sizes.append(train.get("checkpoint_activations", False))
    return names["method"], names["backbone"], names["data"], names.get("search"), *sizes


def _likeness_on_task(config: _Config) -> tuple[Any, ...]:
    return (*_likeness(config), config["names"]["task"])


_KINDS: tuple[tuple[str, _Key], ...] = (
    ("of this configuration", _configuration),
    ("with other settings", _likeness_on_task),
    ("on other tasks", _likeness),
)
