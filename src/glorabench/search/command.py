"""`glorabench search run=ID`: search the supernet of a finished run, without training it again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glorabench import pipeline, render, trained
from glorabench.build import check
from glorabench.compose import compose, options
from glorabench.errors import BadInput, one_of
from glorabench.export.rebuild import WEIGHTS, backbone_node, chosen, values
from glorabench.record import Record
from glorabench.run import run

_OWN = ("search", "logger", "progress", "cache_dir", "checkpoint_every", "latency_rounds")
_SUPERNET = ("epochs", "sampler", "fit_on")  # of config.search: what the supernet depends on


def main(words: Sequence[str]) -> int:
    """The `search` command: run=ID, the search as in conf/search, and as needed results_dir= and weights.

    Raises:
        BadInput: no such run, no supernet in it, or a word that would change the supernet.
    """
    own = [word for word in words if word.partition("=")[0] in ("run", "results_dir", WEIGHTS)]
    given, rest = values(own, ("run", "results_dir", WEIGHTS)), [word for word in words if word not in own]
    if "run" not in given:
        raise BadInput("search needs run=ID, a run with method.path=supernet")
    for word in rest:
        key, _, value = word.partition("=")
        key = key.lstrip("+~")
        if not value or (key, value) == ("search", "null"):
            raise BadInput(f"'{word}' says no search: key=value, such as search=random or search.max_params=20000")
        if key.split(".")[0] not in _OWN or key in {f"search.{name}" for name in _SUPERNET}:
            raise BadInput(f"'{key}' belongs to the training of the supernet, which is done: give what follows it")
    root, record, weights = chosen(given)
    config = configured(record, root, rest, weights)
    check(config)
    adopt(record, root, config)
    made = run(config)
    render.show([made])
    return 0 if made.status == "done" else 1


def configured(record: Record, root: Path, words: Sequence[str], weights: Sequence[str]) -> dict[str, Any]:
    """The config of a searched run on the supernet of `record`; without words the search is the official one.

    Raises:
        BadInput: the run has no supernet, or one that has seen val.
    """
    old = record.config
    if record.params["supernet"] is None:
        raise BadInput(f"run {record.run_id} trained no supernet: choose one with method=glora method.path=supernet")
    if "search" not in old and old["selection"]["fit_on"] != "train":
        raise BadInput(
            f"the supernet of run {record.run_id} was trained on val, too, where candidates would be scored: train one "
            "with selection.fit_on=train, or let search=evolution do all of it"
        )
    chosen = [] if any(word.startswith("search=") for word in words) else ["search=evolution"]
    one_of("backbone", old["names"]["backbone"], options("backbone"))
    new = compose([f"backbone={old['names']['backbone']}", *chosen, *words])
    kept = {name: old["search"].get(name) for name in _SUPERNET} if "search" in old else {"epochs": None}
    return {
        **new,
        **old,
        "backbone": backbone_node(record, weights),
        "data": {**old["data"], "cache_dir": new["cache_dir"]},
        "search": {**new["search"], **kept},
        "selection": {**old["selection"], "fit_on": "trainval", "report_on": "test"},
        "names": {**old["names"], "search": new["names"]["search"]},
        "results_dir": str(root),
    }


def adopt(record: Record, root: Path, config: dict[str, Any]) -> None:
    """Put the trained supernet where the searched run looks for it, if it is not there.

    Raises:
        BadInput: its weights are gone.
    """
    path, file = pipeline.supernet_path(config), root / "adapters" / f"{record.run_id}.safetensors"
    if path.exists():
        return
    retrained = record.config.get("search", {}).get("winner") == "retrain"
    if retrained or not file.exists():
        raise BadInput(
            f"the supernet of run {record.run_id} is gone (neither {path} nor {file}): remove its record and repeat "
            "the run"
        )
    history = [{k: v for k, v in e.items() if k != "stage"} for e in record.history if e.get("stage") != "retrain"]
    cost = record.cost
    notes = {
        "ledger": {"history": history, "step_flops": [cost["flops_per_step"]]},
        "peak": {"bytes": cost["peak_bytes"], "kind": cost["peak_kind"]},
        "features_s": cost["features_s"],
    }
    trained.save(trained.read(file)[0], path, notes)
