"""Start a run sooner: import torchmetrics and timm without packages that they import only because they are installed.

torchmetrics imports transformers for metrics of text, timm imports wandb for its own training script. A run on images
uses neither, and they take seconds. What does use them imports them itself, later: Llama, the logger. In this process
torchmetrics reports those metrics of text as not installed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError


def import_without_extras() -> None:
    """Import torchmetrics without transformers and timm without wandb, unless these are imported already."""
    with _hide("transformers"):
        import torchmetrics  # noqa: F401
    with _hide("wandb"):
        import timm  # noqa: F401


@contextmanager
def _hide(package: str) -> Iterator[None]:
    """Inside the block the package cannot be imported, and torchmetrics finds no version of it."""
    from lightning_utilities.core import imports

    version = getattr(imports, "_version", None)  # by which it decides what is installed
    if package in sys.modules or version is None:
        yield
        return

    def version_of(name: str) -> str:
        if name == package:
            raise PackageNotFoundError(name)
        return version(name)

    sys.modules[package] = None  # type: ignore[assignment] # for Python: an import of it fails
    imports.__dict__["_version"] = version_of
    try:
        yield
    finally:
        imports.__dict__["_version"] = version
        del sys.modules[package]
