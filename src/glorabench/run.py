"""One run: config -> build -> fit -> test -> record; idempotent."""

from __future__ import annotations

import copy
import logging
import shutil
import sys
import warnings
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from safetensors.torch import save_file
from torch import Tensor, nn

from glorabench import cost, record
from glorabench.backbones.base import Backbone
from glorabench.compose import make
from glorabench.data.base import ImageData, ImageTask
from glorabench.errors import BadInput, nearest
from glorabench.finetuner import FineTuner
from glorabench.ledger import Ledger
from glorabench.methods.base import Method
from glorabench.methods.reparam import merge, mergeable
from glorabench.provenance import device_name, provenance
from glorabench.record import Record
from glorabench.tracker import Tracker

RULES = ("last_epoch",)
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # device banners belong in the record
for message in (
    ".*does not have many workers.*",  # batches come from memory
    ".*LeafSpec.*is deprecated.*",  # Lightning's own use of torch
    ".*module\\(s\\) in eval mode at the start.*",  # a constant trunk stays in eval mode on purpose
):
    warnings.filterwarnings("ignore", message=message)


@dataclass
class Parts:
    """What one run is made of; the backbone is injected already."""

    task: ImageTask
    backbone: Backbone
    method: Method
    data: ImageData


def build(config: dict[str, Any]) -> Parts:
    """Task, injected backbone, method and data of a config; random parts are a function of its seed."""
    check(config)
    torch.manual_seed(config["seed"])
    task, backbone, method = make(config["data"]), make(config["backbone"]), make(config["method"])
    backbone.set_head(task.classes)
    method.inject(backbone)
    selection, train = config["selection"], config["train"]
    data = task.module(
        fit_on=selection["fit_on"],
        report_on=selection["report_on"],
        batch_size=train["batch_size"],
        eval_batch_size=train["eval_batch_size"],
        seed=config["seed"],
        **asdict(backbone.preprocess),
    )
    return Parts(task, backbone, method, data)


def check(config: dict[str, Any]) -> None:
    """Refuse values that would only fail later.

    Raises:
        BadInput: naming the key.
    """
    train, rule = config["train"], config["selection"]["rule"]
    if rule not in RULES:
        raise BadInput(f"selection.rule '{rule}'{nearest(rule, RULES)}")
    for key in ("epochs", "batch_size", "eval_batch_size"):
        if not isinstance(train[key], int) or train[key] < 1:
            raise BadInput(f"train.{key} must be a whole number of at least 1, got {train[key]!r}")
    if train["decay"] not in ("matrices", "all"):
        raise BadInput(f"train.decay '{train['decay']}'{nearest(train['decay'], ('matrices', 'all'))}")
    if not isinstance(config["seed"], int) or config["seed"] < 0:
        raise BadInput(f"seed must be a whole number of at least 0, got {config['seed']!r}")


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
        shutil.rmtree(_checkpoints(config), ignore_errors=True)
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


def _checkpoints(config: dict[str, Any]) -> Path:
    return Path(config["results_dir"]) / "checkpoints" / record.run_id(config)


def _execute(config: dict[str, Any]) -> Record:
    parts, train, run_id = build(config), config["train"], record.run_id(config)
    backbone, data = parts.backbone, parts.data
    ledger = Ledger(lines=_progress(config) == "lines")
    names = config["names"]
    title = f"{names['method']}-{names['task']}-s{config['seed']}"
    tracker = Tracker(run_id, title, Path(config["results_dir"]) / "wandb", **config["logger"])
    tracker.log_hyperparams(config)
    trainer = _trainer(config, ledger, tracker)
    backbone.net.to(trainer.strategy.root_device)
    net, ways = _network(parts, train, trainer)
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
        _fit(trainer, tuner, data, _checkpoints(config))
    if tuner.paths.is_supernet:  # no search yet: one path drawn at random stands for the supernet, as in the official code
        tuner.paths.set(tuner.paths.draw(config["seed"], -1 % 2**32))
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
    tracker.close({**made.metrics, **{f"params/{k}": v for k, v in made.params.items()}, "step_ms": made.cost["step_ms"]})
    return made


def _network(parts: Parts, train: dict[str, Any], trainer: Trainer) -> tuple[nn.Module, dict[str, bool]]:
    """What is trained: the network, or the head alone on features computed once when the trunk is constant."""
    backbone, data = parts.backbone, parts.data
    frozen = backbone.trunk_is_frozen()
    backbone.net.train(not frozen)  # nothing to learn in the trunk: no drop-path in it either
    cached = frozen and train["cache_features"]
    if not cached:
        return backbone.net, {"cached_features": False}

    @torch.inference_mode()
    def encode(images: Tensor) -> Tensor:
        with trainer.precision_plugin.forward_context():
            return backbone.features(data.normalise(images.to(trainer.strategy.root_device))).float()

    data.encode = encode
    return backbone.classifier, {"cached_features": True}


def _trainer(config: dict[str, Any], ledger: Ledger, tracker: Tracker) -> Trainer:
    train, bar = config["train"], _progress(config) == "bar"
    precision = train["precision"]
    if precision == "auto":
        precision = "bf16-mixed" if torch.cuda.is_available() else "32-true"
    saver = ModelCheckpoint(
        _checkpoints(config),
        filename="last",
        every_n_epochs=config["checkpoint_every"],
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    callbacks: list[Callback] = [ledger, saver, *([RichProgressBar(leave=False)] if bar else [])]
    return Trainer(
        accelerator="auto",
        devices=1,
        precision=precision,
        max_epochs=train["epochs"],
        gradient_clip_val=train["clip"],
        callbacks=callbacks,
        logger=tracker,
        enable_progress_bar=bar,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=1.0 if config["selection"]["fit_on"] == "train" else 0,
        log_every_n_steps=1,  # only epoch means are logged
        default_root_dir=config["results_dir"],
    )


def _progress(config: dict[str, Any]) -> str:
    if config["progress"] != "auto":
        return config["progress"]
    return "bar" if sys.stdout.isatty() else "lines"


def _fit(trainer: Trainer, tuner: FineTuner, data: ImageData, checkpoints: Path) -> None:
    """Train, from the last checkpoint if there is one; Ctrl-C stays Ctrl-C."""
    last = checkpoints / "last.ckpt"
    try:
        trainer.fit(tuner, data, ckpt_path=str(last) if last.exists() else None, weights_only=True)
    except SystemExit as stop:  # how Lightning ends after Ctrl-C, with the signal switched off
        raise KeyboardInterrupt from stop


def _keep(config: dict[str, Any], tuner: FineTuner) -> None:
    """Adapter and predictions beside the record; not in git."""
    root, run_id = Path(config["results_dir"]), record.run_id(config)
    for name, tensors in (
        ("adapters", {k: v.detach().cpu().contiguous() for k, v in tuner.state_dict().items()}),
        ("predictions", {"predicted": torch.cat(tuner.predictions).cpu(), "label": torch.cat(tuner.labels).cpu()}),
    ):
        (root / name).mkdir(parents=True, exist_ok=True)
        save_file(tensors, root / name / f"{run_id}.safetensors")


def _deployment(config: dict[str, Any], parts: Parts, device: torch.device) -> tuple[dict[str, Any], dict[str, Any] | None]:
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
    measure = partial(cost.latency, nets)
    return {f"batch_{n}": measure(inputs[:n]) for n in (1, 64)}, proof
