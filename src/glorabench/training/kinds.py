"""Kinds of tasks: which data module and which objective belong to a task.

A task names its kind. The `kind` of a task of your own may also be an object with the three functions of `TaskKind`.
Then nothing in this file needs to change (docs/data.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from glorabench.backbones.base import Backbone
from glorabench.data.datamodule import TaskData
from glorabench.data.images.datamodule import ImageData
from glorabench.data.images.task import ImageTask
from glorabench.data.task import Task
from glorabench.errors import BadInput, one_of
from glorabench.training.objectives.base import Objective
from glorabench.training.objectives.classification import TOP1, Classification

_Config = Mapping[str, Any]


class TaskKind(Protocol):
    """The three functions that a run needs for a kind of task."""

    def prepare(self, backbone: Backbone, task: Any) -> None:
        """Fit a backbone to the task before the method is put into it, for example with a new head."""
        ...

    def data(self, task: Any, backbone: Backbone, config: _Config) -> TaskData:
        """The data module, which makes batches in the form that the backbone reads."""
        ...

    def objective(self, task: Any, config: _Config) -> Objective:
        """The objective: the loss and the reported metrics."""
        ...


class ImageClassification:
    """Images with one label each."""

    def prepare(self, backbone: Backbone, task: ImageTask) -> None:
        """Give the backbone a new head for the classes of the task."""
        backbone.set_head(task.classes)

    def data(self, task: ImageTask, backbone: Backbone, config: _Config) -> ImageData:
        """Batches of (images, labels)."""
        assert backbone.preprocess is not None
        return ImageData(
            task,
            **data_settings(config),
            **{key: config["train"].get(key) for key in ("augment", "mixup", "cutmix")},
            **asdict(backbone.preprocess),
        )

    def objective(self, task: ImageTask, config: _Config) -> Classification:
        """Cross-entropy, and top-1 for every scoring of the test sets."""
        scorings = [_scoring(task, name) for name in task.tests]
        return Classification(task.classes, config["train"]["label_smoothing"], scorings, task.balanced_metric)


def _scoring(task: ImageTask, test: str) -> dict[str, Sequence[int] | None]:
    if test == "test":
        return {TOP1.name: None}
    return {f"{test}/{name}": classes for name, classes in task.scorings.get(test, {TOP1.name: None}).items()}


def data_settings(config: _Config) -> dict[str, Any]:
    """The settings that every data module takes from a config (see `TaskData`)."""
    selection, train = config["selection"], config["train"]
    return {
        "fit_on": selection["fit_on"],
        "report_on": selection["report_on"],
        "batch_size": train["batch_size"],
        "eval_batch_size": train["eval_batch_size"],
        "seed": config["seed"],
    }


TASK_KINDS: Mapping[str, Callable[[], TaskKind]] = {"image_classification": ImageClassification}


def kind_of(task: Task) -> TaskKind:
    """The kind of a task: looked up by its name, or the object that a task of your own has.

    Raises:
        BadInput: there is no kind of this name.
    """
    if isinstance(task.kind, str):
        one_of(f"kind of task {task.name}", task.kind, TASK_KINDS)
        return TASK_KINDS[task.kind]()
    absent_functions = [
        name for name in ("prepare", "data", "objective") if not callable(getattr(task.kind, name, None))
    ]
    if absent_functions:
        raise BadInput(f"the kind of task {task.name} has no function {absent_functions[0]}: see docs/data.md")
    return task.kind


def check_reads(task: str, task_reads: str | None, backbone: Backbone | str, reads: str) -> None:
    """Refuse a backbone that cannot read the examples of a task.

    Args:
        task: name of the task.
        task_reads: what its examples are; None if a loader of your own does not say so.
        backbone: name of the backbone.
        reads: what the backbone reads.

    Raises:
        BadInput: naming both.
    """
    if task_reads is None or task_reads == reads:
        return
    choice = {"images": "vit_mini", "tokens": "llama_mini"}.get(task_reads, "one that does")
    raise BadInput(f"task {task} has {task_reads}, backbone {backbone} reads {reads}: choose {choice}")
