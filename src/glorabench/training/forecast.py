"""What a command would do, without doing it: its runs, what they train, and how long that takes by earlier records."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from glorabench.analysis.forecasts import Forecast, PastTimes
from glorabench.config.compose import choice_settings
from glorabench.errors import BadInput
from glorabench.records import record
from glorabench.records.record import Record
from glorabench.training.shortlist import tuning_words
from glorabench.training.sweep import check_missing, plan_runs

_Config = Mapping[str, Any]


def forecast_runs(words: Sequence[str], multirun: bool) -> list[Forecast]:
    """A forecast of each run that `words` stand for; nothing is written.

    Of a command with `choose` these are the runs of its tuning, as the rates of its tests follow from them.

    Raises:
        BadInput: the words or the machine are not ready, as for the runs themselves.
    """
    settings = choice_settings(words)
    plan = plan_runs(words, multirun) if settings is None else plan_runs(tuning_words(words, settings), True)
    plan = check_missing(plan)
    missing = {id(config) for config in plan.missing}
    times = PastTimes(_records(plan.configs))
    forecasts = []
    for config in plan.configs:
        seconds, basis = times.estimate(config)
        is_drawn = config["method"].get("path") == "random"
        forecasts.append(Forecast(config, id(config) not in missing, _trained(_text(config)), is_drawn, seconds, basis))
    return forecasts


def _records(configs: Iterable[_Config]) -> list[Record]:
    """The finished records of the suites, below the results folders; a damaged folder tells nothing."""
    folders = {Path(c["results_dir"]) / "runs" / c["names"]["data"]: None for c in configs}
    folders |= {root / "runs" / folder.name: None for root in record.ROOTS for folder in list(folders)}
    records: dict[str, Record] = {}
    for folder in folders:
        try:
            records |= {r.run_id: r for r in record.read_all([folder]) if r.status == "done"}
        except BadInput:
            continue
    return list(records.values())


def _text(config: _Config) -> str:
    """What the number of parameters depends on, in JSON."""
    return json.dumps({key: config[key] for key in ("backbone", "method")}, sort_keys=True)


@lru_cache(maxsize=256)  # the runs of a sweep share few
def _trained(parts: str) -> int | None:
    """Trained parameters without the head, counted without weights."""
    from glorabench.training.measure.profiling import backbone_of_config, size_of

    try:
        return size_of(backbone_of_config(json.loads(parts)))
    except (NotImplementedError, RuntimeError):  # some tuners of peft compute when they start
        return None
