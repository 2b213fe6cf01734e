"""The precision of products and of what is trained: float32 or better, on a network in bfloat16 as well.

A step of training changes a parameter by less than bfloat16 can tell apart, so parameters are kept as peft keeps them.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import torch
from torch import Tensor

_HALF: Final = (torch.bfloat16, torch.float16)


def at_least_single(tensor: Tensor) -> Tensor:
    """The tensor in float32 where it is of half precision, else the tensor itself."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def full_precision(like: Tensor) -> AbstractContextManager[Any]:
    """No autocast on the device of `like`."""
    kind = like.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


def products_like(x: Tensor) -> AbstractContextManager[Any]:
    """Products in the dtype of `x`, where that is of half precision and no autocast says otherwise; else no change.

    Inputs of half precision come from a frozen network in that precision. Its adapters then compute as under autocast.
    """
    kind = x.device.type
    if x.dtype not in _HALF or not torch.amp.is_autocast_available(kind) or torch.is_autocast_enabled(kind):
        return nullcontext()
    return torch.autocast(kind, x.dtype)


def tokens_of(x: Tensor) -> Tensor:
    """`x`, with any leading axes, as tokens x i in the dtype of products: cast once for all products that read it."""
    kind = x.device.type
    autocast = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return x.reshape(-1, x.shape[-1]).to(torch.get_autocast_dtype(kind) if autocast else x.dtype)
