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
        values: by the name of a metric, one for each example: true or false, or a number.
        predictions: what is kept of them beside the record, by name; one row for each example.
    """

    values: dict[str, Tensor]
    predictions: dict[str, Tensor] = field(default_factory=dict)


class Objective(Protocol):
    """What is minimised, and what is reported."""

    @property
    def metrics(self) -> Sequence[Metric]:
        """All that it reports; the first decides."""
        ...

    def size(self, batch: Any) -> int:
        """How many examples a batch has."""
        ...

    def loss(self, net: nn.Module, batch: Any) -> Tensor:
        """The mean loss of a batch."""
        ...

    def evaluate(self, net: nn.Module, batch: Any, test: int = 0) -> Evaluation:
        """What the examples of a batch of test set number `test` got; 0 is the split that decides, and val."""
        ...


@runtime_checkable
class WholeSplitObjective(Protocol):
    """An objective with a metric for which what an example gets depends on the other examples."""

    def whole_split(self, values: Mapping[str, Tensor], predictions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Further values, by the name of their metric, from all values and predictions of the evaluated examples."""
        ...
