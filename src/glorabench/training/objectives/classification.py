"""Classification: its loss, its metric, its predictions and outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy


class Classification:
    """Cross-entropy on logits (batch x classes); the metric is top-1 in [0, 1].

    Args:
        classes: number of classes.
        label_smoothing: mass spread evenly over the classes while training.
        scorings: for each test set the name of every scoring and the classes that may be answered, None for all.
    """

    metric_name = "top1"

    def __init__(
        self, classes: int, label_smoothing: float, scorings: Sequence[Mapping[str, Sequence[int] | None]] | None = None
    ) -> None:
        self.classes, self.label_smoothing = classes, label_smoothing
        self.scorings = scorings or [{self.metric_name: None}]

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of the batch, in nats; labels are classes, or probabilities where images were mixed."""
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

    def metric(self) -> Metric:
        """A fresh top-1 accumulator."""
        return MulticlassAccuracy(self.classes, average="micro", validate_args=False)

    def predict(self, logits: Tensor) -> Tensor:
        """The predicted class of each example."""
        return logits.argmax(-1)

    def scored(self, logits: Tensor, test: int) -> dict[str, Tensor]:
        """The predicted class of each example of test set number `test`, under each of its scorings."""
        return {name: self._among(logits, classes) for name, classes in self.scorings[test].items()}

    def _among(self, logits: Tensor, classes: Sequence[int] | None) -> Tensor:
        if classes is None:
            return self.predict(logits)
        allowed = torch.tensor(classes, device=logits.device)
        return allowed[logits[:, allowed].argmax(-1)]

    def outcomes(self, predictions: Tensor, labels: Tensor) -> list[bool]:
        """Right or wrong for each example; their mean is the metric."""
        return (predictions == labels).tolist()
