"""The tables of the embedded suites; their tasks are in data/mini.py and data/text/mini_text.py. Light: no torch."""

from __future__ import annotations

from typing import Final

from glorabench.data.suites.layout import columns_of, layout_with_mean

_TASKS = ("digits", "dsprites_loc", "dsprites_ori", "shapes_count", "shapes_dist")
_SHORTS = "digits|dSpr. loc|dSpr. ori|shapes count|shapes dist"
MINI_LAYOUT: Final = layout_with_mean("mini", columns_of(_TASKS, _SHORTS), "tasks", whole=True)

_TEXT_TASKS = ("gloss_category", "facts", "word_sums", "dialogue", "record_form")
_TEXT_SHORTS = "gloss category|facts|word sums|dialogue|record form"
MINI_TEXT_LAYOUT: Final = layout_with_mean("mini_text", columns_of(_TEXT_TASKS, _TEXT_SHORTS), "tasks", whole=True)
