"""The table layouts of suites, and the layout that fits given records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from glorabench.data.suites.layout import Layout
from glorabench.data.suites.mini import MINI_LAYOUT, MINI_TEXT_LAYOUT
from glorabench.data.suites.registry import SUITES
from glorabench.data.suites.texts import COMMONSENSE_LAYOUT, METAMATHQA_LAYOUT, OPEN_LLM_LAYOUT
from glorabench.records.record import Record

LAYOUTS: Final[Mapping[str, Layout]] = {
    "mini": MINI_LAYOUT,
    "mini_text": MINI_TEXT_LAYOUT,
    "commonsense": COMMONSENSE_LAYOUT,
    "metamathqa": METAMATHQA_LAYOUT,
    "open_llm": OPEN_LLM_LAYOUT,
    **{suite.name: suite.layout for suite in SUITES.values() if suite.layout is not None},
}


def layout_of(records: Iterable[Record]) -> Layout | None:
    """The layout of the suite of all records; None where they share no suite, or fill too few of its columns."""
    records = list(records)
    suites = {r.names["data"] for r in records}
    layout = LAYOUTS.get(str(*suites)) if len(suites) == 1 else None
    tasks = {r.config["data"]["task"] for r in records}
    if layout is None or not tasks <= {column.task for column in layout.columns}:
        return None
    count = sum(column.task in tasks for column in layout.columns)
    return layout if count >= (len(layout.columns) if layout.whole else 2) else None
