"""Prompt templates by name. A template never changes; a better one gets a new name, as scores depend on every letter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

TEMPLATES: Final[Mapping[str, str]] = {
    "plain": "{prompt}",
    "question": "Question: {prompt} Answer:",
    "colon": "{prompt} =>",
}
