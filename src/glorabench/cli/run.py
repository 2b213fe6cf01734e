"""The commands that train: `run`, `search` on the supernet of a finished run, and `pretrain`. Light until called."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glorabench.cli.options import Allow, Words
from glorabench.errors import BadInput, one_of

if TYPE_CHECKING:
    from glorabench.records.record import Record


def run(
    words: Words = None,
    multirun: Annotated[
        bool, typer.Option("-m", "--multirun", help="Run every combination of the values that commas separate.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say which runs there are, what they train and how long it may take.")
    ] = False,
    allow: Allow = None,
) -> int:
    """Train one configuration, or with -m every combination.

    Combinations are of the values that commas separate. A run that has a record is not repeated: type the command again
    to go on from where it stopped.
    A sweep over several methods ends with the answer, a table, a figure and what to type next.
    The exit code is 1 when a run failed.

    Examples:
        glorabench run experiment=quickstart                 GLoRA against LoRA on embedded images, with a table
        glorabench run method=lora data.task=digits seed=1   one run
        glorabench run -m method=lora,glora seed=0,1,2       every combination; type it again to resume
        glorabench run experiment=choose data.root=FOLDER    which method for your own images
        glorabench run -m optimizer=adamw,sgd --dry-run      what that would do

    Raises:
        BadInput: the words or the machine are not ready; nothing was started.
    """
    from glorabench.cli.streams import show_start

    show_start()
    from glorabench.analysis.cells import named_groups_of
    from glorabench.cli.choice import budget_of_words, show_choice
    from glorabench.cli.ending import method_groups, show_next
    from glorabench.config.instantiate import allow_packages
    from glorabench.records import record
    from glorabench.reports.tables import suite
    from glorabench.training.shortlist import make_command

    with allow_packages(allow or ()):
        budget = budget_of_words(words or [])
        if dry_run:
            return _show_forecast(words or [], multirun)
        configs, paths = make_command(words or [], multirun)
    records = [record.read_record(path) for path in paths if path.exists()]
    groups = named_groups_of(records)
    suite.show_groups(groups)
    is_whole = _report_failures(configs, paths, records)
    if budget is not None:
        show_choice(records, budget, Path(configs[0]["results_dir"]))
        groups = []
    show_next(method_groups(groups), [*(["-m"] if multirun else []), *(words or [])], Path(configs[0]["results_dir"]))
    return 0 if is_whole else 1


def _report_failures(configs: Sequence[dict[str, Any]], paths: Sequence[Path], records: Sequence[Record]) -> bool:
    """Name the runs that have no record and those that failed; True if there is none."""
    from glorabench.training.sweep import title_of_run

    for config, path in zip(configs, paths, strict=True):
        if not path.exists():
            print(f"no record: {title_of_run(config)}", file=sys.stderr)
    failures = [record for record in records if record.status != "done"]
    for failure in failures:
        error = failure.error or {}
        text = f"{error.get('kind')}: {error.get('message')}"
        print(f"failed: {title_of_run(failure.config)}: {text}", file=sys.stderr)
    return not failures and len(records) == len(paths)


def _show_forecast(words: Sequence[str], multirun: bool) -> int:
    from glorabench.config.compose import choice_settings
    from glorabench.reports.rendering import output_parts
    from glorabench.reports.tables.forecasts import forecast_part
    from glorabench.training.forecast import forecast_runs

    settings = choice_settings(words)
    output_parts([forecast_part(forecast_runs(words, multirun))], "text", None, "run")
    if settings is not None:
        print(f"This is the tuning. Then each method is trained at its best rate with {len(settings.seeds)} seeds.")
    return 0


def test_run(words: Words = None, allow: Allow = None) -> int:  # noqa: PT028 (a command, and no test of ours)
    """Score a finished run on another data set.

    Nothing is trained. The words are run=ID, data=NAME or data.KEY=VALUE, and if needed results_dir=, cache_dir= and
    backbone.weights_from=. The data need as many classes as those of the run. The record lies in the folder `tests`
    below the results, so that no table mixes it with records of training.

    Examples:
        glorabench test run=3fa9 data.task=dsprites_ori              another task of the same suite
        glorabench test run=3fa9 data=folder data.root=/data/mine    images of your own
        glorabench table mini --results results/local/tests          the tests as a table

    Raises:
        BadInput: no such run, other classes, or a word that is not about the data.
    """
    from glorabench.config.instantiate import allow_packages
    from glorabench.reports.tables import suite
    from glorabench.training.scoring import config_of_test, score_run
    from glorabench.training.trained_network import WEIGHTS, parse_export_words, run_of_words

    own_keys = ("run", "results_dir", WEIGHTS)
    own = [word for word in words or [] if word.partition("=")[0] in own_keys]
    given = parse_export_words(own, own_keys)
    if "run" not in given:
        raise BadInput("test needs run=ID, a finished run")
    with allow_packages(allow or ()):
        root, record, weights = run_of_words(given)
        config = config_of_test(record, root, [word for word in words or [] if word not in own])
        result, path = score_run(record, root, config, weights)
    suite.show_suite([result])
    print(f"record: {path}")
    return 0


def search(words: Words = None, allow: Allow = None) -> int:
    """Search the supernet of a finished run, without training it again.

    A path is searched on val with the supernet that a run has trained (method.path=supernet). The winner is tested
    once. The words are run=ID, a search as in conf/search, and if needed results_dir= and backbone.weights_from=.
    Without a search it is the official evolution.

    Examples:
        glorabench search run=3fa9                                          the official evolution, weights inherited
        glorabench search run=3fa9 search=random search.winner=retrain      as many random paths; the best trained again
        glorabench search run=3fa9 search=nsga2 search.max_params=20000

    Raises:
        BadInput: no such run, no supernet in it, or a word that would change the supernet.
    """
    from glorabench.config.instantiate import allow_packages
    from glorabench.reports.tables import suite
    from glorabench.training.build import check_run
    from glorabench.training.run import run as run_one
    from glorabench.training.searched_run import adopt_supernet, config_of_search
    from glorabench.training.trained_network import WEIGHTS, parse_export_words, run_of_words

    own_keys = ("run", "results_dir", WEIGHTS)
    run_words = [word for word in words or [] if word.partition("=")[0] in own_keys]
    search_words = [word for word in words or [] if word not in run_words]
    values = parse_export_words(run_words, own_keys)
    if "run" not in values:
        raise BadInput("search needs run=ID, a run with method.path=supernet")
    _check_search_words(search_words)
    with allow_packages(allow or ()):
        root, record, weights = run_of_words(values)
        config = config_of_search(record, root, search_words, weights)
        check_run(config)
        adopt_supernet(record, root, config)
        result = run_one(config)
    suite.show_suite([result])
    return 0 if result.status == "done" else 1


def _check_search_words(words: Sequence[str]) -> None:
    """Refuse words that are not about what follows the supernet.

    Raises:
        BadInput: naming the word.
    """
    from glorabench.training.searched_run import SEARCH_KEYS, SUPERNET_KEYS

    for word in words:
        key, _, value = word.partition("=")
        key = key.lstrip("+~")
        if not value or (key, value) == ("search", "null"):
            raise BadInput(f"'{word}' says no search: key=value, such as search=random or search.max_params=20000")
        if key.split(".")[0] not in SEARCH_KEYS or key in {f"search.{name}" for name in SUPERNET_KEYS}:
            raise BadInput(f"'{key}' belongs to the training of the supernet, which is done: give what follows it")


def pretrain(
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Folder for the weights and their JSON.")],
    name: Annotated[str, typer.Argument(metavar="BACKBONE", help="vit_mini or llama_mini.")] = "vit_mini",
    seed: Annotated[int, typer.Option("--seed", metavar="SEED", help="The seed of weights and of images or text.")] = 0,
) -> int:
    """Train an embedded backbone again and write its weights.

    A training of llama_mini that was stopped goes on from its last checkpoint.

    Raises:
        BadInput: there is no such backbone, or the folder cannot be written.
    """
    one_of("backbone", name, ("vit_mini", "llama_mini"))
    if name == "llama_mini":
        from glorabench.training.pretrain_text import pretrain_llama

        pretrain_llama(out, seed=seed)
        return 0
    from glorabench.training import pretrain

    pretrain.pretrain(out, seed=seed)
    return 0
