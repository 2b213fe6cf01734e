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
from glorabench.data.text.datamodule import TextData
from glorabench.data.text.encoding import Encoder
from glorabench.data.text.harness import HarnessTask
from glorabench.data.text.harness_data import HarnessData
from glorabench.data.text.task import TextTask
from glorabench.data.text.tokenizer import tokenizer_digest
from glorabench.errors import BadInput, one_of
from glorabench.training.objectives.base import Objective
from glorabench.training.objectives.classification import TOP1, Classification
from glorabench.training.objectives.harness import HarnessScores
from glorabench.training.objectives.language import Generation, LanguageModelling, MultipleChoice

_Config = Mapping[str, Any]


class TaskKind(Protocol):
    """The three functions that a run needs for a kind of task."""

    def prepare(self, backbone: Backbone, task: Any) -> None:
        """Fit a backbone to the task before the method is put into it, for example with a new head."""
        ...

    def data(self, task: Any, backbone: Backbone, config: _Config) -> TaskData:
        """The data module, which makes batches in the form that the backbone reads."""
        ...

    def objective(self, task: Any, backbone: Backbone, config: _Config) -> Objective:
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

    def objective(self, task: ImageTask, backbone: Backbone, config: _Config) -> Classification:
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


class _Text:
    """Text tasks: what their three kinds share."""

    def prepare(self, backbone: Backbone, task: TextTask) -> None:
        """Nothing: the head of a language model stays."""

    def data(self, task: TextTask, backbone: Backbone, config: _Config) -> TextData:
        """Batches of tokens.

        Raises:
            BadInput: the backbone has no tokenizer.
        """
        _check_tokenizer(backbone, task.name)
        assert backbone.text is not None
        if task.settings.pack and backbone.prompt_tokens:
            raise BadInput(
                "data.pack puts several texts into a row, and the prompts of this method stand in front of the first "
                "alone: data.pack=false"
            )
        digest, text = tokenizer_digest(backbone.tokenizer), backbone.text
        _check_embedded(config["backbone"], digest)
        context = None if text.context is None else text.context - backbone.prompt_tokens
        encoder = Encoder(backbone.tokenizer, digest, task.settings, context, text.start)
        return TextData(task, encoder, **data_settings(config))


def _check_tokenizer(backbone: Backbone, task: str) -> None:
    if backbone.tokenizer is None:
        raise BadInput(
            f"backbone {backbone.name} has no tokenizer, so it cannot read the text of task {task}: put "
            "tokenizer.json beside its weights, or set backbone.tokenizer_from=PATH"
        )


def _check_embedded(backbone: _Config, digest: str) -> None:
    """Refuse a tokenizer that is not the one of the embedded weights, though it has as many tokens.

    Raises:
        BadInput: naming its folder.
    """
    source = backbone.get("tokenizer_from")
    if backbone.get("weights_from") != "embedded" or source in (None, "embedded"):
        return
    from glorabench.backbones.llama_mini import LLAMA_MINI, llama_mini_folder
    from glorabench.backbones.text_folder import load_tokenizer

    if digest != tokenizer_digest(load_tokenizer(llama_mini_folder(), LLAMA_MINI["vocab_size"])):  # type: ignore[arg-type]
        raise BadInput(f"the tokenizer in {source} is not that of {backbone['name']}: backbone.tokenizer_from=embedded")


def _groups(task: TextTask, config: _Config) -> tuple[str, ...]:
    """The test sets under one mean; none where val is reported."""
    return task.groups if config["selection"]["report_on"] == "test" else ()


class TextGeneration(_Text):
    """Prompts whose completions are written and compared."""

    def objective(self, task: TextTask, backbone: Backbone, config: _Config) -> Generation:
        """The loss of the completion; the scores of what is generated."""
        settings = task.settings
        return Generation(
            task.metrics, backbone.tokenizer, settings.max_new_tokens, settings.num_beams, _groups(task, config)
        )


class TextChoice(_Text):
    """Prompts with answers to choose from."""

    def objective(self, task: TextTask, backbone: Backbone, config: _Config) -> MultipleChoice:
        """The loss of the right answer; whether it is the likeliest."""
        return MultipleChoice(task.metrics, _groups(task, config))


class PlainText(_Text):
    """Texts as they are."""

    def objective(self, task: TextTask, backbone: Backbone, config: _Config) -> LanguageModelling:
        """The loss of every token."""
        return LanguageModelling(task.metrics, _groups(task, config))


class Harness(_Text):
    """Tasks of lm-evaluation-harness, which asks the network itself."""

    def data(self, task: HarnessTask, backbone: Backbone, config: _Config) -> HarnessData:  # type: ignore[override]
        """The names of the tasks.

        Raises:
            BadInput: the backbone has no tokenizer.
        """
        _check_tokenizer(backbone, task.name)
        settings = self.objective(task, backbone, config).settings()
        return HarnessData(task, settings, **data_settings(config))

    def objective(self, task: HarnessTask, backbone: Backbone, config: _Config) -> HarnessScores:
        """The scores of the harness."""
        return HarnessScores(task, backbone, config["train"]["eval_batch_size"])


TASK_KINDS: Mapping[str, Callable[[], TaskKind]] = {
    "image_classification": ImageClassification,
    "generation": TextGeneration,
    "multiple_choice": TextChoice,
    "language_modelling": PlainText,
    "harness": Harness,
}


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
