"""One run: config -> build -> fit -> test -> record; idempotent."""

from __future__ import annotations

import copy
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from glorabench import cost, record
from glorabench.build import Parts, build
from glorabench.compose import make
from glorabench.errors import BadInput
from glorabench.finetuner import FineTuner
from glorabench.ledger import Ledger
from glorabench.methods.reparam import merge, mergeable
from glorabench.provenance import device_name, provenance
from glorabench.record import Record
from glorabench.tracker import Tracker
from glorabench.training import checkpoints, fit, network, progress, trainer_of


def run(config: dict[str, Any]) -> Record:
    """The record of a config: read if it exists, else made.

    An interrupted training goes on from its checkpoint. A run that fails leaves a record with the reason.

    Raises:
        BadInput: the config or the machine is not ready for the run; nothing was started.
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
        config=config,
        error={"kind": type(error).__name__, "message": message},
        provenance=provenance(),
    )


def _execute(config: dict[str, Any]) -> Record:
    parts, train, run_id = build(config), config["train"], record.run_id(config)
    backbone, data = parts.backbone, parts.data
    ledger = Ledger(lines=progress(config) == "lines")
    names = config["names"]
    title = f"{names['method']}-{names['task']}-s{config['seed']}"
    tracker = Tracker(run_id, title, Path(config["results_dir"]) / "wandb", **config["logger"])
    tracker.log_hyperparams(config)
    trainer = trainer_of(config, ledger, tracker)
    backbone.net.to(trainer.strategy.root_device)
    net, ways = network(parts, train, trainer)
    steps = len(data.train_dataloader())
    tuner = FineTuner(
        net,
        parts.task.objective(train["label_smoothing"]),
        lr=train["lr"],
        weight_decay=train["weight_decay"],
        decay=train["decay"],
        warmup_steps=round(train["warmup_epochs"] * steps),
        total_steps=train["epochs"] * steps,
        min_lr=train["min_lr"],
        seed=config["seed"],
    )
    with cost.PeakMemory() as peak:
        fit(trainer, tuner, data, checkpoints(config))
    if tuner.paths.is_supernet:  # without a search one drawn path stands for the supernet, as in the official code
        tuner.paths.set(tuner.paths.draw(config["seed"], tuner.total_steps))
    trainer.test(tuner, data, verbose=False)
    right = torch.cat(tuner.predictions) == torch.cat(tuner.labels)
    _keep(config, tuner)
    timings, proof = _deployment(config, parts, tuner.device)
    made = Record(
        run_id=run_id,
        status="done",
        config=config,
        selection={**config["selection"], "contaminated": False},
        metrics={"top1": float(right.double().mean()), "n": len(right)},
        outcomes=record.pack(right.tolist()),
        history=ledger.history,
        params=cost.parameters(backbone),
        cost={
            **ledger.cost(steps),
            "peak_bytes": peak.bytes,
            "peak_kind": peak.kind,
            "search_s": 0.0,
            "latency_ms": timings,
            "ways": ways,
        },
        merge=proof,
        paths=[dict(path) for path in tuner.paths.current()] or None,
        provenance={
            **provenance(),
            "weights": backbone.weights,
            "data": {"suite": parts.task.suite, "task": parts.task.name, "fingerprint": parts.task.fingerprint},
            "precision": str(trainer.precision),
            "device": device_name(tuner.device),
        },
    )
    sizes = {f"params/{name}": size for name, size in made.params.items()}
    tracker.close({**made.metrics, **sizes, "step_ms": made.cost["step_ms"]})
    return made


def _keep(config: dict[str, Any], tuner: FineTuner) -> None:
    """Adapter and predictions beside the record; not in git."""
    root, run_id = Path(config["results_dir"]), record.run_id(config)
    for name, tensors in (
        ("adapters", {k: v.detach().cpu().contiguous() for k, v in tuner.state_dict().items()}),
        ("predictions", {"predicted": torch.cat(tuner.predictions).cpu(), "label": torch.cat(tuner.labels).cpu()}),
    ):
        (root / name).mkdir(parents=True, exist_ok=True)
        save_file(tensors, root / name / f"{run_id}.safetensors")


def _deployment(
    config: dict[str, Any], parts: Parts, device: torch.device
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Inference latency of the plain, the trained and the merged network, and the merge certificate."""
    net = parts.backbone.net.to(device).eval()
    images = torch.tensor(parts.task.arrays(parts.data.fit_on)[0][:256]).to(device)
    inputs = parts.data.normalise(images)
    plain = make(config["backbone"], weights_from=None)  # its time does not depend on its weights
    plain.set_head(parts.task.classes)
    nets, proof = {"plain": plain.net.to(device), "unmerged": net}, None
    if mergeable(net):
        nets["merged"] = merge(copy.deepcopy(net))
        proof = cost.certificate(net, nets["merged"], inputs)
    measure = partial(cost.latency, nets, rounds=config["latency_rounds"])
    return {f"batch_{n}": measure(inputs[:n]) for n in (1, 64)}, proof
