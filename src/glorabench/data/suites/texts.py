"""The tables of data sets of texts; their files are read in data/text/files. Light: no torch."""

from __future__ import annotations

from typing import Final

from glorabench.data.suites.layout import Column, Layout, columns_of, layout_with_mean

SETS_OF_COMMONSENSE: Final = (
    "boolq", "piqa", "social_i_qa", "hellaswag", "winogrande", "ARC-Easy", "ARC-Challenge", "openbookqa"
)  # fmt: skip
_SHORTS: Final = "BoolQ|PIQA|SIQA|HellaS.|WinoG.|ARC-e|ARC-c|OBQA"


def _with_unparsed(layout: Layout, task: str) -> Layout:
    """A layout with a further column: the share of answers in which no answer was recognised."""
    unparsed = Column("unparsed", "un- parsed", task, "unparsed")
    notes = f"{layout.notes}; unparsed: generated answers in which none was recognised, which count as wrong"
    return Layout((*layout.blocks, (unparsed,)), notes, layout.row_keys, layout.whole)


_SETS: Final = [
    Column(name, short, "commonsense", f"{name}/accuracy")
    for name, short in zip(SETS_OF_COMMONSENSE, _SHORTS.split("|"), strict=True)
]
COMMONSENSE_LAYOUT: Final = _with_unparsed(layout_with_mean("commonsense", _SETS, "sets", whole=True), "commonsense")
METAMATHQA_LAYOUT: Final = _with_unparsed(
    Layout(((Column("gsm8k", "GSM8K", "metamathqa"),),), "GSM8K: after training on MetaMathQA", whole=True),
    "metamathqa",
)
OPEN_LLM_LAYOUT: Final = layout_with_mean(
    "open_llm",
    columns_of(("arc", "hellaswag", "mmlu", "truthfulqa"), "ARC 25|HellaS. 10|MMLU 5|Truthf. 0"),
    "benchmarks of the Open LLM Leaderboard of 2023, each with its number of shots",
    whole=True,
)
