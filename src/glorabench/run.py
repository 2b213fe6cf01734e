"""One run: config -> build -> fit -> test -> record; idempotent."""

from __future__ import annotations

import copy
import gc
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from safetensors.torch import save_file

from glorabench import cost, record
from glorabench.build import Parts, build
from glorabench.compose import make
from glorabench.errors import BadInput
from glorabench.finetuner import FineTuner
from glorabench.ledger import Ledger
from glorabench.methods.reparam import foldable, merge, obstacle
from glorabench.provenance import device_name, provenance
from glorabench.record import Record
from glorabench.tracker import Tracker
from glorabench.training import checkpoints, fit, interruptible, network, progress, trainer_of


def run(config: dict[str, Any]) -> Record:
    """The record of a config: read if it exists, else made.

    An interrupted training goes on from its checkpoint. A run that fails leaves a record with the reason.

    Raises:
        BadInput: the config or the machine is not ready for the run, or its record cannot be written.
    """
    path = record.path_of(Path(config["results_dir"]), config)
    if (found := find(path)) is not None and found.status == "done":
        return found
    try:
        made = _execute(config)
    except (BadInput, KeyboardInterrupt):
        raise
    except Exception as error:
        made = failure(config, error)
        if (found := find(path)) is not None and found.status == "done":
            return found  # another process finished the same run, and removed the checkpoint under this one
    record.write(made, path)
    if made.status == "done":
        shutil.rmtree(checkpoints(config), ignore_errors=True)
    return made


def find(path: Path) -> Record | None:
    """The record at `path`, if there is a whole one; a corrupt one is set aside and named."""
    if not path.exists():
        return None
    try:
        return record.read(path)
    except record.CorruptRecord as error:
        print(f"warning: {error}; kept as {record.set_aside(path).name}, the run is repeated", file=sys.stderr)
        return None


def failure(config: dict[str, Any], error: Exception) -> Record:
    """What remains of a run that failed."""
    message = (str(error).splitlines() or [""])[0]
    if isinstance(error, torch.OutOfMemoryError):
        message += " Lower train.batch_size."
    return Record(
        run_id=record.run_id(config),
        status="failed",
        config=record.identity(config),  # nothing of this machine: where it puts things is not the run
        error={"kind": type(error).__name__, "message": message},
        provenance=provenance(),
    )


def _execute(config: dict[str, Any]) -> Record:
    gc.collect()  # the run before this one, whose Trainer and module hold each other
    names = config["names"]
    title = f"{names['method']}-{names['task']}-s{config['seed']}"
    parts = build(config)
    tracker = Tracker(record.run_id(config), title, Path(config["results_dir"]) / "wandb", **config["logger"])
    tracker.log_hyperparams(config)
    try:
        made = _measured(config, parts, tracker)
    except BaseException:
        tracker.close({}, failed=True)
        raise
    sizes = {f"params/{name}": size for name, size in made.params.items()}
    tracker.close({**made.metrics, **sizes, "step_ms": made.cost["step_ms"]})
    return made


def _measured(config: dict[str, Any], parts: Parts, tracker: Tracker) -> Record:
    train, run_id, backbone, data = config["train"], record.run_id(config), parts.backbone, parts.data
    ledger = Ledger(lines=progress(config) == "lines")
    trainer = trainer_of(config, ledger, tracker)
    device = trainer.strategy.root_device
    backbone.net.to(device)
    objective = parts.task.objective(train["label_smoothing"])
    with cost.PeakMemory() as peak:
        net, ways = network(parts, train, trainer)
        started = time.perf_counter()
        steps = len(data.train_dataloader())  # where features are cached, they are computed here
        features_s = time.perf_counter() - started
        tuner = FineTuner(
            net,
            objective,
            lr=train["lr"],
            weight_decay=train["weight_decay"],
            decay=train["decay"],
            warmup_steps=round(train["warmup_epochs"] * steps),
            total_steps=train["epochs"] * steps,
            min_lr=train["min_lr"],
            clip=train["clip"],
            seed=config["seed"],
        )
        fit(trainer, tuner, data, checkpoints(config))
    if tuner.paths.is_supernet:  # without a search one drawn path stands for the supernet, as in the official code
        tuner.paths.set(tuner.paths.draw(config["seed"], tuner.total_steps))
    with interruptible():
        trainer.test(tuner, data, verbose=False)
    predicted, labels = torch.cat(tuner.predictions), torch.cat(tuner.labels)
    outcomes = objective.outcomes(predicted, labels)
    _keep(config, parts, {"predicted": predicted.cpu(), "label": labels.cpu()})
    timings, proof = _deployment(config, parts, device)
    return Record(
        run_id=run_id,
        status="done",
        config=record.identity(config),
        selection={**config["selection"], "contaminated": False},
        metrics={objective.metric_name: fmean(outcomes), "n": len(outcomes)},
        outcomes=record.pack(outcomes),
        history=ledger.history,
        params=cost.parameters(backbone),
        cost={
            **ledger.cost(steps),
            "features_s": round(features_s, 3),
            "peak_bytes": peak.bytes,
            "peak_kind": peak.kind,
            "search_s": 0.0,
            "latency_ms": timings,
            "ways": {**ways, **backbone.ways},
        },
        merge=proof,
        paths=tuner.paths.current() or None,
        provenance={
            **provenance(),
            "weights": backbone.weights,
            "data": {"suite": parts.task.suite, "task": parts.task.name, "fingerprint": parts.task.fingerprint},
            "precision": str(trainer.precision),
            "device": device_name(device),
        },
    )


def _keep(config: dict[str, Any], parts: Parts, predictions: dict[str, torch.Tensor]) -> None:
    """Adapter (named as in the backbone's network) and predictions beside the record; not in git."""
    trained = {name: p for name, p in parts.backbone.net.named_parameters() if p.requires_grad}
    root, run_id = Path(config["results_dir"]), record.run_id(config)
    for name, tensors in (
        ("adapters", {name: p.detach().cpu().contiguous() for name, p in trained.items()}),
        ("predictions", predictions),
    ):
        (root / name).mkdir(parents=True, exist_ok=True)
        save_file(tensors, root / name / f"{run_id}.safetensors")


def _deployment(config: dict[str, Any], parts: Parts, device: torch.device) -> tuple[dict[str, Any], dict[str, Any]]:
    """Inference latency of the plain, the trained and the merged network, and the merge certificate or the reason why
    there is none; where a method has nothing to fold, merging is the network itself and its time is not taken twice."""
    net = parts.backbone.net.to(device).eval()
    inputs = parts.data.example(256, device)
    plain = make(config["backbone"], weights_from=None)  # its time does not depend on its weights
    plain.set_head(parts.task.classes)
    nets = {"plain": plain.net.to(device), "unmerged": net}
    if reason := obstacle(net):
        proof = {"mergeable": False, "reason": reason}
    else:
        merged = merge(copy.deepcopy(net))
        proof = {"mergeable": True, **cost.certificate(net, merged, inputs)}
        if foldable(net):
            nets["merged"] = merged
    measure = partial(cost.latency, nets, rounds=config["latency_rounds"])
    return {f"batch_{n}": measure(inputs[:n]) for n in (1, 64)}, proof
