"""A searched run: train a supernet on train, search a path on val, and keep the winner's weights or train it again.

The supernet and the state of the search have files of their own in the results folder. Runs that differ only in a later
stage share these files, and a killed run continues from them. So each is computed once.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from torch import Tensor, nn

from glorabench.analysis.fronts import on_front
from glorabench.config.compose import compose
from glorabench.config.instantiate import ALGORITHM, make
from glorabench.errors import BadInput
from glorabench.records import record
from glorabench.records.record import Record, checkpoint_folder
from glorabench.search.evaluator import Evaluator, Score
from glorabench.search.journal import SearchJournal
from glorabench.search.loop import SearchResult, run_search
from glorabench.search.space import Genome, PathSpace
from glorabench.training import ownership, signals, trained_network
from glorabench.training.build import build
from glorabench.training.measure import profiling
from glorabench.training.objectives.base import ScoredObjective
from glorabench.training.stage import Stage
from glorabench.training.tracker import Tracker
from glorabench.training.trained_network import backbone_node, is_retrained, words_of_backbone
from glorabench.training.trainer import progress

_Config = dict[str, Any]

SEARCH_KEYS = ("search", "logger", "progress", "cache_dir", "checkpoint_every", "latency_rounds")
SUPERNET_KEYS = ("epochs", "sampler", "fit_on")  # keys of config.search on which the supernet depends


@dataclass
class SearchOutcome:
    """The outcome of a searched run.

    Args:
        last: the stage whose network is tested.
        report: the result of the search, as in the record.
        stages: {seconds, steps, examples, flops} of each stage.
        history: the entries of both trainings.
        supernet: parameters of all paths.
    """

    last: Stage
    report: dict[str, Any]
    stages: dict[str, dict[str, Any]]
    history: list[dict[str, Any]]
    supernet: int | None


def run_stages(config: _Config, tracker: Tracker) -> SearchOutcome:
    """Train the supernet, search a path, and train the winner again unless it keeps the weights of the supernet.

    Raises:
        BadInput: the method has no supernet, no path lies within the limits, or the saved state is of another search.
    """
    first = train_supernet(config, tracker)
    stages, history = {"supernet": first.summary()}, first.history()
    size = profiling.parameters(first.parts.backbone)["supernet"]
    space = first.tuner.paths
    search, report, stages["search"] = search_supernet(config, first)
    space.set(search.winner)
    if config["search"]["winner"] == "inherit":
        return SearchOutcome(first, report, stages, history, size)
    winner_config = {**config, "method": {**config["method"], "path": space.paths(search.winner)}}
    last = Stage(winner_config, build(winner_config), tracker, "retrain", checkpoint_folder(config))
    last.fit()
    return SearchOutcome(last, report, {**stages, "retrain": last.summary()}, history + last.history(), size)


def supernet_config(config: _Config) -> _Config:
    """The part of a config on which the supernet depends: all but the search and the treatment of the winner."""
    settings, names = config["search"], {key: value for key, value in config["names"].items() if key != "search"}
    other_settings = {key: value for key, value in config.items() if key != "search"}
    epochs = config["train"]["epochs"] if settings["epochs"] is None else settings["epochs"]
    return {
        **other_settings,
        "names": names,
        "train": {**config["train"], "epochs": epochs},
        "selection": {**config["selection"], "fit_on": settings.get("fit_on") or "train"},
        "sampler": settings["sampler"],
    }


def supernet_path(config: _Config) -> Path:
    """The file of the trained supernet of a searched run."""
    return Path(config["results_dir"]) / "supernets" / f"{record.run_id(supernet_config(config))}.safetensors"


def train_supernet(config: _Config, tracker: Tracker) -> Stage:
    """The trained supernet of a searched run. It is loaded from its file, or trained and saved.

    Raises:
        BadInput: the method has no supernet, or no path lies within the limits.
    """
    stage_config, settings, path = supernet_config(config), config["search"], supernet_path(config)

    def stage() -> Stage:
        return Stage(stage_config, build(stage_config), tracker, "supernet", checkpoint_folder(stage_config))

    supernet = stage()
    supernet.tuner.paths.check_limits(settings["min_params"], settings["max_params"])
    with ownership.own_run(stage_config, "this supernet"):
        if path.exists():
            try:
                supernet.restore(trained_network.load_trained(supernet.parts.backbone, path))
                shutil.rmtree(supernet.folder, ignore_errors=True)  # from a run that was killed just after its training
                return supernet
            except (BadInput, LookupError) as error:
                print(f"warning: {error}; kept as {record.set_aside(path).name}, trained again", file=sys.stderr)
                supernet = stage()
        supernet.fit()
        trained_network.save_tensors(trained_network.tensors(supernet.parts.backbone), path, supernet.notes())
        shutil.rmtree(supernet.folder, ignore_errors=True)
        return supernet


def search_supernet(config: _Config, stage: Stage) -> tuple[SearchResult, dict[str, Any], dict[str, Any]]:
    """The result of a search on the supernet of `stage`, its report and its cost. It continues from a saved state."""
    settings, space, data = config["search"], stage.tuner.paths, stage.parts.data
    limits = space.check_limits(settings["min_params"], settings["max_params"])
    data.contaminated = settings["on"] == "test"
    scoring_batches, held_out = data.search_batches(settings["on"], settings["held_out"], stage.device)
    n, n_held_out = (sum(map(stage.objective.size, batches)) for batches in (scoring_batches, held_out))
    context = stage.trainer.precision_plugin.forward_context
    deciding = stage.objective.metrics[0]
    metric = stage.objective.score_metric if isinstance(stage.objective, ScoredObjective) else deciding

    def values(net: nn.Module, batch: Any) -> Tensor:
        if isinstance(stage.objective, ScoredObjective):
            return stage.objective.score(net, batch).double()
        return metric.sign * stage.objective.evaluate(net, batch).values[metric.name].double()

    evaluator = partial(Evaluator, stage.parts.backbone, values=values, context=context)
    evaluate = evaluator(scoring_batches)
    search_config = _search_config(config, stage)
    algorithm = make(settings["algorithm"], ALGORITHM)
    with ownership.own_run(search_config, "this search"), closing(_journal(search_config, space)) as state:

        def score(genome: Genome) -> Score:
            signals.raise_if_stopping()
            return evaluate(genome)

        result = run_search(space, algorithm, limits, config["seed"], score, state, progress(config))
    on_held_out = metric.sign * evaluator(held_out)(result.winner).value if n_held_out else None
    report = report_of(result, space, metric.sign, n, n_held_out, on_held_out)
    if metric != deciding:
        report["metric"] = asdict(metric)
    if not evaluate.flops:  # all candidates were in the saved state: score one to count its FLOPs
        evaluate(result.winner)
    examples, flops = n * len(result.lines), round(evaluate.flops * evaluate.passes(result.scoring_order))
    return result, report, {"seconds": round(result.seconds, 3), "steps": 0, "examples": examples, "flops": flops}


def report_of(
    result: SearchResult, space: PathSpace, sign: int, n: int, n_held_out: int, held_out: float | None
) -> dict[str, Any]:
    """The report of a search for the record, in the metric that ranked the candidates.

    Args:
        result: the result of the search; higher scores are better.
        space: the paths of the supernet.
        sign: -1 if a lower value of the metric is better, otherwise 1.
        n: number of examples that scored the candidates.
        n_held_out: number of held-out examples.
        held_out: value of the winner on the held-out examples, None if there are none.

    Returns:
        evaluated: number of candidates. score: value of the winner on the `n` examples that scored it. held_out: its
        value on the `n_held_out` other examples. params: its parameters. first: mean value of the first batch of
        candidates. best: [[number of candidates, best value so far], ...]. front: {params, score, genome} of each path
        that no other path beats in both parameters and score.
    """
    return {
        "evaluated": len(result.lines),
        "score": sign * max(result.scores),
        "n": n,
        "held_out": held_out,
        "n_held_out": n_held_out,
        "params": space.size(result.winner),
        "first": sign * fmean(result.scores[: result.first_batch]),
        "best": [[count, sign * score] for count, score in result.best_so_far()],
        "front": _front(result, sign),
    }


def _front(result: SearchResult, sign: int) -> list[dict[str, Any]]:
    """The candidates that no other one beats in both parameters and score, by size. Of equal ones the first stays."""
    scores, sizes = np.array(result.scores), np.array(result.sizes, np.float64)
    front: dict[tuple[int, float], dict[str, Any]] = {}
    for index in np.flatnonzero(on_front(scores, sizes)):
        size, score = result.sizes[index], result.scores[index]
        genome = result.lines[index]["genome"]
        front.setdefault((size, score), {"params": size, "score": sign * score, "genome": genome})
    return [front[key] for key in sorted(front)]


def _search_config(config: _Config, stage: Stage) -> _Config:
    """The config that identifies a search. Runs that differ only in the treatment of the winner share it."""
    search = {key: value for key, value in record.identity(config["search"]).items() if key != "winner"}
    return {**config, "names": stage.config["names"], "search": search}


def _journal(identity: _Config, space: PathSpace) -> SearchJournal:
    """The journal that keeps the state of a search."""
    path = Path(identity["results_dir"]) / "searches" / f"{record.run_id(identity)}.jsonl"
    header = {"space": space.fingerprint, "seed": identity["seed"], "supernet": supernet_path(identity).stem}
    return SearchJournal(path, {**header, "search": identity["search"]})


def config_of_search(record: Record, root: Path, words: Sequence[str], weights: Sequence[str]) -> dict[str, Any]:
    """The config of a searched run on the supernet of `record`. Without words the search is the official evolution.

    Raises:
        BadInput: the run has no supernet, or its supernet was trained on val.
    """
    old = record.config
    if record.params["supernet"] is None:
        raise BadInput(f"run {record.run_id} trained no supernet: choose one with method=glora method.path=supernet")
    if old.get("search") is None and old["selection"]["fit_on"] != "train":
        raise BadInput(
            f"the supernet of run {record.run_id} was trained on val, too, where candidates would be scored: train one "
            "with selection.fit_on=train, or let search=evolution do all of it"
        )
    search_words = [] if any(word.startswith("search=") for word in words) else ["search=evolution"]
    new = compose([*words_of_backbone(record), *search_words, *words])  # only places and the search are taken from it
    supernet_settings: dict[str, Any] = {"epochs": None}
    if old.get("search") is not None:
        supernet_settings = {name: old["search"].get(name) for name in SUPERNET_KEYS}
    return {
        **new,
        **old,
        "backbone": backbone_node(record, weights),
        "data": {**old["data"], "cache_dir": new["cache_dir"]},
        "search": {**new["search"], **supernet_settings},
        "selection": {**old["selection"], "fit_on": "trainval", "report_on": "test"},
        "names": {**old["names"], "search": new["names"]["search"]},
        "results_dir": str(root),
    }


def adopt_supernet(record: Record, root: Path, config: dict[str, Any]) -> None:
    """Copy the trained supernet to the place where the searched run looks for it, unless it is there already.

    Raises:
        BadInput: the weights of the supernet are gone.
    """
    path, file = supernet_path(config), root / "adapters" / f"{record.run_id}.safetensors"
    if path.exists():
        return
    if is_retrained(record) or not file.exists():
        raise BadInput(
            f"the supernet of run {record.run_id} is gone (neither {path} nor {file}): remove its record and repeat "
            "the run"
        )
    history = []
    for entry in record.history:
        if entry.get("stage") != "retrain":
            history.append({key: value for key, value in entry.items() if key != "stage"})
    cost = record.cost
    notes = {
        "ledger": {"history": history, "step_flops": [cost["flops_per_step"]]},
        "peak": {"bytes": cost["peak_bytes"], "kind": cost["peak_kind"]},
        "features_s": cost["features_s"],
    }
    trained_network.save_tensors(trained_network.read_tensors(file)[0], path, notes)
