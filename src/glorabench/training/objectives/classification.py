"""Classification: cross-entropy as the loss, and whether each prediction is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glorabench.records.metrics import Metric
from glorabench.training.objectives.base import Evaluation

TOP1 = Metric("top1", "top-1")
MACRO = Metric("macro", "macro accuracy", per_example="reals")
ImageBatch = tuple[Tensor, Tensor]
Scoring = Mapping[str, Sequence[int] | None]


class Classification:
    """Cross-entropy on logits (batch x classes); the metric is top-1.

    Args:
        classes: number of classes.
        label_smoothing: mass spread evenly over the classes while training.
        scorings: for each test set: name of a scoring -> classes that may be predicted, None for all.
        balanced: also report the macro accuracy of the report split.
    """

    def __init__(
        self,
        classes: int,
        label_smoothing: float,
        scorings: Sequence[Scoring] | None = None,
        balanced: bool = False,
    ) -> None:
        self.classes, self.label_smoothing, self.balanced = classes, label_smoothing, balanced
        self.scorings = scorings or [{TOP1.name: None}]

    @property
    def metrics(self) -> list[Metric]:
        """Top-1 of the test split, then of every further scoring, then the macro accuracy."""
        names = [name for scoring in self.scorings for name in scoring]
        return [*(TOP1 if name == TOP1.name else Metric(name, name) for name in names), *[MACRO] * self.balanced]

    def size(self, batch: ImageBatch) -> int:
        """How many images a batch has."""
        return len(batch[1])

    def loss(self, net: nn.Module, batch: ImageBatch) -> Tensor:
        """Mean cross-entropy of a batch, in nats; labels are classes, or probabilities where images were mixed."""
        inputs, labels = batch
        return F.cross_entropy(net(inputs), labels, label_smoothing=self.label_smoothing)

    def evaluate(self, net: nn.Module, batch: ImageBatch, test: int = 0) -> Evaluation:
        """Whether each image is right, for every scoring of a test set; and the predicted and the true classes."""
        inputs, labels = batch
        logits = net(inputs)
        values, predictions = {}, {}
        for name, classes in self.scorings[test].items():
            prediction = _prediction(logits, classes)
            values[name] = prediction == labels
            prefix = "" if name == TOP1.name else f"{name}/"
            predictions |= {f"{prefix}predicted": prediction, f"{prefix}label": labels}
        return Evaluation(values, predictions)

    def whole_split(self, values: Mapping[str, Tensor], predictions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The contribution of each image to the macro accuracy, which depends on the whole split.

        The macro accuracy is the mean over the classes of the share of their images that are right. An image of a class
        with n of the N images counts N / (C n) if it is right, C being the number of classes that occur, and 0 if not.
        Then the mean over the images is the macro accuracy.
        """
        if not self.balanced:
            return {}
        _, place, counts = predictions["label"].unique(return_inverse=True, return_counts=True)
        weights = len(place) / (len(counts) * counts.double())
        return {MACRO.name: values[TOP1.name] * weights[place]}


def _prediction(logits: Tensor, classes: Sequence[int] | None) -> Tensor:
    """The predicted class of each image, among `classes` (None: all)."""
    if classes is None:
        return logits.argmax(-1)
    class_ids = torch.tensor(classes, device=logits.device)
    return class_ids[logits[:, class_ids].argmax(-1)]
