"""Scores of a generated text against what it should be: exact match, ROUGE, the F1 of tokens, needed words."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Final

from glorabench.data.text.answers import SENTENCE_END, final_number, named_choice
from glorabench.data.text.task import TextExample
from glorabench.records.metrics import Metric

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer

_ROUGES: Final = {"rouge1": "rouge1", "rouge2": "rouge2", "rouge_l": "rougeL", "rouge_lsum": "rougeLsum"}
TEXT_METRICS: Final = {
    metric.name: metric
    for metric in (
        Metric("exact_match", "exact match"),
        Metric("needed_words", "needed words"),
        Metric("right_word", "right answer"),
        Metric("right_number", "right number"),
        Metric("unparsed", "unparsed answers", higher_is_better=False),
        Metric("token_f1", "token F1", per_example="reals"),
        Metric("rouge1", "ROUGE-1", per_example="reals"),
        Metric("rouge2", "ROUGE-2", per_example="reals"),
        Metric("rouge_l", "ROUGE-L", per_example="reals"),
        Metric("rouge_lsum", "ROUGE-Lsum", per_example="reals"),
        Metric("acc", "accuracy"),
        Metric("acc_norm", "normalised accuracy"),
        Metric("loss", "loss", unit="nats/token", higher_is_better=False, high=None, per_example="reals"),
        Metric("bits_per_byte", "bits per byte", unit="", higher_is_better=False, high=None, per_example="reals"),
    )
}


def score_text(metric: str, text: str, example: TextExample) -> float | bool:
    """What a generated text gets.

    ROUGE is the F1 of the package rouge-score with its stemmer; for ROUGE-Lsum a sentence ends at a full stop, question
    mark or exclamation mark before a blank. Token F1 is that of the words without case and punctuation.

    Args:
        metric: exact_match, needed_words, right_word, right_number, unparsed, token_f1, rouge1, rouge2, rouge_l or
            rouge_lsum. `right_word`: the first of the words `choices` in the text is the needed one. `right_number`:
            the number that the text gives as its answer is the needed one. `unparsed`: there is no such word or number.
        text: what was generated.
        example: what was asked, and the right completion.
    """
    if metric == "exact_match":
        return text.split() == example.completion.split()
    if metric == "needed_words":
        words = set(_words(text))
        return all(word.lower() in words for word in example.needed)
    if metric in ("right_word", "right_number", "unparsed"):
        answer = named_choice(text, example.choices) if example.choices else final_number(text)
        return answer is None if metric == "unparsed" else answer == example.needed[0]
    if metric == "token_f1":
        return _token_f1(_words(text), _words(example.completion))
    sides = (example.completion, text)
    if metric == "rouge_lsum":
        sides = tuple("\n".join(re.split(SENTENCE_END, side)) for side in sides)
    return _scorer(_ROUGES[metric]).score(*sides)[_ROUGES[metric]].fmeasure


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _token_f1(words: list[str], right: list[str]) -> float:
    common = sum((Counter(words) & Counter(right)).values())
    return 2 * common / (len(words) + len(right)) if common else 0.0


@cache
def _scorer(name: str) -> RougeScorer:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer([name], use_stemmer=True)
