"""Build the parts of a run from its config, and refuse values that cannot work."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, get_type_hints

import torch

from glorabench.backbones.base import Backbone
from glorabench.backbones.recomputation import block_paths, check_blocks
from glorabench.backbones.weights import NO_CHOICE, UNDECIDED
from glorabench.config import schema
from glorabench.config.instantiate import ALGORITHM, BACKBONE, DATA, METHOD, OPTIMIZER, check_arguments, make, target_of
from glorabench.config.schema import SEARCH_VERSION
from glorabench.data.datamodule import TaskData
from glorabench.data.task import Task
from glorabench.data.text.task import TextTask
from glorabench.errors import BadInput, UnsuitableBackbone, first_line
from glorabench.methods.base import Method
from glorabench.search.space import PathSpace
from glorabench.training import schedules, selection
from glorabench.training.devices import check_devices
from glorabench.training.kinds import TaskKind, check_reads, kind_of
from glorabench.training.objectives.base import Objective
from glorabench.training.optimizers import optimizer_node
from glorabench.training.trainer_arguments import further_callbacks, precision_of


@dataclass
class Parts:
    """The parts of one run. The method is in the backbone already."""

    task: Task
    kind: TaskKind
    backbone: Backbone
    method: Method
    data: TaskData
    objective: Objective


def build(config: dict[str, Any]) -> Parts:
    """Task, injected backbone, method, data and objective of a checked config.

    Their random values depend only on the seed.

    Raises:
        BadInput: the data are missing or damaged, or the backbone does not read this kind of examples.
    """
    torch.manual_seed(config["seed"])
    task, backbone = make(config["data"], DATA), make(config["backbone"], BACKBONE)
    method = make(config["method"], METHOD)
    check_reads(task.name, getattr(task, "reads", None), backbone.name, backbone.reads)
    kind = kind_of(task)
    kind.prepare(backbone, task)
    method.inject(backbone)
    data = kind.data(task, backbone, config)
    data.read_all()
    return Parts(task, kind, backbone, method, data, kind.objective(task, backbone, config))


_CHECKED_IDS: set[int] = set()  # configs that were checked in this process


def check_run(config: dict[str, Any]) -> None:
    """Refuse wrong values, values that do not fit together, and a method that does not fit the backbone.

    Raises:
        BadInput: naming the key.
    """
    schema.check_config(config)
    with schema.once(_CHECKED_IDS, config) as is_new:
        if is_new:
            _check_parts(config)


def _check_parts(config: dict[str, Any]) -> None:
    selection.check_selection(config)
    schedules.check_schedule(config["train"], (config.get("search") or {}).get("epochs"))
    if config.get("search"):
        check_search(config["search"], config["selection"])
    _check_training(config)
    check_arguments(config["data"], DATA)
    trunk = rehearse(*(json.dumps(config[key], sort_keys=True) for key in ("backbone", "method")))
    if config["train"].get("checkpoint_activations"):
        check_blocks(config["backbone"]["name"], len(block_paths(trunk)))
    if config.get("search"):
        PathSpace(trunk.net).check_limits(config["search"]["min_params"], config["search"]["max_params"])
    task_type = get_type_hints(target_of(config["data"], DATA)).get("return")  # a loader's annotation
    if not getattr(task_type, "trains", True):
        raise BadInput(
            f"{config['names']['task']} judges, nothing is trained on it: train on another task, then `glorabench test "
            f"run=ID data={config['names']['data']}`"
        )
    check_reads(config["names"]["task"], getattr(task_type, "reads", None), config["backbone"]["name"], trunk.reads)
    if task_type is TextTask:
        _check_text(config, trunk)


def _check_text(config: dict[str, Any], trunk: Backbone) -> None:
    """Refuse text that cannot be put to the backbone, before its weights are loaded. The tokens stay in the cache."""
    if trunk.tokenizer is None:
        check_weights(config)  # a folder that is not there is said first
    task = make(config["data"], DATA)
    kind = kind_of(task)
    kind.prepare(trunk, task)
    kind.data(task, trunk, config).read_all()


def _check_training(config: dict[str, Any]) -> None:
    """Refuse an optimiser, a precision, devices or callbacks that could not train."""
    make(optimizer_node(config), OPTIMIZER)
    precision_of(config["train"]["precision"])
    check_devices(config["train"])
    watched = selection.split_to_watch(config)
    for callback in further_callbacks(config):
        value = str(getattr(callback, "monitor", "train/"))
        if value.partition("/")[0] not in ("train", watched[0] if watched else "train"):
            raise BadInput(
                f"trainer.callbacks: nothing measures {value} during this training: monitor train/loss, or val/METRIC "
                "with selection.fit_on=train"
            )


def check_weights(config: dict[str, Any]) -> None:
    """Refuse a path of weights where there is no file and no folder.

    Raises:
        BadInput: naming the file, and what to do.
    """
    source = config["backbone"].get("weights_from")
    if source == UNDECIDED:
        raise BadInput(NO_CHOICE)
    if source in (None, "embedded", "hub"):
        return
    path = Path(source).expanduser()
    if not (path.is_file() or path.is_dir()):
        make(config["backbone"], BACKBONE)


@lru_cache(maxsize=256)  # the runs of a sweep have few different backbones and methods
def rehearse(backbone: str, method: str) -> Backbone:
    """Inject a method into a backbone as a test, on the meta device, which neither reads nor computes values.

    Args:
        backbone: config node of the backbone, in JSON.
        method: config node of the method, in JSON.

    Returns:
        The backbone with the method in it, without values.

    Raises:
        BadInput: one of the nodes is wrong.
        UnsuitableBackbone: the method does not fit the backbone.
    """
    method_instance = make(json.loads(method), METHOD)
    with torch.device("meta"):
        try:
            trunk = make(json.loads(backbone), BACKBONE)
        except BadInput:
            raise
        except Exception as error:  # timm and transformers raise many kinds for a wrong size
            raise BadInput(f"backbone: it cannot be built with these values ({first_line(error)})") from error
        if trunk.head is not None:
            trunk.set_head(2)
        try:
            method_instance.inject(trunk)
        except BadInput as error:
            raise UnsuitableBackbone(str(error)) from error
        except (NotImplementedError, RuntimeError):  # some tuners of peft compute values when they start
            pass
    return trunk


def check_search(search: dict[str, Any], selection: dict[str, Any]) -> None:
    """Refuse settings with which no search can work.

    Raises:
        BadInput: naming the key.
    """
    if (selection["fit_on"], selection["report_on"]) != ("trainval", "test"):
        raise BadInput(
            "a search divides trainval itself (supernet on train, candidates on val) and reports test: "
            "selection.fit_on=trainval selection.report_on=test"
        )
    if search.get("fit_on") == "trainval" and search["on"] == "val":
        raise BadInput(
            "search.fit_on=trainval trains the supernet on the images that score it: it is for search.on=test"
        )
    # records of earlier releases have no version; without this check such a run would be repeated under its old id
    if repr(search.get("version")) != repr(SEARCH_VERSION):
        raise BadInput(
            f"search.version is {SEARCH_VERSION} in this release, got {search.get('version')!r}: leave it as it is"
        )
    make(search["algorithm"], ALGORITHM)
