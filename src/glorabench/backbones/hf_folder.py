"""What the loaders of Hugging Face's folders share: the check of the weights, and quiet."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers.utils import logging

from glorabench.checksum import sha256_of
from glorabench.errors import BadInput

RESAMPLING_ARGUMENT = "interpolate_pos_encoding"  # of the forward pass of models whose positions can be resampled


def checked_sha256(folder: Path, expected: str | None) -> str:
    """The hash of a folder of weights.

    Raises:
        BadInput: it is another than the expected one.
    """
    digest = sha256_of(folder)
    if expected not in (None, digest):
        raise BadInput(f"the weights in {folder} have sha256 {digest}, expected {expected}: fetch them again")
    return digest


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without the table and the bar of transformers: what does not fit is said by an error, in one line."""
    level, has_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if has_bar:
            logging.enable_progress_bar()


def takes_resampling(model: type) -> bool:
    """Whether the forward pass of a model can resample its positions to another size of images."""
    return RESAMPLING_ARGUMENT in inspect.signature(model.forward).parameters  # type: ignore[attr-defined]
