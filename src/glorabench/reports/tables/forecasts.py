"""The runs that a command would make, as a table: what they train, and an estimate of their time."""

from __future__ import annotations

from collections.abc import Sequence

from glorabench.analysis.forecasts import Forecast
from glorabench.analysis.labels import labels_of
from glorabench.records.compatibility import settings
from glorabench.records.record import run_id
from glorabench.reports.captions import count_text
from glorabench.reports.rendering import Part

_HEAD = ("run", "suite", "task", "method", "seed", "state", "params", "time", "by")


def forecast_part(runs: Sequence[Forecast]) -> Part:
    """A row for each run, and the time of those that are to be made."""
    labels = labels_of([run.config for run in runs], [settings(dict(run.config)) for run in runs])
    body = []
    for run, label in zip(runs, labels, strict=True):
        names, state = run.config["names"], "found" if run.is_done else "to make"
        trained = "unknown" if run.trained is None else f"{'about ' if run.is_drawn else ''}{run.trained:,}"
        words = (
            run_id(run.config),
            names["data"],
            names["task"],
            label.method,
            str(run.config["seed"]),
            state,
            trained,
        )
        body.append((*words, _time_text(run.seconds), run.basis))
    missing = [run for run in runs if not run.is_done]
    return Part(f"{count_text(len(runs), 'run')}, {len(missing)} to make", _HEAD, body, [_total(missing)], _NOTES)


_NOTES = (
    "params: trained parameters without the head, of all paths of a supernet; about: of one drawn path, and the run "
    "draws its own. time: seconds of training and search in earlier records, on their machine; reading data, testing "
    "and measuring come on top."
)


def _total(missing: Sequence[Forecast]) -> str:
    times = [run.seconds for run in missing if run.seconds is not None]
    unknown = len(missing) - len(times)
    text = f"to make: {_time_text(sum(times))} of training and search" if times else "to make: the time is unknown"
    if not missing:
        return "nothing is left to make"
    return f"{text}, and {count_text(unknown, 'run')} of unknown time" if times and unknown else text


def _time_text(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
