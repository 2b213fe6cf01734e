"""Build the parts of a run from a config: task, injected backbone, method, data, objective; refuse bad values."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, get_type_hints

import torch

from glorabench.backbones.base import Backbone
from glorabench.config import schema
from glorabench.config.instantiate import ALGORITHM, BACKBONE, DATA, METHOD, check_arguments, make, target_of
from glorabench.config.schema import SEARCH_VERSION
from glorabench.data.datamodule import TaskData
from glorabench.data.task import Task
from glorabench.errors import BadInput, first_line
from glorabench.methods.base import Method
from glorabench.search.space import PathSpace
from glorabench.training import schedules, selection
from glorabench.training.kinds import TaskKind, check_reads, kind_of
from glorabench.training.objectives.base import Objective


@dataclass
class Parts:
    """What one run is made of; the backbone is injected already."""

    task: Task
    kind: TaskKind
    backbone: Backbone
    method: Method
    data: TaskData
    objective: Objective


def build(config: dict[str, Any]) -> Parts:
    """Task, injected backbone, method, data and objective of a checked config.

    What is random in them is a function of the seed.

    Raises:
        BadInput: the data are missing or damaged, or the backbone does not read what the task has.
    """
    torch.manual_seed(config["seed"])
    task, backbone = make(config["data"], DATA), make(config["backbone"], BACKBONE)
    method = make(config["method"], METHOD)
    check_reads(task.name, getattr(task, "reads", None), backbone.name, _reads(backbone))
    kind = kind_of(task)
    kind.prepare(backbone, task)
    method.inject(backbone)
    data = kind.data(task, backbone, config)
    data.read_all()
    return Parts(task, kind, backbone, method, data, kind.objective(task, config))


def _reads(backbone: Backbone) -> str:
    return "tokens" if backbone.preprocess is None else "images"


_CHECKED_IDS: set[int] = set()  # configs that were checked in this process


def check_run(config: dict[str, Any]) -> None:
    """Refuse what would only fail later: values, their combinations, and a method that the backbone cannot host.

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
    check_arguments(config["data"], DATA)
    reads, space = rehearse(*(json.dumps(config[key], sort_keys=True) for key in ("backbone", "method")))
    if config.get("search"):
        space.check_limits(config["search"]["min_params"], config["search"]["max_params"])
    task_type = get_type_hints(target_of(config["data"], DATA)).get("return")  # a loader says which task it returns
    check_reads(config["names"]["task"], getattr(task_type, "reads", None), config["backbone"]["name"], reads)


def check_weights(config: dict[str, Any]) -> None:
    """Refuse weights that are not there, or no file.

    Raises:
        BadInput: naming the file, and the ways out.
    """
    source = config["backbone"].get("weights_from")
    if source in (None, "embedded", "hub"):
        return
    path = Path(source).expanduser()
    if not (path.is_file() or path.is_dir()):
        make(config["backbone"], BACKBONE)


@lru_cache(maxsize=256)  # the runs of a sweep share few
def rehearse(backbone: str, method: str) -> tuple[str, PathSpace]:
    """Inject a method into a backbone on the meta device, where nothing is computed or read.

    Args:
        backbone: its config node, in JSON.
        method: that of the method.

    Returns:
        What the backbone reads, and the paths that a search could choose.

    Raises:
        BadInput: one of them cannot be made, or the backbone cannot host the method.
    """
    method_instance = make(json.loads(method), METHOD)
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
            method_instance.inject(trunk)
    return _reads(trunk), PathSpace(trunk.net)


def check_search(search: dict[str, Any], selection: dict[str, Any]) -> None:
    """Refuse what no search can do.

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
    # a record of before has none, and would be made anew under its id
    if repr(search.get("version")) != repr(SEARCH_VERSION):
        raise BadInput(
            f"search.version is {SEARCH_VERSION} in this release, got {search.get('version')!r}: leave it as it is"
        )
    make(search["algorithm"], ALGORITHM)
