"""What scores look for in a text: the choice that it names first, the number that it ends with, its sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

SENTENCE_END: Final = r"(?<=[.!?])\s+"  # where ROUGE-Lsum divides a text into sentences

# GSM8K marks its answer with "####", MetaMathQA with "The answer is:"; the mark that stands last counts
_MARKS: Final = re.compile(r"####|[Tt]he (?:final )?answer is:?")
_NUMBER: Final = re.compile(r"-?\$?\d[\d,]*(?:\.\d+)?(?:/\d+)?")


def named_choice(text: str, choices: Sequence[str]) -> str | None:
    """The choice that occurs first in a text; None if none does. Case matters, as in the code of LLM-Adapters."""
    match = re.search("|".join(map(re.escape, choices)), text)
    return match and match[0]


def final_number(text: str) -> str | None:
    """The first number after the last mark of an answer, in a plain form; None if there is no mark or no number.

    A dollar sign and commas between thousands are left out, and so are zeros at the end of decimals: `$1,200.50` is
    `1200.5`.
    """
    marks = list(_MARKS.finditer(text))
    match = _NUMBER.search(text, marks[-1].end()) if marks else None
    if match is None:
        return None
    number = match[0].replace("$", "").replace(",", "")
    return number.rstrip("0").rstrip(".") if "." in number else number
