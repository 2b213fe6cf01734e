"""The table of the embedded suite; its tasks are in data/mini.py. Light: no torch."""

from __future__ import annotations

from typing import Final

from glorabench.data.suites.layout import columns_of, layout_with_mean

_TASKS = ("digits", "dsprites_loc", "dsprites_ori", "shapes_count", "shapes_dist")
_SHORTS = "digits|dSpr. loc|dSpr. ori|shapes count|shapes dist"
MINI_LAYOUT: Final = layout_with_mean("mini", columns_of(_TASKS, _SHORTS), "tasks", whole=True)
