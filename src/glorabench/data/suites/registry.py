"""Every suite on disk by name, and who writes fake data for it. Light: no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from glorabench.data.suites import fewshot, fgvc, imagenet, vtab1k
from glorabench.data.suites.suite import Suite

SUITES: Final[Mapping[str, Suite]] = {each.SUITE.name: each.SUITE for each in (vtab1k, fewshot, fgvc, imagenet)}
FAKES: Final[Mapping[str, Callable[[Path, bool], list[bool]]]] = {
    "vtab1k": vtab1k.fake,
    "fewshot": fewshot.fake,
    "fgvc": fgvc.fake,
    "imagenet": imagenet.fake,
}
