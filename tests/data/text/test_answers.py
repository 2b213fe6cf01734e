"""Answers in a text."""

from __future__ import annotations

import pytest

from glorabench.data.text.answers import final_number, named_choice
from glorabench.data.text.task import TextExample
from glorabench.training.objectives.text_scores import score_text


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("5 + 7 = 12\n#### 12", "12"),
        ("so she pays $1,200.50.\n#### $1,200.50", "1200.5"),
        ("We get 3. #### 4\nThe answer is: 4", "4"),
        ("The answer is 8 apples.", "8"),
        ("the answer is: -3.00", "-3"),
        ("The final answer is 50%.", "50"),
        ("The answer is 3/4", "3/4"),
        ("#### 7 The answer is: 9 Question: 10", "9"),
        ("it is 12", None),
        ("The answer is: none", None),
        ("", None),
    ],
)
def test_the_number_after_the_last_mark_counts(text: str, number: str | None) -> None:
    assert final_number(text) == number


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("the correct answer is answer2", "answer2"),
        ("answer3 answer1", "answer3"),
        ("Answer1", None),  # case matters in the code of LLM-Adapters, too
        ("none of them", None),
    ],
)
def test_the_first_choice_in_a_text_counts(text: str, choice: str | None) -> None:
    assert named_choice(text, [f"answer{n}" for n in range(1, 6)]) == choice


def test_what_has_no_answer_is_wrong_and_counted() -> None:
    of_choice = TextExample("q", "the correct answer is true", ("true", "false"), ("true",))
    of_number = TextExample("q", "#### 4", needed=("4",))
    got = [(score_text(name, text, e)) for e, text in ((of_choice, "it is false"), (of_choice, "yes"), (of_number, "4"),
           (of_number, "#### 4.0"), (of_choice, "true")) for name in ("right_word", "unparsed")]  # fmt: skip
    assert got == [False, False, False, True, False, True, True, False, True, False]
