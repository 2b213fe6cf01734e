"""Start a run faster: import torchmetrics and timm without the optional packages that these import.

torchmetrics imports transformers for its text metrics. timm imports wandb for its own training script. Both take
seconds, and a run on images needs neither. Code that needs them (Llama, the logger) imports them later. In this process
torchmetrics reports that its text metrics are not installed.
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
    """Inside the block the package cannot be imported, and torchmetrics does not find its version."""
    from lightning_utilities.core import imports

    version = getattr(imports, "_version", None)  # torchmetrics decides with it what is installed
    if package in sys.modules or version is None:
        yield
        return

    def version_of(name: str) -> str:
        if name == package:
            raise PackageNotFoundError(name)
        return version(name)

    sys.modules[package] = None  # type: ignore[assignment] # makes an import fail
    imports.__dict__["_version"] = version_of
    try:
        yield
    finally:
        imports.__dict__["_version"] = version
        del sys.modules[package]
