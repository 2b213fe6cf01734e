"""What a test has found: metrics, the outcome of each example, and predictions, as a record has them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from glorabench.records import outcomes as record_outcomes
from glorabench.records.metrics import Metric
from glorabench.records.outcomes import mean_outcome, unpack
from glorabench.training.finetuner import FineTuner
from glorabench.training.objectives.base import Objective, WholeSplitObjective


@dataclass(frozen=True)
class Scores:
    """The results of one test.

    Args:
        measures: the metrics, the one that decides first.
        metrics: their values, and n, the examples of the report split.
        outcomes: of all examples, packed, by the name of the metric.
        predictions: one row for each example, by name.
    """

    measures: list[Metric]
    metrics: dict[str, float]
    outcomes: dict[str, str]
    predictions: dict[str, Tensor]


def collect_scores(objective: Objective, tuner: FineTuner) -> Scores:
    """The results of the test that a network has just had."""
    predictions = {name: torch.cat(batches).cpu() for name, batches in tuner.predictions.items()}
    values = {name: torch.cat(batches).cpu() for name, batches in tuner.outcomes.items()}
    if isinstance(objective, WholeSplitObjective):
        values |= objective.whole_split(values, predictions)
    outcomes = {name: record_outcomes.pack(tensor.tolist()) for name, tensor in values.items()}
    measures = list(objective.metrics)
    metrics = {metric.name: mean_outcome(outcomes[metric.name], metric.per_example) for metric in measures}
    return Scores(measures, {**metrics, "n": len(unpack(outcomes[measures[0].name]))}, outcomes, predictions)
