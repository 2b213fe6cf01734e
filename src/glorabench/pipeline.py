"""A searched run: a supernet trained on train, a path searched on val, and the winner, inherited or trained again.

The supernet and the state of the search are kept below the results folder under names of their own: runs that differ
only in what comes after share them, and a killed run finds them again. Each is computed once.
"""

from __future__ import annotations

import shutil
import sys
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from torch import Tensor

from glorabench import cost, ownership, record, trained
from glorabench.build import build
from glorabench.config.instantiate import ALGORITHM, make
from glorabench.errors import BadInput
from glorabench.search.driver import Found, search
from glorabench.search.evaluate import Evaluator
from glorabench.search.space import PathSpace
from glorabench.search.state import State
from glorabench.stage import Stage
from glorabench.tracker import Tracker
from glorabench.training import checkpoints, progress

Config = dict[str, Any]
Batches = list[tuple[Tensor, Tensor]]


@dataclass
class Searched:
    """What a searched run has made.

    Args:
        last: the stage whose network is tested.
        report: what the search found, as the record has it.
        stages: {seconds, steps, images, flops} of each stage.
        history: of both trainings.
        supernet: parameters of all paths.
    """

    last: Stage
    report: dict[str, Any]
    stages: dict[str, dict[str, Any]]
    history: list[dict[str, Any]]
    supernet: int | None


def run(config: Config, tracker: Tracker) -> Searched:
    """Supernet, search, winner.

    Raises:
        BadInput: the method is no supernet, no path lies within the limits, or a kept state is of another search.
    """
    first = supernet(config, tracker)
    stages, history = {"supernet": first.summary()}, first.history()
    size = cost.parameters(first.parts.backbone)["supernet"]
    space = first.tuner.paths
    found, report, stages["search"] = searched(config, first)
    space.set(found.winner)
    if config["search"]["winner"] == "inherit":
        return Searched(first, report, stages, history, size)
    again = {**config, "method": {**config["method"], "path": space.paths(found.winner)}}
    last = Stage(again, build(again), tracker, "retrain", checkpoints(config))
    last.fit()
    return Searched(last, report, {**stages, "retrain": last.summary()}, history + last.history(), size)


def supernet_config(config: Config) -> Config:
    """The part of a config that the supernet depends on: not how it is searched, nor what becomes of the winner."""
    settings, names = config["search"], {k: v for k, v in config["names"].items() if k != "search"}
    rest = {key: value for key, value in config.items() if key != "search"}
    epochs = config["train"]["epochs"] if settings["epochs"] is None else settings["epochs"]
    return {
        **rest,
        "names": names,
        "train": {**config["train"], "epochs": epochs},
        "selection": {**config["selection"], "fit_on": settings.get("fit_on") or "train"},
        "sampler": settings["sampler"],
    }


def supernet_path(config: Config) -> Path:
    """Where the trained supernet of a searched run is kept."""
    return Path(config["results_dir"]) / "supernets" / f"{record.run_id(supernet_config(config))}.safetensors"


def supernet(config: Config, tracker: Tracker) -> Stage:
    """The trained supernet of a searched run: found, or trained and kept.

    Raises:
        BadInput: the method is no supernet, or no path lies within the limits.
    """
    made, settings, path = supernet_config(config), config["search"], supernet_path(config)

    def stage() -> Stage:
        return Stage(made, build(made), tracker, "supernet", checkpoints(made))

    fresh = stage()
    fresh.tuner.paths.check_limits(settings["min_params"], settings["max_params"])
    with ownership.owned(made, "this supernet"):
        if path.exists():
            try:
                fresh.restore(trained.load(fresh.parts.backbone, path))
                return fresh
            except (BadInput, LookupError) as error:
                print(f"warning: {error}; kept as {record.set_aside(path).name}, trained again", file=sys.stderr)
                fresh = stage()
        fresh.fit()
        trained.save(trained.tensors(fresh.parts.backbone), path, fresh.notes())
        shutil.rmtree(fresh.folder, ignore_errors=True)
        return fresh


def searched(config: Config, stage: Stage) -> tuple[Found, dict[str, Any], dict[str, Any]]:
    """What the search finds on the supernet of `stage`, its report and its cost; goes on from the kept state."""
    settings, space, data = config["search"], stage.tuner.paths, stage.parts.data
    limits = space.check_limits(settings["min_params"], settings["max_params"])
    data.contaminated = settings["on"] == "test"
    inputs, labels = data.searched(settings["on"], stage.device)
    held = round(settings["held_out"] * len(labels))
    n = len(labels) - held
    context = stage.trainer.precision_plugin.forward_context
    evaluator = partial(Evaluator, stage.parts.backbone, predict=stage.objective.predict, context=context)
    evaluate = evaluator(_batches(inputs[:n], labels[:n], data.eval_batch_size))
    kept = _identity(config, stage)
    algorithm = make(settings["algorithm"], ALGORITHM)
    with ownership.owned(kept, "this search"), closing(_state(kept, space)) as state:
        found = search(space, algorithm, limits, config["seed"], evaluate, state, progress(config))
    apart = evaluator(_batches(inputs[n:], labels[n:], data.eval_batch_size))(found.winner) if held else None
    report = report_of(found, space, n, held, None if apart is None else apart.accuracy)
    if not evaluate.flops:  # everything was in the state already
        evaluate(found.winner)
    images, flops = n * len(found.lines), round(evaluate.flops * evaluate.passes(found.scored))
    return found, report, {"seconds": round(found.seconds, 3), "steps": 0, "images": images, "flops": flops}


def report_of(found: Found, space: PathSpace, n: int, held: int, held_out: float | None) -> dict[str, Any]:
    """What a record says of a search.

    Returns:
        evaluated: candidates; score: accuracy of the winner on the `n` images that chose it; held_out: on `n_held_out`
        others, None without such; params: of the winner; first: mean score of the first batch asked for; best:
        [[candidates, best score so far], ...]; front: {params, score, genome} of each path that no other beats in both.
    """
    return {
        "evaluated": len(found.lines),
        "score": max(found.scores),
        "n": n,
        "held_out": held_out,
        "n_held_out": held,
        "params": space.size(found.winner),
        "first": fmean(found.scores[: found.first]),
        "best": found.best_so_far(),
        "front": found.front(),
    }


def _identity(config: Config, stage: Stage) -> Config:
    """What names a search: one for all winners of the same candidates."""
    kept = {key: value for key, value in record.identity(config["search"]).items() if key != "winner"}
    return {**config, "names": stage.config["names"], "search": kept}


def _state(identity: Config, space: PathSpace) -> State:
    """The kept state of a search."""
    path = Path(identity["results_dir"]) / "searches" / f"{record.run_id(identity)}.jsonl"
    header = {"space": space.fingerprint, "seed": identity["seed"], "supernet": supernet_path(identity).stem}
    return State(path, {**header, "search": identity["search"]})


def _batches(inputs: Tensor, labels: Tensor, size: int) -> Batches:
    return list(zip(inputs.split(size), labels.split(size), strict=True))
