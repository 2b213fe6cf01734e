"""Batches of a task for the Trainer, for any kind of examples. Decides which split is read when; test is read once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, cast

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from glorabench.data.task import LeakError, Task
from glorabench.errors import BadInput, one_of


class TaskData(LightningDataModule, ABC):
    """Batches of one task. A subclass for each kind of task says how they are made.

    Args:
        task: the task.
        fit_on: `trainval`, or `train` (then val is evaluated every epoch).
        report_on: `test`, or `val` for tuning.
        batch_size: batch size of training.
        eval_batch_size: batch size of evaluation.
        seed: seed of the order of batches and of the held-out part of a search.
    """

    can_be_shared: ClassVar[bool] = False  # its training batches respect `rank` and `processes`

    def __init__(
        self, task: Task, *, fit_on: str, report_on: str, batch_size: int, eval_batch_size: int, seed: int
    ) -> None:
        super().__init__()
        one_of("selection.fit_on", fit_on, ("train", "trainval"))
        one_of("selection.report_on", report_on, ("val", "test"))
        if fit_on == "trainval" and report_on == "val":
            raise BadInput("selection.report_on=val needs selection.fit_on=train: trainval contains val")
        self.task, self.fit_on, self.report_on = task, fit_on, report_on
        self.batch_size, self.eval_batch_size, self.seed = batch_size, eval_batch_size, seed
        self.varies = False  # True if inputs differ in each epoch, so that their features cannot be cached
        self.encode: Callable[[Any], Tensor] | None = None  # computes features, if the trunk is constant
        self.device = torch.device("cpu")  # where `encode` computes and training examples are kept
        self.contaminated = False  # True if a search uses test, or the epoch is chosen on it
        self.evaluation_split = "val"  # or test: the split that is evaluated during training
        self.rank, self.processes = 0, 1  # this process, of how many that share each training batch
        self._test_was_read = False

    @property
    def local_batch_size(self) -> int:
        """The part of a training batch that one process has."""
        return self.batch_size // self.processes

    @abstractmethod
    def training_batches(self, split: str) -> Any:
        """Batches of a split. Their order depends only on (seed, epoch)."""

    @abstractmethod
    def evaluation_batches(self, split: str) -> Iterable[Any]:
        """All of a split, or of a test set, in order."""

    @abstractmethod
    def example(self, count: int, device: torch.device) -> Tensor:
        """Inputs of the first `count` training examples, prepared as for evaluation."""

    @abstractmethod
    def search_batches(self, on: str, held_out: float, device: torch.device) -> tuple[list[Any], list[Any]]:
        """Batches that score the candidates of a search, ready for the network and kept on `device`.

        The examples are shuffled by the seed first, because lists are often sorted by class and a part is held out.

        Args:
            on: val or test.
            held_out: share of the examples that score no candidates.
            device: device of the network.

        Returns:
            The batches that score candidates, and the held-out batches.

        Raises:
            LeakError: see `check_search`.
        """

    def facts(self) -> dict[str, Any]:
        """Facts about the data for the record. Records with different facts are not compared."""
        return {"suite": self.task.suite, "task": self.task.name, "fingerprint": self.task.fingerprint}

    def read_all(self) -> None:
        """Read every split that the run caches, so that a damaged example is found before training and not after it."""
        return

    def train_dataloader(self) -> Any:
        """Batches of `fit_on`."""
        return self.training_batches(self.fit_on)

    def val_dataloader(self) -> Iterable[Any]:
        """The batches that are evaluated during training: val, or test if the run declares it.

        Raises:
            LeakError: test is asked for, but the run does not declare that it is `contaminated`.
        """
        if self.evaluation_split == "test" and not self.contaminated:
            raise LeakError("testing during training has to be declared: selection.rule=best_test_epoch")
        return _loader(self.evaluation_batches(self.evaluation_split))

    def test_dataloader(self) -> list[Iterable[Any]]:
        """The report split, once: val, or every test set in the order of `task.tests`.

        Raises:
            LeakError: test is asked for outside the final test step, or for a second time.
        """
        if self.report_on == "val":
            return [self.val_dataloader()]
        if self.trainer is None or not self.trainer.testing or self._test_was_read:
            raise LeakError("test labels are read once, by the final test step")
        self._test_was_read = True
        return [_loader(self.evaluation_batches(name)) for name in self.task.tests]

    def check_search(self, on: str) -> None:
        """Refuse an undeclared search on test.

        Raises:
            LeakError: the run does not declare that it is `contaminated`.
        """
        if on == "test" and not self.contaminated:
            raise LeakError("a search on test has to be declared: search.on=test")


def _loader(batches: Iterable[Any]) -> Iterable[Any]:
    """Batches for Lightning. It would take each batch of a list for a loader, so a list is wrapped."""
    if isinstance(batches, list):
        return DataLoader(cast("Dataset[Any]", batches), batch_size=None)
    return batches


def as_is(batch: Any) -> Any:
    """Return a batch unchanged: `__getitems__` gives whole batches."""
    return batch
