"""What a layer is by its class and its weight, and where it stands by its path."""

from __future__ import annotations

from torch import Tensor, nn


def in_width(layer: nn.Module) -> int:
    """Features that a linear layer or a convolution reads."""
    return layer.in_features if isinstance(layer, nn.Linear) else int(layer.in_channels)  # type: ignore[arg-type]


def out_width(layer: nn.Module) -> int:
    """Features that a layer gives, by its weight; that of a quantised linear layer has another shape."""
    return layer.out_features if isinstance(layer, nn.Linear) else len(layer.get_parameter("weight"))


def is_matrix(layer: nn.Module) -> bool:
    """A product with the features at each place alone: a linear layer or a 1 x 1 convolution."""
    if isinstance(layer, nn.Conv2d):
        return layer.kernel_size == (1, 1) and layer.stride == (1, 1) and layer.groups == 1
    return isinstance(layer, nn.Linear)


def is_norm(layer: nn.Module) -> bool:
    """A normalisation with a learned scale."""
    weight = getattr(layer, "weight", None)
    return "norm" in type(layer).__name__.lower() and isinstance(weight, Tensor) and weight.ndim == 1


def is_image_norm(layer: nn.Module) -> bool:
    """Whether a norm reads images, batch x features x height x width, by the name of its class."""
    return any(word in type(layer).__name__ for word in ("2d", "Batch", "Group"))


def is_numbered(path: str) -> bool:
    """Whether a module is one of a sequence: `blocks.0`."""
    return path.rpartition(".")[2].isdigit()


def starts_with(path: str, start: str) -> bool:
    """Whether a module is `start` or a part of it."""
    return path == start or path.startswith(f"{start}.")
