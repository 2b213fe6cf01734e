"""The memory that a training keeps for its tensors, from their shapes alone: nothing is computed or read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from glorabench.backbones.base import Backbone
from glorabench.backbones.quantized import frozen_bytes, numbers_of
from glorabench.training.measure.profiling import backbone_with_method


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes that stay from step to step. Activations, which depend on batch and length, come on top.

    Args:
        parameters: numbers of the network, with the method.
        trained: numbers that are trained.
        base: bytes of what is not trained, with the scales of quantised weights.
        adapter: bytes of what is trained.
        gradients: bytes of its gradients.
        optimizer: bytes of the two moments of AdamW.
    """

    parameters: int
    trained: int
    base: int
    adapter: int
    gradients: int
    optimizer: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.base + self.adapter + self.gradients + self.optimizer


def training_memory(backbone: Backbone) -> TrainingMemory:
    """The memory of training a backbone with a method in it by AdamW; also on the meta device."""
    net = backbone.net
    trained = [p for p in net.parameters() if p.requires_grad]
    size = sum(p.nbytes for p in trained)
    return TrainingMemory(
        parameters=numbers_of(net, net.parameters()),
        trained=sum(p.numel() for p in trained),
        base=frozen_bytes(net),
        adapter=size,
        gradients=size,
        optimizer=2 * size,
    )


def memory_of(words: Sequence[str]) -> TrainingMemory:
    """The same of the words of a command, without weights.

    Raises:
        BadInput: as `profiling.backbone_with_method`.
    """
    return training_memory(backbone_with_method(words))
