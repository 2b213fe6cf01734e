"""A searched run: a supernet trained on train, a path searched on val, and the winner, inherited or trained again.

The supernet and the state of the search are kept below the results folder under names of their own: runs that differ
only in what comes after share them, and a killed run finds them again. Each is computed once.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from torch import Tensor

from glorabench import adapters, record
from glorabench.build import build
from glorabench.compose import make
from glorabench.errors import BadInput
from glorabench.search.driver import Found, search
from glorabench.search.evaluate import Evaluator
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
    supernet: int


def run(config: Config, tracker: Tracker) -> Searched:
    """Supernet, search, winner.

    Raises:
        BadInput: the method is no supernet, no path lies within the limits, or a kept state is of another search.
    """
    first = supernet(config, tracker)
    stages, history, size = {"supernet": first.summary()}, first.history(), _size(first)
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
        "selection": {**config["selection"], "fit_on": "train"},
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
    made, settings = supernet_config(config), config["search"]
    path, folder = supernet_path(config), checkpoints(made)
    stage = Stage(made, build(made), tracker, "supernet", folder)
    stage.tuner.paths.check_limits(settings["min_params"], settings["max_params"])
    backbone, notes = stage.parts.backbone, path.with_suffix(".json")
    if path.exists() and notes.exists():
        try:
            adapters.load(backbone, path)
            stage.restore(json.loads(notes.read_text()))
            return stage
        except (BadInput, ValueError, LookupError) as error:
            print(f"warning: {error}; kept as {record.set_aside(path).name}, trained again", file=sys.stderr)
    stage.fit()
    keep(adapters.trained(backbone), stage.notes(), path)
    shutil.rmtree(folder, ignore_errors=True)
    return stage


def keep(tensors: dict[str, Tensor], notes: dict[str, Any], path: Path) -> None:
    """Keep a trained supernet and what its training took; a supernet without such notes is none.

    Raises:
        BadInput: they cannot be written.
    """
    adapters.save(tensors, path)
    draft = path.with_suffix(".tmp")
    try:
        draft.write_text(json.dumps(notes))
        draft.replace(path.with_suffix(".json"))
    except OSError as error:
        raise BadInput(f"{path.with_suffix('.json')} cannot be written ({error.strerror}): free space") from error


def searched(config: Config, stage: Stage) -> tuple[Found, dict[str, Any], dict[str, Any]]:
    """What the search finds on the supernet of `stage`, its report and its cost; goes on from the kept state."""
    settings, space = config["search"], stage.tuner.paths
    limits = space.check_limits(settings["min_params"], settings["max_params"])
    data, backbone = stage.parts.data, stage.parts.backbone
    inputs, labels = data.searched(settings["on"], stage.device)
    held = round(settings["held_out"] * len(labels))
    chosen = _batches(inputs[: len(labels) - held], labels[: len(labels) - held], data.eval_batch_size)
    context = stage.trainer.precision_plugin.forward_context
    evaluator = partial(Evaluator, backbone, predict=stage.objective.predict, context=context)
    evaluate = evaluator(chosen)
    kept = {key: value for key, value in settings.items() if key != "winner"}
    header = {
        "space": space.fingerprint,
        "seed": config["seed"],
        "supernet": supernet_path(config).stem,
        "search": kept,
    }
    identity = {**config, "names": stage.config["names"], "search": kept}
    state = State(
        Path(config["results_dir"]) / "searches" / f"{record.run_id(identity)}.jsonl", {**header, "search": kept}
    )
    try:
        found = search(space, make(settings["algorithm"]), limits, config["seed"], evaluate, state, progress(config))
    finally:
        state.close()
    n = len(labels) - held
    report = {
        "evaluated": len(found.lines),
        "score": max(found.scores),
        "n": n,
        "held_out": None,
        "n_held_out": held,
        "params": space.size(found.winner),
        "first": fmean(found.scores[: found.first]),
        "best": found.best_so_far(),
        "front": found.front(),
    }
    if held:
        apart = _batches(inputs[n:], labels[n:], data.eval_batch_size)
        report["held_out"] = evaluator(apart)(found.winner).accuracy
    if not evaluate.flops:  # everything was in the state already
        evaluate(found.winner)
    images = n * len(found.lines)
    cost = {"seconds": round(found.seconds, 3), "steps": 0, "images": images}
    return found, report, {**cost, "flops": round(evaluate.flops * found.computed)}


def _batches(inputs: Tensor, labels: Tensor, size: int) -> Batches:
    return list(zip(inputs.split(size), labels.split(size), strict=True))


def _size(stage: Stage) -> int:
    head = {id(p) for p in stage.parts.backbone.head_parameters()}
    return sum(p.numel() for p in adapters.trained(stage.parts.backbone).values() if id(p) not in head)
