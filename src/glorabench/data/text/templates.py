"""Prompt templates by name. A template never changes: scores depend on every letter. A better one gets a new name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

TEMPLATES: Final[Mapping[str, str]] = {
    "plain": "{prompt}",
    "question": "Question: {prompt} Answer:",
    "colon": "{prompt} =>",
}
