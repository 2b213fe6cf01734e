"""Scores of texts: golden pairs, and the package rouge-score."""

from __future__ import annotations

import pytest

from glorabench.data.text.task import TextExample
from glorabench.training.objectives.text_scores import score_text


@pytest.mark.parametrize(
    ("metric", "text", "right", "value"),
    [
        ("exact_match", " a  b ", "a b", True),
        ("exact_match", "A b", "a b", False),
        ("token_f1", "The cat sat.", "the cat", 0.8),
        ("token_f1", "", "the cat", 0.0),
        ("rouge1", "cats sit here", "the cat sits here", 2 * 3 / 7),  # stemmed: cat, sit, here
        ("rouge2", "cats sit here", "the cat sits here", 2 * 2 / 5),
        ("rouge_l", "here cats sit", "the cat sits here", 2 * 2 / 7),
        ("rouge_l", "", "the cat", 0.0),
        ("rouge_lsum", "A dog ran. The cat sat.", "The cat sat. A dog ran.", 1.0),  # sentence by sentence
    ],
)
def test_golden_pairs(metric: str, text: str, right: str, value: float) -> None:
    assert score_text(metric, text, TextExample("", right)) == pytest.approx(value)


def test_needed_words_are_words() -> None:
    example = TextExample("", "", needed=("Ben", "cat"))
    assert score_text("needed_words", "ben's CAT.", example)
    assert not score_text("needed_words", "Ben has cats", example)
