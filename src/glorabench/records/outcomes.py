"""Outcomes: the result of each example, right or wrong or a number, packed as text."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

OutcomeTexts = tuple[str, ...]  # a text for each seed; an empty text where a record has none
_REALS = "f32"  # follows the count where examples have numbers


def pack(outcomes: Iterable[bool] | Iterable[float]) -> str:
    """Pack outcomes as text.

    Right or wrong becomes a count and bits in base 64: 2,000 examples take 341 characters. Numbers become a count,
    `f32` and single-precision floats in base 64: 2,000 examples take 10,680 characters.

    Raises:
        ValueError: a number is not finite.
    """
    values = np.asarray(list(outcomes))
    if values.dtype == bool or not len(values):
        body = np.packbits(values.astype(bool), bitorder="little").tobytes()
        return f"{len(values)}:{base64.b64encode(body).decode()}"
    if not np.isfinite(reals := values.astype("<f4")).all():
        raise ValueError("an outcome is not finite")
    return f"{len(values)}:{_REALS}:{base64.b64encode(reals.tobytes()).decode()}"


@lru_cache(1024)
def unpack(text: str) -> NDArray[np.bool_] | NDArray[np.float32]:
    """Unpack the text of `pack`; the array is cached, so it is read-only.

    Raises:
        ValueError: the count in the text is not the number of outcomes.
    """
    count, _, body = text.partition(":")
    kind, _, text = body.partition(":")
    data = base64.b64decode(text if kind == _REALS else body, validate=True)
    size = 4 * int(count) if kind == _REALS else (int(count) + 7) // 8
    if int(count) < 0 or len(data) != size:
        raise ValueError(f"{int(count)} outcomes in {len(data)} bytes")
    if kind == _REALS:
        return np.frombuffer(data, "<f4")
    values = np.unpackbits(np.frombuffer(data, np.uint8), count=int(count), bitorder="little").astype(bool)
    values.setflags(write=False)
    return values


def mean_outcome(text: str, per_example: str) -> float:
    """The mean of packed outcomes, in double precision.

    Raises:
        ValueError: there are none, or they are of the other kind than `per_example`.
    """
    values = unpack(text)
    if not len(values) or (values.dtype == bool) != (per_example == "bits"):
        raise ValueError(f"its outcomes are not {per_example}")
    return float(values.mean(dtype=np.float64))


def example_counts(first: Sequence[str], second: Sequence[str]) -> set[str]:
    """The numbers of examples of the texts. Two sides can be paired if there is one number.

    A missing text counts as an empty one.
    """
    return {text.partition(":")[0] for text in (*first, *second)}
