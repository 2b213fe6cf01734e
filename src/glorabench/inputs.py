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


@dataclass(frozen=True)
class TextInputs:
    """How a language model reads a prompt and writes a completion.

    Args:
        context: the most tokens of prompt and completion; None is no limit.
        start: the token with which a decoder begins to write, where an encoder reads the prompt; None where both stand
            in one row.
    """

    context: int | None
    start: int | None = None
