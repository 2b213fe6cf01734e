"""Outcomes: right or wrong for each example, as records pack them, compared seed by seed."""

from __future__ import annotations

import base64
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from glorabench import crossed
from glorabench.record import Record

Packed = tuple[str, ...]  # a text for each seed; empty where a record has none


def packed_of(r: Record, metric: str = "top1") -> str:
    """Right or wrong for each example behind a metric of a record, packed; empty where they are missing."""
    return (r.outcomes if metric == "top1" else (r.outcomes_of or {}).get(metric)) or ""


def counts(first: Packed, second: Packed) -> set[str]:
    """How many examples they are of, as text, empty where outcomes are missing: one number if they can be paired."""
    return {text.partition(":")[0] for text in (*first, *second)}


@lru_cache(1 << 16)
def paired(first: Packed, second: Packed) -> crossed.Paired:
    """The difference of both sides; `counts` of them must be one number."""
    return crossed.paired(*(np.stack([bits(text) for text in side]) for side in (first, second)))


@lru_cache(1024)
def bits(text: str) -> NDArray[np.bool_]:
    """As `record.unpack`, for many."""
    count, _, body = text.partition(":")
    whole = np.frombuffer(base64.b64decode(body), np.uint8)
    return np.unpackbits(whole, count=int(count), bitorder="little").astype(bool)
