"""The test sets of lm-evaluation-harness for the Trainer: a batch is a whole task, which the harness itself divides."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import torch
from torch import Tensor

from glorabench.data.datamodule import TaskData
from glorabench.data.text.harness import HarnessTask


class HarnessData(TaskData):
    """Tasks of the harness; see `TaskData` for the further arguments.

    Args:
        task: the tasks.
        settings_of_judge: how the network is asked, for the record.
    """

    def __init__(self, task: HarnessTask, settings_of_judge: dict[str, Any], **settings: Any) -> None:
        super().__init__(task, **settings)
        self.harness, self.settings_of_judge = task, settings_of_judge

    def facts(self) -> dict[str, Any]:
        """Versions, shots and how the network was asked; records that differ in it do not compare."""
        return super().facts() | {
            "harness": metadata.version("lm_eval"),
            "versions": dict(self.harness.versions),
            "shots": dict(self.harness.shots),
            **self.settings_of_judge,
        }

    def training_batches(self, split: str) -> Any:
        """None: nothing is trained on these tasks."""
        return self.harness.split(split)

    def evaluation_batches(self, split: str) -> list[str]:
        """The name of the task."""
        return [split]

    def example(self, count: int, device: torch.device) -> Tensor:
        """None: nothing is measured on these tasks."""
        return self.harness.split("train")

    def search_batches(self, on: str, held_out: float, device: torch.device) -> tuple[list[Any], list[Any]]:
        """None: nothing is searched on these tasks."""
        return self.harness.split(on)
