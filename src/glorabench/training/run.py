"""One run: config -> build -> fit -> test -> record; idempotent."""

from __future__ import annotations

import copy
import gc
import shutil
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from glorabench.config.instantiate import BACKBONE, allowed_packages, make
from glorabench.data.images import decoding
from glorabench.errors import BadInput
from glorabench.methods.reparam import has_foldable, merge, merge_obstacle
from glorabench.records import outcomes as record_outcomes
from glorabench.records import record
from glorabench.records.outcomes import mean_outcome, unpack
from glorabench.records.record import Record, checkpoint_folder
from glorabench.search.space import PathSpace
from glorabench.training import failures, ownership, searched_run, trained_network
from glorabench.training.build import Parts, build, check_run
from glorabench.training.measure import profiling
from glorabench.training.measure.forgetting import measure_forgetting
from glorabench.training.measure.provenance import device_name, provenance
from glorabench.training.objectives.base import WholeSplitObjective
from glorabench.training.reuse import same_data
from glorabench.training.selection import is_contaminated
from glorabench.training.stage import Stage
from glorabench.training.trainer import interruptible
from glorabench.training.wandb_logger import Tracker


def run(config: dict[str, Any]) -> Record:
    """The record of a config: read if it exists, else made.

    An interrupted training goes on from its checkpoint. A run that fails leaves a record with the reason. Of several
    processes one makes the run, and the others wait for its record.

    Raises:
        BadInput: the config or the machine is not ready for the run, or its record cannot be written.
    """
    path = record.path_of(Path(config["results_dir"]), config)
    if (before := find(path)) is not None and _stands(before, config):
        return before
    with ownership.owned(config):
        if (found := find(path)) is not None and (_stands(found, config) or found != before):
            return found  # another process has made it in the meantime
        try:
            made = _execute(config)
        except BadInput:
            raise
        except Exception as error:
            failures.show_error(error)
            made = failures.failure(config, error)
            if (found := find(path)) is not None and _stands(found, config):
                return found  # where locks are unknown: another process finished it, and removed its checkpoint
        if (found := find(path)) is not None and found.status == "done":
            aside = record.set_aside(path, "old").name
            print(f"the data of this run have changed: its record of the old ones is {aside}", flush=True)
        record.write_record(made, path)
        if made.status == "done":
            shutil.rmtree(checkpoint_folder(config), ignore_errors=True)
        return made


def _stands(found: Record, config: dict[str, Any]) -> bool:
    """True for a result on the data that the config names now."""
    return found.status == "done" and same_data(found, config)


def find(path: Path) -> Record | None:
    """The record at `path`, if there is a whole one; a corrupt one is set aside and named."""
    if not path.exists():
        return None
    try:
        return record.read_record(path)
    except record.CorruptRecord as error:
        print(f"warning: {error}; kept as {record.set_aside(path).name}, the run is repeated", file=sys.stderr)
        return None


def _execute(config: dict[str, Any]) -> Record:
    gc.collect()  # the run before this one, whose Trainer and module hold each other
    names = config["names"]
    title = "-".join([names["method"], *filter(None, [names.get("search")]), names["task"], f"s{config['seed']}"])
    check_run(config)
    tracker = Tracker(record.run_id(config), title, Path(config["results_dir"]) / "wandb", **config["logger"])
    tracker.log_hyperparams(config)
    try:
        made = _measured(config, tracker)
    except BaseException:
        tracker.close({}, failed=True)
        raise
    sizes = {f"params/{name}": size for name, size in made.params.items()}
    tracker.close({**made.metrics, **sizes, "step_ms": made.cost["step_ms"]})
    return made


def _measured(config: dict[str, Any], tracker: Tracker) -> Record:
    decoded = decoding.images_decoded()
    trained = _train(config, tracker)
    last = trained.last
    parts, tuner = last.parts, last.tuner
    upstream = measure_forgetting(config, parts.backbone)
    with interruptible():
        last.trainer.test(tuner, parts.data, verbose=False)
    predictions = {name: torch.cat(kept).cpu() for name, kept in tuner.predictions.items()}
    values = {name: torch.cat(kept).cpu() for name, kept in tuner.outcomes.items()}
    if isinstance(parts.objective, WholeSplitObjective):
        values |= parts.objective.whole_split(values, predictions)
    outcomes = {name: record_outcomes.pack(each.tolist()) for name, each in values.items()}
    measures = list(parts.objective.metrics)
    metrics = {metric.name: mean_outcome(outcomes[metric.name], metric.per_example) for metric in measures}
    _save(config, parts, predictions)
    timings, proof = _deployment(config, parts, last.device, last.cost()["train_s"])
    return Record(
        run_id=record.run_id(config),
        status="done",
        config=record.identity(config),
        selection={
            **record.identity(config["selection"]),
            "contaminated": is_contaminated(config),
            **last.selected(),
        },
        metrics={**metrics, "n": len(unpack(outcomes[measures[0].name]))},
        measures=measures,
        outcomes=outcomes,
        history=trained.history,
        params={**profiling.parameters(parts.backbone), **trained.supernet},
        cost={**_cost(trained), "images_decoded": decoding.images_decoded() - decoded, "latency_ms": timings},
        merge=proof,
        paths=PathSpace(parts.backbone.net).current() or None,
        search=trained.report,
        upstream=upstream,
        provenance=_provenance(parts, last),
    )


