"""Every suite on disk by name, and the function that writes fake data for it. Light: no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from glorabench.data.suites.fewshot import FEWSHOT, write_fake_fewshot
from glorabench.data.suites.fgvc import FGVC, write_fake_fgvc
from glorabench.data.suites.imagenet import IMAGENET, write_fake_imagenet
from glorabench.data.suites.suite import Suite
from glorabench.data.suites.vtab1k import VTAB1K, write_fake_vtab1k

SUITES: Final[Mapping[str, Suite]] = {suite.name: suite for suite in (VTAB1K, FEWSHOT, FGVC, IMAGENET)}
FAKES: Final[Mapping[str, Callable[[Path, bool], list[bool]]]] = {
    "vtab1k": write_fake_vtab1k,
    "fewshot": write_fake_fewshot,
    "fgvc": write_fake_fgvc,
    "imagenet": write_fake_imagenet,
}
