"""From a config to the parts of a run: task, injected backbone, method, data; bad values are refused here."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from glorabench import schedules, selection
from glorabench.backbones.base import Backbone
from glorabench.compose import make
from glorabench.data.base import ImageTask
from glorabench.data.module import ImageData
from glorabench.errors import BadInput, one_of, whole
from glorabench.methods.base import Method
from glorabench.search import VERSION
from glorabench.search.samplers import SAMPLERS

DECAYS = ("matrices", "all")
PRECISIONS = ("auto", "32-true", "bf16-mixed")
PROGRESS = ("auto", "bar", "lines", "none")
SEARCHED = ("val", "test")
WINNERS = ("inherit", "retrain")
COMPILERS = ("inductor", "aot_eager")


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
    if backbone.preprocess is None:
        raise BadInput(f"task {task.name} has images, backbone {backbone.name} reads tokens: choose vit_mini")
    backbone.set_head(task.classes)
    method.inject(backbone)
    chosen, train = config["selection"], config["train"]
    data = task.module(
        fit_on=chosen["fit_on"],
        report_on=chosen["report_on"],
        batch_size=train["batch_size"],
        eval_batch_size=train["eval_batch_size"],
        seed=config["seed"],
        **{key: train.get(key) for key in ("augment", "mixup", "cutmix")},
        **asdict(backbone.preprocess),
    )
    data.decode()
    return Parts(task, backbone, method, data)


def check(config: dict[str, Any]) -> None:
    """Refuse values that would only fail later.

    Raises:
        BadInput: naming the key.
    """
    train = config["train"]
    for key, value, known in (
        ("train.decay", train["decay"], DECAYS),
        ("train.precision", train["precision"], PRECISIONS),
        ("progress", config["progress"], PROGRESS),
    ):
        one_of(key, value, known)
    selection.check(config)
    if config["compile"] is not None:
        one_of("compile", config["compile"], COMPILERS)
    whole = {f"train.{key}": train[key] for key in ("epochs", "batch_size", "eval_batch_size")}
    whole |= {key: config[key] for key in ("checkpoint_every", "latency_rounds")}
    for key, value in whole.items():
        least = 0 if key == "latency_rounds" else 1
        if not isinstance(value, int) or value < least:
            raise BadInput(f"{key} must be a whole number of at least {least}, got {value!r}")
    for key in ("lr", "weight_decay", "warmup_epochs", "clip"):
        optional = key == "clip" and train[key] is None
        if not optional and not (isinstance(train[key], int | float) and train[key] >= 0):
            raise BadInput(f"train.{key} must be a number of at least 0, got {train[key]!r}")
    schedules.check(train, (config.get("search") or {}).get("epochs"))
    for key in ("drop_path", "label_smoothing"):
        if not isinstance(train[key], int | float) or not 0 <= train[key] < 1:
            raise BadInput(f"train.{key} must be a number from 0 to below 1, got {train[key]!r}")
    for key in ("mixup", "cutmix"):
        value = train.get(key)
        if value is not None and not (type(value) in (int, float) and value > 0):
            raise BadInput(f"train.{key} must be null or a number above 0, got {value!r}")
    if not isinstance(train["cache_features"], bool):
        raise BadInput(f"train.cache_features must be true or false, got {train['cache_features']!r}")
    make(config["method"])
    if config.get("search"):
        check_search(config["search"], config["selection"])
    seed = config["seed"]
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise BadInput(f"seed must be a whole number from 0 to {2**32 - 1}, got {seed!r}")


def check_search(search: dict[str, Any], chosen: dict[str, Any]) -> None:
    """Refuse what no search can do.

    Raises:
        BadInput: naming the key.
    """
    for key, known in (("on", SEARCHED), ("winner", WINNERS), ("sampler", SAMPLERS)):
        one_of(f"search.{key}", search[key], known)
    if (chosen["fit_on"], chosen["report_on"]) != ("trainval", "test"):
        raise BadInput(
            "a search divides trainval itself (supernet on train, candidates on val) and reports test: "
            "selection.fit_on=trainval selection.report_on=test"
        )
    if (fit_on := search.get("fit_on")) is not None:
        one_of("search.fit_on", fit_on, ("train", "trainval"))
        if fit_on == "trainval" and search["on"] == "val":
            raise BadInput(
                "search.fit_on=trainval trains the supernet on the images that score it: it is for search.on=test"
            )
    if not isinstance(search["held_out"], int | float) or not 0 <= search["held_out"] <= 0.5:
        raise BadInput(f"search.held_out must be a number from 0 to 0.5, got {search['held_out']!r}")
    for key, least in (("min_params", 0), ("max_params", 0), ("epochs", 1)):
        if key == "min_params" or search[key] is not None:
            whole(f"search.{key}", search[key], least)
    if repr(search.get("version")) != repr(VERSION):  # a record of before has none, and would be made anew under its id
        raise BadInput(f"search.version is {VERSION} in this release, got {search.get('version')!r}: leave it as it is")
    make(search["algorithm"])
