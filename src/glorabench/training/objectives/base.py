"""The protocol of an objective: the loss of a batch, and the outcome of each example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from glorabench.records.metrics import Metric


@dataclass(frozen=True)
class Evaluation:
    """The outcomes of the examples of a batch.

    Args:
        values: name of a metric -> one value for each example: true or false, or a number.
        predictions: name -> one row for each example; they are saved beside the record.
    """

    values: dict[str, Tensor]
    predictions: dict[str, Tensor] = field(default_factory=dict)


class Objective(Protocol):
    """The loss that is minimised, and the metrics that are reported."""

    @property
    def metrics(self) -> Sequence[Metric]:
        """All metrics; the first one decides."""
        ...

    def size(self, batch: Any) -> int:
        """How many examples a batch has."""
        ...

    def loss(self, net: nn.Module, batch: Any) -> Tensor:
        """The mean loss of a batch."""
        ...

    def evaluate(self, net: nn.Module, batch: Any, test: int = 0) -> Evaluation:
        """The outcomes of a batch of test set number `test`. The deciding split and val have the number 0."""
        ...


@runtime_checkable
class WholeSplitObjective(Protocol):
    """An objective with a metric whose value for an example depends on the other examples."""

    def whole_split(self, values: Mapping[str, Tensor], predictions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Further values, by the name of their metric, from all values and predictions of the evaluated examples."""
        ...


@runtime_checkable
class ScoredObjective(Protocol):
    """An objective whose candidates of a search are ranked by something cheaper than its metric."""

    @property
    def score_metric(self) -> Metric:
        """The metric of which `score` gives the values; where lower is better, with the other sign."""
        ...

    def score(self, net: nn.Module, batch: Any) -> Tensor:
        """A value for each example of a batch, out of one forward pass; the higher the better."""
        ...


@runtime_checkable
class WeightedObjective(Protocol):
    """An objective whose loss is a mean over something else than examples, such as tokens.

    If several batches make one step, the loss of the step is then the mean over all of that.
    """

    def weight(self, batch: Any) -> int:
        """How much a batch counts among the batches of a step."""
        ...
