"""Make the runs of a command. With `choose`, as in experiment=choose: tuning on val, then the test at the best rates.

Every method tries the same learning rates, fitted on train and scored on val. Then each is trained on train and val at
its best rate and scored on test, so nothing is chosen on test.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glorabench.analysis.tuning import Trials, trials_of_methods
from glorabench.config.compose import choice_settings, compose, expand
from glorabench.config.schema import ChoiceSettings
from glorabench.config.words import quote
from glorabench.errors import BadInput
from glorabench.records.record import read_record
from glorabench.training.sweep import make_runs

_AXES = ("method", "data.task")  # what the words of the command may list
_OWN_KEYS = {"train.lr": "rates", "train.lr_of": "rates", "seed": "seeds"}  # key -> the key of `choose` instead
_TUNING = ("selection.fit_on=train", "selection.report_on=val", "seed=0", "latency_rounds=0")
_TEST = ("selection.fit_on=trainval", "selection.report_on=test", "train.lr='${oc.select:train.lr_of.${names.method}}'")

Runs = tuple[list[dict[str, Any]], list[Path]]


def make_command(words: Sequence[str], multirun: bool) -> Runs:
    """Make the runs that a command stands for and that have no record yet.

    Returns:
        The config of every run, and where its record is, if it could be made. With `choose` these are the runs that are
        scored on test, and those of a method that failed at every learning rate.

    Raises:
        BadInput: the words or the machine are not ready; nothing was started.
    """
    settings = choice_settings(words)
    return make_runs(words, multirun) if settings is None else _make_shortlist(words, settings)


def tuning_words(words: Sequence[str], settings: ChoiceSettings) -> list[str]:
    """The words of the sweep that tunes the methods of a command with `choose`.

    Raises:
        BadInput: a word would give the methods different trials, or compare more than methods.
    """
    place = f"results_dir={quote(str(Path(_check_words(words)) / 'tuning'))}"
    return [*words, *_TUNING, f"train.lr={','.join(map(repr, settings.rates))}", place]


def _make_shortlist(words: Sequence[str], settings: ChoiceSettings) -> Runs:
    tuning = tuning_words(words, settings)
    print(f"tuning: learning rates {','.join(map(repr, settings.rates))} of each method, scored on val", flush=True)
    configs, paths = make_runs(tuning, True)
    if not all(path.exists() for path in paths):
        return configs, paths  # a method without a record had a smaller budget than the others
    rates_by_method = _best_rates(paths)
    failures = [
        (config, path)
        for config, path in zip(configs, paths, strict=True)
        if config["names"]["method"] not in rates_by_method
    ]
    runs: Runs = ([], [])
    if rates_by_method:
        print(f"test: each method at its best rate, seeds {','.join(map(str, settings.seeds))}", flush=True)
        lr_of = ",".join(f"{method}:{rate!r}" for method, rate in rates_by_method.items())
        methods, seeds = ",".join(rates_by_method), ",".join(map(str, settings.seeds))
        runs = make_runs([*words, *_TEST, f"method={methods}", f"seed={seeds}", f"++train.lr_of={{{lr_of}}}"], True)
    return runs[0] + [config for config, _ in failures], runs[1] + [path for _, path in failures]


def _check_words(words: Sequence[str]) -> str:
    """Refuse words that would be changed, or compare more than methods; returns the results folder.

    Raises:
        BadInput: naming the word and what to give instead.
    """
    for word in words:
        key = word.lstrip("+~").partition("=")[0]
        if key in _OWN_KEYS:
            raise BadInput(
                f"'{word}': with choose all methods have the same trials: give choose.{_OWN_KEYS[key]}=[...]"
            )
        if key.partition(".")[0] == "selection":
            raise BadInput(f"'{word}': with choose, tuning is on val and the result on test: leave it out")
    jobs, _ = expand(words, True)
    differences = set[str]().union(*jobs) - set(jobs[0]).intersection(*jobs)
    for key in sorted({word.partition("=")[0] for word in differences} - set(_AXES)):
        raise BadInput(f"choose compares methods, so {key} has one value: give one, or one command for each")
    return compose(jobs[0])["results_dir"]


def _best_rates(paths: Sequence[Path]) -> dict[str, float]:
    """The learning rate of each method that is best on val; a method that failed at every rate is left out."""
    rates = {}
    for trials in trials_of_methods(map(read_record, paths)):
        if trials.has_failed:
            print(f"  {trials.method}: left out, a run failed at every learning rate", flush=True)
        else:
            rates[trials.best_runs[0].names["method"]] = trials.best
            print(f"  {_best_text(trials)}", flush=True)
    return rates


def _best_text(trials: Trials) -> str:
    metric, score = trials.metric, trials.score(trials.best)
    assert score is not None, "the best rate has a score"
    return f"{trials.method}: best at train.lr={trials.best:g}, {metric.label} {metric.with_unit(score)} on val"
