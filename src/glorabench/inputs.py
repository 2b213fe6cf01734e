"""What a backbone reads, and how inputs are prepared for it. Light: no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preprocess:
    """How an image becomes an input: side in pixels, channel mean and std of values in [0, 1]."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
