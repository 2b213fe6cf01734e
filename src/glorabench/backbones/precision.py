"""The precision in which products are computed: that of autocast, or that of the tensors."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def full_precision(like: Tensor) -> AbstractContextManager[Any]:
    """No autocast on the device of `like`."""
    kind = like.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


def tokens_of(x: Tensor) -> Tensor:
    """`x`, with any leading axes, as tokens x i in the dtype of products: cast once for all products that read it."""
    kind = x.device.type
    autocast = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return x.reshape(-1, x.shape[-1]).to(torch.get_autocast_dtype(kind) if autocast else x.dtype)
