"""Make one run: config -> build -> fit -> test -> record. A run that has a record is not made again."""

from __future__ import annotations

import copy
import gc
import json
import shutil
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from glorabench.backbones.base import Backbone
from glorabench.config.instantiate import BACKBONE, allowed_packages, make
from glorabench.data.datamodule import TaskData
from glorabench.data.images import decoding
from glorabench.errors import BadInput
from glorabench.methods.reparam import has_foldable, merge, merge_obstacle
from glorabench.records import record
from glorabench.records.record import Record, checkpoint_folder
from glorabench.search.space import PathSpace
from glorabench.training import failures, ownership, searched_run, trained_network
from glorabench.training.build import Parts, build, check_run
from glorabench.training.measure import profiling
from glorabench.training.measure.forgetting import measure_forgetting
from glorabench.training.measure.provenance import device_name, provenance
from glorabench.training.measure.requantizing import requantizing_cost
from glorabench.training.measure.scores import collect_scores
from glorabench.training.reuse import same_data
from glorabench.training.selection import is_contaminated
from glorabench.training.stage import Stage
from glorabench.training.tracker import Tracker


def run(config: dict[str, Any]) -> Record:
    """The record of a config. It is read if it exists; otherwise the run is made.

    An interrupted training continues from its checkpoint. A failed run leaves a record with the reason. If several
    processes want the same run, one makes it and the others wait for its record.

    Raises:
        BadInput: the config or the machine is not ready for the run, or its record cannot be written.
    """
    path = record.path_of(Path(config["results_dir"]), config)
    if (earlier := find_record(path)) is not None and _is_current(earlier, config):
        return earlier
    with ownership.own_run(config):
        if (current := find_record(path)) is not None and (_is_current(current, config) or current != earlier):
            return current  # another process has made it in the meantime
        try:
            result = _execute(config)
        except BadInput:
            raise
        except Exception as error:
            failures.show_error(error)
            result = failures.failure(config, error)
            if (current := find_record(path)) is not None and _is_current(current, config):
                return current  # without locks another process may have finished it
        if (current := find_record(path)) is not None and current.status == "done":
            aside = record.set_aside(path, "old").name
            print(f"the data of this run have changed: its record of the old ones is {aside}", flush=True)
        record.write_record(result, path)
        if result.status == "done":
            shutil.rmtree(checkpoint_folder(config), ignore_errors=True)
        return result


def _is_current(result: Record, config: dict[str, Any]) -> bool:
    """True for a finished record on the data that the config names now."""
    return result.status == "done" and same_data(result, config)


def find_record(path: Path) -> Record | None:
    """The record at `path`, or None. A corrupt record is renamed, with a warning."""
    if not path.exists():
        return None
    try:
        return record.read_record(path)
    except record.CorruptRecord as error:
        print(f"warning: {error}; kept as {record.set_aside(path).name}, the run is repeated", file=sys.stderr)
        return None


def _execute(config: dict[str, Any]) -> Record:
    gc.collect()  # the previous run: its Trainer and module refer to each other
    names = config["names"]
    title = "-".join([names["method"], *filter(None, [names.get("search")]), names["task"], f"s{config['seed']}"])
    check_run(config)
    tracker = Tracker(record.run_id(config), title, Path(config["results_dir"]), **config["logger"])
    tracker.log_hyperparams(config)
    try:
        result = _train_and_measure(config, tracker)
    except BaseException:
        tracker.close({}, has_failed=True)
        raise
    sizes = {f"params/{name}": size for name, size in result.params.items()}
    tracker.close({**result.metrics, **sizes, "step_ms": result.cost["step_ms"]})
    return result


def _train_and_measure(config: dict[str, Any], tracker: Tracker) -> Record:
    decoded_before = decoding.images_decoded()
    training = _train(config, tracker)
    last = training.last
    parts, tuner = last.parts, last.tuner
    upstream = measure_forgetting(config, parts.backbone)
    last.test()
    results = collect_scores(parts.objective, tuner)
    _save(config, parts, results.predictions)
    timings, proof = _deployment(config, parts, last.device, last.cost()["train_s"])
    return Record(
        run_id=record.run_id(config),
        status="done",
        config=record.identity(config),
        selection={
            **record.identity(config["selection"]),
            "contaminated": is_contaminated(config),
            **last.best_epoch(),
        },
        metrics=results.metrics,
        measures=results.measures,
        outcomes=results.outcomes,
        history=training.history,
        params={**profiling.parameters(parts.backbone), **training.supernet},
        cost={**_cost(training), "images_decoded": decoding.images_decoded() - decoded_before, "latency_ms": timings},
        merge=proof,
        paths=PathSpace(parts.backbone.net).current() or None,
        search=training.report,
        upstream=upstream,
        provenance=result_provenance(parts.backbone, parts.data, last.trainer, [tuner.optimizer.package]),
    )


