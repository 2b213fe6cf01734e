"""The averaged weights of a schedule-free optimiser: shown for an evaluation, then put away to the last digit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class AveragedWeights:
    """Switches the parameters of an optimiser between what it trains and what it is evaluated at.

    For an optimiser whose parameters are both, nothing happens.

    Args:
        optimizer: None has no averages. One that has some has the methods `eval` and `train`, as those of the package
            schedulefree.
    """

    def __init__(self, optimizer: torch.optim.Optimizer | None = None) -> None:
        self._optimizer: Any = optimizer if hasattr(optimizer, "eval") and hasattr(optimizer, "train") else None
        self._trained: list[Tensor] | None = None

    @property
    def exist(self) -> bool:
        """Whether there are any."""
        return self._optimizer is not None

    def show(self) -> None:
        """Put the averages into the network, and keep what is trained."""
        if self._optimizer is not None and self._trained is None:
            self._trained = [p.detach().clone() for p in self._parameters()]
            self._optimizer.eval()

    @torch.no_grad()
    def hide(self) -> None:
        """Put what is trained back. The optimiser's own way back rounds, and no evaluation may move a number."""
        if self._optimizer is not None and self._trained is not None:
            self._optimizer.train()
            for parameter, value in zip(self._parameters(), self._trained, strict=True):
                parameter.copy_(value)
            self._trained = None

    @contextmanager
    def visible(self) -> Iterator[None]:
        """Inside the block the network has the averages."""
        self.show()
        try:
            yield
        finally:
            self.hide()

    def _parameters(self) -> Iterator[Tensor]:
        for group in self._optimizer.param_groups:
            yield from group["params"]
