"""Optimisers: what a step makes of the gradients. One more is a dataclass here and a file in conf/optimizer.

The learning rate, its schedule, the weight decay and what is exempt from it are those of `train`, for all of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from glorabench.backbones.bitsandbytes_library import import_bitsandbytes
from glorabench.errors import BadInput, check_whole_number
from glorabench.records import record

ParameterGroups = list[dict[str, Any]]  # {params, weight_decay}, as torch takes them


@dataclass(frozen=True)
class Optimizer(ABC):
    """An optimiser by its settings; the fields of a subclass are these."""

    needs_schedule: ClassVar[bool] = True  # False where averaging takes the place of a falling rate
    package: ClassVar[str] = "torch"  # that computes the step; a record keeps its version

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name == "betas" and not (
                isinstance(value, list | tuple) and len(value) == 2 and all(_is_share(beta) for beta in value)
            ):
                raise BadInput(f"optimizer.betas must be two numbers from 0 to below 1, got {value!r}")
            if name == "momentum" and not _is_share(value):
                raise BadInput(f"optimizer.momentum must be a number from 0 to below 1, got {value!r}")
            if name == "eps" and not (_is_share(value) and value):
                raise BadInput(f"optimizer.eps must be a number above 0 and below 1, got {value!r}")
            if name == "nesterov" and type(value) is not bool:
                raise BadInput(f"optimizer.nesterov must be true or false, got {value!r}")

    @abstractmethod
    def build(self, groups: ParameterGroups, lr: float, fused: bool) -> torch.optim.Optimizer:
        """The optimiser of torch's interface.

        Args:
            groups: the trained parameters, each group with its weight decay.
            lr: peak learning rate.
            fused: one kernel for the whole step may be used; not where gradients are scaled (16-mixed).
        """


def _is_share(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < 1  # type: ignore[operator]


@dataclass(frozen=True)
class AdamW(Optimizer):
    """AdamW (arXiv 1711.05101), torch's."""

    betas: tuple[float, float]
    eps: float

    def build(self, groups: ParameterGroups, lr: float, fused: bool) -> torch.optim.Optimizer:
        """Fused, where that may be."""
        return torch.optim.AdamW(groups, lr=lr, betas=_pair(self.betas), eps=self.eps, fused=fused or None)


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent with momentum, torch's; its weight decay is a penalty on the loss."""

    momentum: float
    nesterov: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and not self.momentum:
            raise BadInput("optimizer.nesterov=true needs a momentum: optimizer.momentum=0.9")

    def build(self, groups: ParameterGroups, lr: float, fused: bool) -> torch.optim.Optimizer:
        """Torch's."""
        return torch.optim.SGD(groups, lr=lr, momentum=self.momentum, nesterov=self.nesterov)


@dataclass(frozen=True)
class Lion(Optimizer):
    """Lion (arXiv 2302.06675), timm's: the sign of a mixture of gradient and momentum."""

    betas: tuple[float, float]

    def build(self, groups: ParameterGroups, lr: float, fused: bool) -> torch.optim.Optimizer:
        """Timm's."""
        from timm.optim.lion import Lion as TimmLion

        return TimmLion(groups, lr=lr, betas=_pair(self.betas))


@dataclass(frozen=True)
class Lamb(Optimizer):
    """LAMB (arXiv 1904.00962), timm's, without its own clipping: that is `train.clip`."""

    betas: tuple[float, float]
    eps: float

    def build(self, groups: ParameterGroups, lr: float, fused: bool) -> torch.optim.Optimizer:
        """Timm's."""
        from timm.optim.lamb import Lamb as TimmLamb

        return TimmLamb(groups, lr=lr, betas=_pair(self.betas), eps=self.eps, max_grad_norm=None)


@dataclass(frozen=True)
class ScheduleFree(Optimizer):
    """Schedule-free AdamW (arXiv 2405.15682), the authors': it trains at one point and is evaluated at an average."""

    betas: tuple[float, float]
    eps: float

    needs_schedule: ClassVar[bool] = False
    package: ClassVar[str] = "schedulefree"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.betas[0] == 0:
            raise BadInput("optimizer.betas of schedulefree must begin above 0: the first is the weight of the average")

    def build(self, groups: ParameterGroups, lr: float, fused: bool) -> torch.optim.Optimizer:
        """That of the package schedulefree, ready to train."""
        from schedulefree import AdamWScheduleFree

        optimizer = AdamWScheduleFree(groups, lr=lr, betas=_pair(self.betas), eps=self.eps)
        optimizer.train()
        return optimizer


@dataclass(frozen=True)
class AdamW8bit(Optimizer):
    """AdamW with moments in 8 bits (arXiv 2110.02861), bitsandbytes': blocks of 256 numbers share a scale."""

    betas: tuple[float, float]
    eps: float
    min_8bit_size: int

    package: ClassVar[str] = "bitsandbytes"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole_number("optimizer.min_8bit_size", self.min_8bit_size)
        import_bitsandbytes("optimizer=adamw8bit")

    def build(self, groups: ParameterGroups, lr: float, fused: bool) -> torch.optim.Optimizer:
        """That of bitsandbytes."""
        library: Any = import_bitsandbytes("optimizer=adamw8bit")
        return library.optim.AdamW8bit(
            groups, lr=lr, betas=_pair(self.betas), eps=self.eps, min_8bit_size=self.min_8bit_size
        )


@dataclass(frozen=True)
class PagedAdamW(Optimizer):
    """AdamW whose moments move out of a full card (arXiv 2305.14314, section 3), bitsandbytes'."""

    betas: tuple[float, float]
    eps: float

    package: ClassVar[str] = "bitsandbytes"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not torch.cuda.is_available():  # there the library would quietly do without pages
            raise BadInput("optimizer=paged needs a GPU, and there is none: optimizer=adamw, or optimizer=adamw8bit")
        import_bitsandbytes("optimizer=paged")

    def build(self, groups: ParameterGroups, lr: float, fused: bool) -> torch.optim.Optimizer:
        """That of bitsandbytes."""
        library: Any = import_bitsandbytes("optimizer=paged")
        return library.optim.PagedAdamW32bit(groups, lr=lr, betas=_pair(self.betas), eps=self.eps)


def _pair(betas: tuple[float, float]) -> tuple[float, float]:
    return betas[0], betas[1]


def optimizer_node(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The node of the optimiser; AdamW where a config of an earlier release names none."""
    return config.get("optimizer") or record.ADAMW