@dataclass
class _TrainingOutcome:
    """The outcome of all stages of a run.

    Args:
        last: the stage whose network is tested.
        stages: the cost of each stage.
        history: the entries of all stages.
        report: the report of a search, or None.
        supernet: {supernet: parameters of all paths} after a search, otherwise empty.
    """

    last: Stage
    stages: dict[str, dict[str, Any]]
    history: list[dict[str, Any]]
    report: dict[str, Any] | None = None
    supernet: dict[str, int | None] = field(default_factory=dict)


def _train(config: dict[str, Any], tracker: Tracker) -> _TrainingOutcome:
    """Train once, or train a supernet, search it and take the winner."""
    if config.get("search"):
        search = searched_run.run_stages(config, tracker)
        sizes = {"supernet": search.supernet}
        return _TrainingOutcome(search.last, search.stages, search.history, search.report, sizes)
    stage = Stage(config, build(config), tracker, "train", checkpoint_folder(config))
    stage.fit()
    if stage.tuner.paths.is_supernet:  # no search: test one random path, as the official code does
        stage.tuner.paths.set(stage.tuner.paths.draw(config["seed"], stage.tuner.total_steps))
    return _TrainingOutcome(stage, {"train": stage.summary()}, stage.history())


def _cost(training: _TrainingOutcome) -> dict[str, Any]:
    """Time, memory and FLOPs of training and search."""
    last, stages = training.last, training.stages
    return {
        **last.cost(),
        "stages": stages,
        "search_s": stages["search"]["seconds"] if "search" in stages else 0.0,
        "ways": {**last.shortcuts, **last.parts.backbone.shortcuts},
    }


def result_provenance(
    backbone: Backbone, data: TaskData, trainer: Trainer, packages: Iterable[str] = ()
) -> dict[str, Any]:
    """Code, versions, machine, weights, inputs and data of a result.

    Args:
        backbone: the tested one.
        data: of the test.
        trainer: that tested.
        packages: further packages that took part.
    """
    inputs = backbone.preprocess
    return {
        **provenance(backbone.net, packages),
        **({"allowed": allowed_packages()} if allowed_packages() else {}),  # packages of the user, from --allow
        "weights": backbone.weights,
        **({"inputs": json.loads(json.dumps(asdict(inputs)))} if inputs else {}),
        "data": data.facts(),
        "precision": str(trainer.precision),
        "device": device_name(trainer.strategy.root_device),
    }


def _save(config: dict[str, Any], parts: Parts, predictions: dict[str, torch.Tensor]) -> None:
    """Save the trained tensors, named as in the network, and the predictions beside the record. Git ignores both."""
    for name, tensors in (("adapters", trained_network.tensors(parts.backbone)), ("predictions", predictions)):
        path = Path(config["results_dir"]) / name / f"{record.run_id(config)}.safetensors"
        trained_network.save_tensors(tensors, path)


def _deployment(
    config: dict[str, Any], parts: Parts, device: torch.device, train_s: float
) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Inference latency of the plain, the trained and the merged network, and the result of the merge.

    The latency is None with latency_rounds=0. The result of the merge is the comparison with the trained network, or
    the reason why merging is not possible. If a method has nothing to fold, the merged network is the trained one and
    is not timed again. No round begins after as many seconds as training took, but at least ten.
    """
    net = parts.backbone.net.to(device).eval()
    if config["compile"] is not None:
        net = copy.deepcopy(net)  # a copy is not compiled, like the other networks
    inputs = parts.data.example(256, device)
    nets = {"unmerged": net}
    if reason := merge_obstacle(net):
        proof = {"mergeable": False, "reason": reason}
    else:
        merged = merge(copy.deepcopy(net))
        proof = {"mergeable": True, **profiling.certificate(net, merged, inputs)}
        if (cost := requantizing_cost(net, merged, inputs)) is not None:
            proof["requantized"] = cost
        if has_foldable(net):
            nets["merged"] = merged
    if not config["latency_rounds"]:
        return None, proof
    plain = make(config["backbone"], BACKBONE, weights_from=None)  # random weights: the time does not depend on them
    parts.kind.prepare(plain, parts.task)
    nets = {"plain": plain.net.to(device), **nets}
    measure = partial(profiling.latency, nets, rounds=config["latency_rounds"], seconds=max(train_s, 10.0) / 2)
    return {f"batch_{n}": measure(inputs[:n]) for n in (1, 64)}, proof
