"""Classification: cross-entropy, and whether the predicted class is the right one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glorabench.records.metrics import Metric
from glorabench.training.objectives.base import Evaluation

TOP1 = Metric("top1", "top-1")
Batch = tuple[Tensor, Tensor]
Scoring = Mapping[str, Sequence[int] | None]


class Classification:
    """Cross-entropy on logits (batch x classes); the metric is top-1.

    Args:
        classes: number of classes.
        label_smoothing: mass spread evenly over the classes while training.
        scorings: for each test set the name of every scoring and the classes that may be answered, None for all.
    """

    def __init__(self, classes: int, label_smoothing: float, scorings: Sequence[Scoring] | None = None) -> None:
        self.classes, self.label_smoothing = classes, label_smoothing
        self.scorings = scorings or [{TOP1.name: None}]

    @property
    def metrics(self) -> list[Metric]:
        """Top-1 of the test split, then of every further scoring."""
        names = [name for scoring in self.scorings for name in scoring]
        return [TOP1 if name == TOP1.name else Metric(name, name) for name in names]

    def size(self, batch: Batch) -> int:
        """How many images a batch has."""
        return len(batch[1])

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy of a batch, in nats; labels are classes, or probabilities where images were mixed."""
        inputs, labels = batch
        return F.cross_entropy(net(inputs), labels, label_smoothing=self.label_smoothing)

    def evaluate(self, net: nn.Module, batch: Batch, test: int = 0) -> Evaluation:
        """Right or wrong for each image under every scoring of a test set, and the predicted and the true class."""
        inputs, labels = batch
        logits = net(inputs)
        values, predictions = {}, {}
        for name, classes in self.scorings[test].items():
            predicted = _prediction(logits, classes)
            values[name] = predicted == labels
            prefix = "" if name == TOP1.name else f"{name}/"
            predictions |= {f"{prefix}predicted": predicted, f"{prefix}label": labels}
        return Evaluation(values, predictions)


def _prediction(logits: Tensor, classes: Sequence[int] | None) -> Tensor:
    """The predicted class of each image, among those that may be answered."""
    if classes is None:
        return logits.argmax(-1)
    allowed = torch.tensor(classes, device=logits.device)
    return allowed[logits[:, allowed].argmax(-1)]
