"""Build the parts of a run from a config: task, injected backbone, method, data, objective; refuse bad values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from glorabench.backbones.base import Backbone
from glorabench.config import schema
from glorabench.config.instantiate import ALGORITHM, BACKBONE, DATA, METHOD, check_arguments, make
from glorabench.config.schema import SEARCH_VERSION
from glorabench.data.images.datamodule import ImageData
from glorabench.data.images.task import ImageTask
from glorabench.errors import BadInput, first_line
from glorabench.methods.base import Method
from glorabench.training import schedules, selection
from glorabench.training.objectives.classification import Classification


@dataclass
class Parts:
    """What one run is made of; the backbone is injected already."""

    task: ImageTask
    backbone: Backbone
    method: Method
    data: ImageData


def build(config: dict[str, Any]) -> Parts:
    """Task, injected backbone, method and data of a checked config; random parts are a function of its seed."""
    torch.manual_seed(config["seed"])
    task, backbone, method = (
        make(config["data"], DATA),
        make(config["backbone"], BACKBONE),
        make(config["method"], METHOD),
    )
    if backbone.preprocess is None:
        raise BadInput(f"task {task.name} has images, backbone {backbone.name} reads tokens: choose vit_mini")
    backbone.set_head(task.classes)
    method.inject(backbone)
    chosen, train = config["selection"], config["train"]
    data = ImageData(
        task,
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
    """Refuse what would only fail later: values, their combinations, and a method that the backbone cannot host.

    Raises:
        BadInput: naming the key.
    """
    schema.check_config(config)
    selection.check(config)
    schedules.check(config["train"], (config.get("search") or {}).get("epochs"))
    if config.get("search"):
        check_search(config["search"], config["selection"])
    check_arguments(config["data"], DATA)
    reads = rehearse(*(json.dumps(config[key], sort_keys=True) for key in ("backbone", "method")))
    if reads != "images":
        name = config["backbone"]["name"]
        raise BadInput(f"task {config['names']['task']} has images, backbone {name} reads {reads}: choose vit_mini")


def check_weights(config: dict[str, Any]) -> None:
    """Refuse weights that are not there.

    Raises:
        BadInput: naming the file, and the ways out.
    """
    source = config["backbone"].get("weights_from")
    if source not in (None, "embedded", "hub") and not Path(source).expanduser().exists():
        make(config["backbone"], BACKBONE)


@lru_cache(maxsize=256)  # the runs of a sweep share few
def rehearse(backbone: str, method: str) -> str:
    """Inject a method into a backbone on the meta device, where nothing is computed or read; what the backbone reads.

    Args:
        backbone: its config node, in JSON.
        method: that of the method.

    Raises:
        BadInput: one of them cannot be made, or the backbone cannot host the method.
    """
    tuned = make(json.loads(method), METHOD)
    with torch.device("meta"):
        try:
            trunk = make(json.loads(backbone), BACKBONE)
        except BadInput:
            raise
        except Exception as error:  # whatever timm or transformers say of a size
            raise BadInput(f"backbone: it cannot be built with these values ({first_line(error)})") from error
        if trunk.head is not None:
            trunk.set_head(2)
        with suppress(NotImplementedError, RuntimeError):  # some tuners of peft compute when they start
            tuned.inject(trunk)
    return "tokens" if trunk.preprocess is None else "images"


def check_search(search: dict[str, Any], chosen: dict[str, Any]) -> None:
    """Refuse what no search can do.

    Raises:
        BadInput: naming the key.
    """
    if (chosen["fit_on"], chosen["report_on"]) != ("trainval", "test"):
        raise BadInput(
            "a search divides trainval itself (supernet on train, candidates on val) and reports test: "
            "selection.fit_on=trainval selection.report_on=test"
        )
    if search.get("fit_on") == "trainval" and search["on"] == "val":
        raise BadInput(
            "search.fit_on=trainval trains the supernet on the images that score it: it is for search.on=test"
        )
    # a record of before has none, and would be made anew under its id
    if repr(search.get("version")) != repr(SEARCH_VERSION):
        raise BadInput(
            f"search.version is {SEARCH_VERSION} in this release, got {search.get('version')!r}: leave it as it is"
        )
    make(search["algorithm"], ALGORITHM)


def objective_of(task: ImageTask, label_smoothing: float) -> Classification:
    """What is minimised and what is reported on a task."""
    return Classification(task.classes, label_smoothing, [_scoring(task, name) for name in task.tests])


def _scoring(task: ImageTask, test: str) -> dict[str, Sequence[int] | None]:
    if test == "test":
        return {Classification.metric_name: None}
    return {f"{test}/{name}": classes for name, classes in task.scorings.get(test, {"top1": None}).items()}