@dataclass
class _Trained:
    """What the stages of a run left.

    Args:
        last: the stage whose network is tested.
        stages, history: of all of them.
        report: of a search.
        supernet: {supernet: parameters of all paths}, of a search.
    """

    last: Stage
    stages: dict[str, dict[str, Any]]
    history: list[dict[str, Any]]
    report: dict[str, Any] | None = None
    supernet: dict[str, int | None] = field(default_factory=dict)


def _train(config: dict[str, Any], tracker: Tracker) -> _Trained:
    """Train once; or supernet, search and winner."""
    if config.get("search"):
        searched = searched_run.run_stages(config, tracker)
        sizes = {"supernet": searched.supernet}
        return _Trained(searched.last, searched.stages, searched.history, searched.report, sizes)
    stage = Stage(config, build(config), tracker, "train", checkpoint_folder(config))
    stage.fit()
    if stage.tuner.paths.is_supernet:  # without a search one drawn path stands for it, as in the official code
        stage.tuner.paths.set(stage.tuner.paths.draw(config["seed"], stage.tuner.total_steps))
    return _Trained(stage, {"train": stage.summary()}, stage.history())


def _cost(trained: _Trained) -> dict[str, Any]:
    """Time, memory and FLOPs of training and search."""
    last, stages = trained.last, trained.stages
    return {
        **last.cost(),
        "stages": stages,
        "search_s": stages["search"]["seconds"] if "search" in stages else 0.0,
        "ways": {**last.ways, **last.parts.backbone.shortcuts},
    }


def _provenance(parts: Parts, last: Stage) -> dict[str, Any]:
    """Code, versions, machine, weights and data of a run."""
    return {
        **provenance(parts.backbone.net),
        **({"allowed": allowed_packages()} if allowed_packages() else {}),  # code of the user's own, by --allow
        "weights": parts.backbone.weights,
        "data": parts.data.facts(),
        "precision": str(last.trainer.precision),
        "device": device_name(last.device),
    }


def _save(config: dict[str, Any], parts: Parts, predictions: dict[str, torch.Tensor]) -> None:
    """Adapter (named as in the backbone's network) and predictions beside the record; not in git."""
    for name, tensors in (("adapters", trained_network.tensors(parts.backbone)), ("predictions", predictions)):
        trained_network.save(tensors, Path(config["results_dir"]) / name / f"{record.run_id(config)}.safetensors")


def _deployment(
    config: dict[str, Any], parts: Parts, device: torch.device, train_s: float
) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Inference latency of the plain, the trained and the merged network, None with latency_rounds=0, and the merge
    certificate or the reason why there is none; where a method has nothing to fold, merging is the network itself and
    its time is not taken twice. Measuring ends after as many seconds as training took, or ten."""
    net = parts.backbone.net.to(device).eval()
    if config["compile"] is not None:
        net = copy.deepcopy(net)  # a copy is not compiled, as the others are not
    inputs = parts.data.example(256, device)
    nets = {"unmerged": net}
    if reason := merge_obstacle(net):
        proof = {"mergeable": False, "reason": reason}
    else:
        merged = merge(copy.deepcopy(net))
        proof = {"mergeable": True, **profiling.certificate(net, merged, inputs)}
        if has_foldable(net):
            nets["merged"] = merged
    if not config["latency_rounds"]:
        return None, proof
    plain = make(config["backbone"], BACKBONE, weights_from=None)  # its time does not depend on its weights
    parts.kind.prepare(plain, parts.task)
    nets = {"plain": plain.net.to(device), **nets}
    measure = partial(profiling.latency, nets, rounds=config["latency_rounds"], seconds=max(train_s, 10.0) / 2)
    return {f"batch_{n}": measure(inputs[:n]) for n in (1, 64)}, proof
