"""Score a finished run on another data set: nothing is trained, and the record is one of its own.

The record lies in the folder `tests` below the results, where no table looks unless it is told to. Its config names the
run and, in the selection, the data on which that one was trained, so that no table holds it beside records of training.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glorabench.backbones.base import Backbone
from glorabench.config.compose import compose
from glorabench.config.instantiate import DATA, OPTIMIZER, make
from glorabench.data.checks.preflight import check_tasks
from glorabench.data.task import Task
from glorabench.errors import BadInput
from glorabench.records import record
from glorabench.records.record import Record
from glorabench.training import trained_network
from glorabench.training.finetuner import FineTuner
from glorabench.training.kinds import check_reads, kind_of
from glorabench.training.measure.scores import collect_scores
from glorabench.training.optimizers import optimizer_node
from glorabench.training.reuse import same_data
from glorabench.training.run import find_record, result_provenance
from glorabench.training.tracker import Tracker
from glorabench.training.trainer import interruptible, trainer_of_test

FOLDER_OF_TESTS = "tests"
_KEYS = ("data", "cache_dir", "progress")  # a test has words about these alone


def config_of_test(source: Record, root: Path, words: Sequence[str]) -> dict[str, Any]:
    """The config of a test of a finished run: its own, but for the data.

    Args:
        source: the record of the run.
        root: its results folder.
        words: data=NAME, data.KEY=VALUE, cache_dir= and progress=.

    Raises:
        BadInput: a word is about something else, no data are named, or they are those of the run.
    """
    for word in words:
        key = word.partition("=")[0].lstrip("+~")
        if key.partition(".")[0] not in _KEYS:
            raise BadInput(f"'{word}': a test changes nothing but the data of a run: data=NAME or data.KEY=VALUE")
    if not any(word.lstrip("+~").startswith("data") for word in words):
        raise BadInput("test needs data=NAME or data.task=NAME: another data set than that of the run")
    new = compose([*trained_network.words_of_backbone(source), *words])
    selection, trained_on = source.config["selection"], f"{source.names['data']}/{source.names['task']}"
    is_own = record.identity({"data": new["data"]})["data"] == source.config["data"]
    if is_own and selection["report_on"] == "test":
        raise BadInput(f"run {source.run_id} was tested on {trained_on} already, see its record: name other data")
    names = {**source.names, "data": new["names"]["data"], "task": new["names"]["task"]}
    return {
        **{key: new[key] for key in ("cache_dir", "progress", "checkpoint_every")},
        **source.config,
        "data": new["data"],
        "names": names,
        "selection": {**selection, "report_on": "test", "trained_on": trained_on},
        "trained_run": source.run_id,
        "results_dir": str(root / FOLDER_OF_TESTS),
    }


def score_run(source: Record, root: Path, config: dict[str, Any], weights: Sequence[str]) -> tuple[Record, Path]:
    """The record of a test, and where it is; one that is there already is read.

    Args:
        source: the record of the run.
        root: its results folder.
        config: of the test, see `config_of_test`.
        weights: `backbone.weights_from=PATH` where the checkpoint lies elsewhere than conf/ says.

    Raises:
        BadInput: the trained tensors are gone, the data are not there, or have other classes than the run.
    """
    path = record.path_of(Path(config["results_dir"]), config)
    earlier = find_record(path)
    if earlier is not None and earlier.status == "done" and same_data(earlier, config):
        return earlier, path
    check_tasks([config["data"]])
    task: Task = make(config["data"], DATA)  # what is wrong with it is said before weights are read
    backbone = trained_network.rebuild_backbone(source, root / "adapters" / f"{source.run_id}.safetensors", weights)
    result = _tested(source, config, backbone, task)
    record.write_record(result, path)
    return result, path


def _tested(source: Record, config: dict[str, Any], backbone: Backbone, task: Task) -> Record:
    check_reads(task.name, getattr(task, "reads", None), backbone.name, backbone.reads)
    _check_classes(source, task, backbone)
    kind = kind_of(task)
    data, objective = kind.data(task, backbone, config), kind.objective(task, backbone, config)
    data.read_all()
    folder = Path(config["results_dir"])
    trainer = trainer_of_test(config, Tracker("", "", folder), folder)
    tuner = FineTuner(
        backbone.net, objective, lr=0.0, weight_decay=0.0, decay="all", total_steps=0, lr_factor=lambda _: 0.0,
        clip=None, seed=config["seed"], optimizer=make(optimizer_node(config), OPTIMIZER),
    )  # fmt: skip
    with interruptible():
        trainer.test(tuner, data, verbose=False)
    results = collect_scores(objective, tuner)
    return Record(
        run_id=record.run_id(config),
        status="done",
        config=record.identity(config),
        selection={**source.selection, **config["selection"]},
        metrics=results.metrics,
        measures=results.measures,
        outcomes=results.outcomes,
        params=source.params,  # what the run has trained, and what that has cost
        cost=source.cost,
        merge=source.merge,
        paths=source.paths,
        search=source.search,
        provenance=result_provenance(backbone, data, trainer),
    )


def _check_classes(source: Record, task: Any, backbone: Backbone) -> None:
    """Refuse data whose classes the head does not have."""
    head, classes = backbone.classifier, getattr(task, "classes", None)
    if head is not None and classes is not None and head.out_features != classes:
        raise BadInput(
            f"task {task.name} has {classes} classes, run {source.run_id} was trained for {head.out_features}: choose "
            "data with the same classes"
        )
