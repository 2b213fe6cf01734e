"""lm-evaluation-harness as a judge: it asks the network in memory, and each example's outcome is kept."""

from __future__ import annotations

import copy
import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr
from typing import Any, Final

import torch
from torch import Tensor, nn

from glorabench.backbones.base import Backbone
from glorabench.data.text.harness import HarnessTask, load_harness_tasks
from glorabench.data.text.harness_index import quiet_harness
from glorabench.errors import BadInput
from glorabench.records.metrics import Metric
from glorabench.training.objectives.base import Evaluation

FEWSHOT_SEED: Final = 1234  # the harness' own
_FIRST: Final = ("acc_norm", "acc", "exact_match")  # what leaderboards report comes first


class HarnessScores:
    """The scores of the harness, each named TASK/METRIC. It trains nothing.

    Args:
        task: the tasks.
        backbone: of which the network is asked.
        batch_size: of the harness; in half precision scores depend on it.
    """

    def __init__(self, task: HarnessTask, backbone: Backbone, batch_size: int) -> None:
        self.task, self.backbone, self.batch_size = task, backbone, batch_size
        self.metrics: Sequence[Metric] = []  # known after the test

    def settings(self) -> dict[str, Any]:
        """How the network is asked."""
        text = self.backbone.text
        assert text is not None
        return {
            "batch_size": self.batch_size,
            "max_length": text.context,
            "bos": self.backbone.tokenizer.bos_token_id is not None and text.start is None,
            "fewshot_seed": FEWSHOT_SEED,
        }

    def size(self, batch: Any) -> int:
        """A batch is one task."""
        return 1

    def loss(self, net: nn.Module, batch: Any) -> Tensor:
        """None.

        Raises:
            BadInput: always.
        """
        raise BadInput(f"{self.task.name} judges, nothing is trained on it")

    def evaluate(self, net: nn.Module, batch: str, test: int = 0) -> Evaluation:
        """What each example of a task gets.

        Raises:
            BadInput: the task has no scores for each example.
        """
        from lm_eval.evaluator import evaluate

        tasks = load_harness_tasks(self.task.folder, self.task.members[batch])
        for task in tasks.values():
            _set_shots(task, self.task.shots[batch])
        with quiet_harness(), _no_bars(), as_transformers(net):
            results: Any = evaluate(
                lm=self._judge(net),
                task_dict={"tasks": tasks, "groups": {}, "group_map": {}},
                bootstrap_iters=0,
                log_samples=True,
            )
        samples = [sample for name in self.task.members[batch] for sample in _in_order(results["samples"][name])]
        values = {f"{batch}/{name}": tensor for name, tensor in _values(samples).items()}
        if not values:
            raise BadInput(f"task {batch} of lm-evaluation-harness has no score for each example: leave it out")
        self.metrics = [*self.metrics, *(_metric(name, tensor) for name, tensor in values.items())]
        return Evaluation(values)

    def _judge(self, net: Any) -> Any:
        from lm_eval.models.huggingface import HFLM

        settings, text = self.settings(), self.backbone.text
        assert text is not None
        judge: Any = HFLM
        return judge(
            pretrained=net,
            tokenizer=copy.deepcopy(self.backbone.tokenizer),  # the harness may give it a token for padding
            backend="causal" if text.start is None else "seq2seq",
            batch_size=settings["batch_size"],
            max_length=settings["max_length"],
            add_bos_token=settings["bos"],
        )


@contextmanager
def _no_bars() -> Iterator[None]:
    """The bars of the harness are for a terminal."""
    with nullcontext() if sys.stderr.isatty() else redirect_stderr(io.StringIO()):
        yield


def _set_shots(task: Any, shots: int | None) -> None:
    """As the harness' own command does: a task whose description says 0 shots has 0."""
    own = task.get_config("num_fewshot")
    task.set_config(key="num_fewshot", value=own if own == 0 or shots is None else shots)
    if task.get_config("num_fewshot") is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=FEWSHOT_SEED)


@contextmanager
def as_transformers(net: Any) -> Iterator[None]:
    """In the block a network is one of transformers' own class, whose forward pass others know."""
    kind = type(net)
    net.__class__ = next(
        base for base in kind.__mro__ if base.__module__.startswith("transformers.") and base is not kind
    )
    try:
        yield
    finally:
        net.__class__ = kind


def _in_order(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(samples, key=lambda sample: sample["doc_id"])


def _values(samples: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
    """Metric -> a value for each example; with several filters, each is a metric of its own."""
    filters = list(dict.fromkeys(sample["filter"] for sample in samples))
    values: dict[str, list[float]] = {}
    for sample in samples:
        end = f"@{sample['filter']}" if len(filters) > 1 else ""
        for name in sample["metrics"]:
            if isinstance(sample[name], int | float):  # no pairs that only a whole task makes a number of
                values.setdefault(f"{name}{end}", []).append(float(sample[name]))
    count = len(samples) // max(len(filters), 1)
    names = sorted(values, key=lambda name: (_rank(name), name))
    tensors = {name: torch.tensor(values[name], dtype=torch.float64) for name in names if len(values[name]) == count}
    return {name: t.bool() if bool(((t == 0) | (t == 1)).all()) else t for name, t in tensors.items()}


def _rank(name: str) -> int:
    kind = name.partition("@")[0]
    return _FIRST.index(kind) if kind in _FIRST else len(_FIRST)


def _metric(name: str, values: Tensor) -> Metric:
    """A share, as all scores of multiple choice and exact match are, or a number without limits."""
    is_share = bool(((values >= 0) & (values <= 1)).all())
    return Metric(
        name,
        name.replace("/", " "),
        unit="%" if is_share else "",
        low=0.0 if is_share else None,
        high=1.0 if is_share else None,
        per_example="bits" if values.dtype == torch.bool else "reals",
    )
