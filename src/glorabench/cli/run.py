"""The commands that train: `run`, and `search` on the supernet of a finished run."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from glorabench.errors import BadInput
from glorabench.records import record
from glorabench.reports.tables import suite
from glorabench.training.sweep import make_runs, title_of_run


def run(words: Sequence[str], multirun: bool) -> int:
    """The `run` command: make the runs that `words` stand for, print their table; the exit code (1 when a run failed).

    Raises:
        BadInput: the words or the machine are not ready; nothing was started.
    """
    configs, paths = make_runs(words, multirun)
    made = [record.read(path) for path in paths if path.exists()]
    if made:
        suite.show(made)
    for config, path in zip(configs, paths, strict=True):
        if not path.exists():
            print(f"no record: {title_of_run(config)}", file=sys.stderr)
    failed = [r for r in made if r.status != "done"]
    for r in failed:
        error = r.error or {}
        print(f"failed: {title_of_run(r.config)}: {error.get('kind')}: {error.get('message')}", file=sys.stderr)
    return 1 if failed or len(made) < len(paths) else 0


def search(words: Sequence[str]) -> int:
    """The `search` command: run=ID, the search as in conf/search, and as needed results_dir= and weights.

    Raises:
        BadInput: no such run, no supernet in it, or a word that would change the supernet.
    """
    from glorabench.training.build import check
    from glorabench.training.run import run as run_one
    from glorabench.training.searched_run import SEARCH_KEYS, SUPERNET_KEYS, adopt, configured
    from glorabench.training.trained_network import WEIGHTS, chosen, values

    own = [word for word in words if word.partition("=")[0] in ("run", "results_dir", WEIGHTS)]
    given, rest = values(own, ("run", "results_dir", WEIGHTS)), [word for word in words if word not in own]
    if "run" not in given:
        raise BadInput("search needs run=ID, a run with method.path=supernet")
    for word in rest:
        key, _, value = word.partition("=")
        key = key.lstrip("+~")
        if not value or (key, value) == ("search", "null"):
            raise BadInput(f"'{word}' says no search: key=value, such as search=random or search.max_params=20000")
        if key.split(".")[0] not in SEARCH_KEYS or key in {f"search.{name}" for name in SUPERNET_KEYS}:
            raise BadInput(f"'{key}' belongs to the training of the supernet, which is done: give what follows it")
    root, record, weights = chosen(given)
    config = configured(record, root, rest, weights)
    check(config)
    adopt(record, root, config)
    made = run_one(config)
    suite.show([made])
    return 0 if made.status == "done" else 1
