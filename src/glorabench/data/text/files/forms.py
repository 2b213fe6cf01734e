"""The forms of texts that circulate: which fields a row has, and the example that they make.

The named forms are those of data sets of papers: Alpaca, ShareGPT, SAMSum, LLM-Adapters' commonsense_170k, MetaMathQA.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from glorabench.data.suites.texts import SETS_OF_COMMONSENSE
from glorabench.data.text.answers import final_number
from glorabench.data.text.files.chats import chat_of
from glorabench.data.text.files.reading import TextRow
from glorabench.data.text.task import TextExample, TextKind
from glorabench.errors import BadInput

TEXT_FIELDS: Final = ("prompt", "completion", "context", "choices", "answer", "text")
METRICS_OF_KIND: Final[Mapping[TextKind, tuple[str, ...]]] = {
    "generation": (
        "exact_match", "token_f1", "rouge_l", "rouge1", "rouge2", "rouge_lsum", "right_number", "right_word", "unparsed"
    ),
    "multiple_choice": ("acc", "acc_norm"),
    "language_modelling": ("loss", "bits_per_byte"),
}  # fmt: skip
_OPTIONS: Final = {
    "true": ("true", "false"),
    "false": ("true", "false"),
    **{f"{word}{n}": tuple(f"{word}{k}" for k in range(1, most + 1))
       for word, most in (("solution", 2), ("answer", 5), ("ending", 4), ("option", 2)) for n in range(1, most + 1)},
}  # fmt: skip
_FORMAT: Final = re.compile(r"Answer format:\s*(\S+)")

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class TextForm:
    """A form of texts.

    Args:
        kinds: what can be asked of a model with it; the first is usual.
        read: the example of a row, from its fields and the kind; None leaves the row out.
        stems: split -> usual places of its file below the root; a test set under one mean is `test/NAME`.
        fields: names of fields that the reading uses, where the user may give others.
    """

    kinds: tuple[TextKind, ...]
    read: Callable[[TextRow, Fields, TextKind], TextExample | None]
    stems: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fields: tuple[str, ...] = ()


def text_cell(row: TextRow, name: str, empty: bool = False) -> str:
    """The text of a field.

    Args:
        row: the row.
        name: of the field.
        empty: whether the text may be empty, or the field missing.

    Raises:
        BadInput: there is no such field, or it holds no text.
    """
    value = row.cells.get(name)
    if value is None and empty:
        return ""
    if name not in row.cells:
        there = ", ".join(f"'{key}'" for key in list(row.cells)[:12]) or "none"
        raise BadInput(f"{row.place}: there is no field '{name}'; the fields are {there}")
    if isinstance(value, bool | int | float):
        value = str(value)
    if not isinstance(value, str):
        raise BadInput(f"{row.place}: the field '{name}' holds no text, but {type(value).__name__}")
    if not (value.strip() or empty):
        raise BadInput(f"{row.place}: the field '{name}' is empty: remove the row or fill it")
    return value


def _own(row: TextRow, fields: Fields, kind: TextKind) -> TextExample:
    """A row with the fields that the user names."""
    if kind == "language_modelling":
        return TextExample("", text_cell(row, fields["text"]))
    prompt, context = text_cell(row, fields["prompt"]), fields.get("context")
    context = text_cell(row, context, empty=True) if context else ""
    if kind == "generation":
        return TextExample(prompt, text_cell(row, fields["completion"]), context=context)
    choices, labels = _choices(row, fields["choices"])
    return TextExample(prompt, choices[_answer(row, fields["answer"], choices, labels)], choices, context=context)


def _choices(row: TextRow, name: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The choices of a row and their labels: a list, {text, label}, a JSON list in a cell, or one field for each.

    Raises:
        BadInput: there are fewer than two, or one is empty or twice there.
    """
    labels: tuple[str, ...] = ()
    if isinstance(name, list | tuple):
        choices: Any = [text_cell(row, str(part)) for part in name]
        labels = tuple(map(str, name))
    else:
        if name not in row.cells:
            text_cell(row, name)
        choices = row.cells[name]
        if isinstance(choices, str):
            try:
                choices = json.loads(choices)
            except ValueError:
                choices = None
        if isinstance(choices, dict):
            labels, choices = tuple(map(str, choices.get("label", ()))), choices.get("text")
    texts = tuple(str(choice) for choice in choices) if isinstance(choices, list) else ()
    if len(texts) < 2 or len(set(texts)) < len(texts) or not all(text.strip() for text in texts):
        raise BadInput(f"{row.place}: '{name}' must be a list of at least two different texts, got {choices!r}"[:300])
    return texts, labels


def _answer(row: TextRow, name: str, choices: tuple[str, ...], labels: tuple[str, ...]) -> int:
    """The place of the right choice: given as its label, its text, its place from 0, or a letter from A.

    Raises:
        BadInput: it is none of the choices.
    """
    key = text_cell(row, name).strip()
    letters = tuple(chr(ord("A") + place) for place in range(len(choices)))
    for keys in (labels, choices, tuple(map(str, range(len(choices)))), letters):
        if key in keys:
            return keys.index(key)
    raise BadInput(
        f"{row.place}: the answer '{key}' is none of the {len(choices)} choices: give its text, its place from 0 to "
        f"{len(choices) - 1}, or a letter from A to {letters[-1]}"
    )


def _alpaca(row: TextRow, _fields: Fields, _kind: TextKind) -> TextExample:
    context = text_cell(row, "input", empty=True)
    return TextExample(text_cell(row, "instruction"), text_cell(row, "output"), context=context)


def _sharegpt(row: TextRow, _fields: Fields, _kind: TextKind) -> TextExample | None:
    return chat_of(row)


def _samsum(row: TextRow, _fields: Fields, _kind: TextKind) -> TextExample | None:
    """A dialogue and its summary. One row of train has no dialogue. Copies differ in line ends: here they are LF."""
    dialogue = text_cell(row, "dialogue", empty="dialogue" in row.cells).replace("\r\n", "\n")
    return TextExample(dialogue, text_cell(row, "summary")) if dialogue.strip() else None


def _commonsense(row: TextRow, _fields: Fields, kind: TextKind) -> TextExample:
    """A question of LLM-Adapters. Generated text names an option; likelihoods rank the sentences of all options."""
    prompt, answer = text_cell(row, "instruction"), text_cell(row, "answer").strip()
    if answer not in _OPTIONS:
        raise BadInput(f"{row.place}: the answer '{answer}' is none of true, false, solution1, answer1 and their like")
    context, completion = text_cell(row, "input", empty=True), text_cell(row, "output")
    if kind == "generation":
        return TextExample(prompt, completion, _OPTIONS[answer], (answer,), context)
    named = _FORMAT.search(prompt)
    options = tuple(named[1].split("/")) if named else _OPTIONS[answer]
    if answer not in options:
        raise BadInput(f"{row.place}: the answer '{answer}' is none of the choices {', '.join(options)}")
    sentences = {option: f"the correct answer is {option}" for option in options}
    return TextExample(prompt, sentences[answer], tuple(sentences.values()), (answer,), context)


def _metamathqa(row: TextRow, _fields: Fields, _kind: TextKind) -> TextExample:
    """A row of MetaMathQA (query, response), or of GSM8K (question, answer), whose answer must end with a number."""
    if "query" in row.cells:
        response = text_cell(row, "response")
        return TextExample(text_cell(row, "query"), response, needed=(final_number(response) or "",))
    answer = text_cell(row, "answer")
    number = final_number(answer)
    if number is None:
        raise BadInput(f"{row.place}: the answer has no number after '####' or 'The answer is'")
    return TextExample(text_cell(row, "question"), answer, needed=(number,))


def _plain(row: TextRow, fields: Fields, _kind: TextKind) -> TextExample | None:
    text = text_cell(row, fields["text"], empty=fields["text"] in row.cells)
    return TextExample("", text) if text.strip() else None


_GSM8K: Final = ("gsm8k", "gsm8k/main", "grade_school_math/data")
TEXT_FORMS: Final[Mapping[str, TextForm]] = {
    "text": TextForm(("generation", "multiple_choice", "language_modelling"), _own, fields=TEXT_FIELDS),
    "alpaca": TextForm(
        ("language_modelling", "generation"),
        _alpaca,
        {"train": ("alpaca_data", "alpaca_data_cleaned", "alpaca_data_cleaned_archive")},
    ),
    "sharegpt": TextForm(("language_modelling",), _sharegpt),
    "samsum": TextForm(("generation",), _samsum),
    "commonsense": TextForm(
        ("generation", "multiple_choice"),
        _commonsense,
        {
            "train": ("ft-training_set/commonsense_170k", "commonsense_170k"),
            **{f"test/{name}": (f"dataset/{name}/test", f"{name}/test") for name in SETS_OF_COMMONSENSE},
        },
    ),
    "metamathqa": TextForm(
        ("generation",),
        _metamathqa,
        {
            "train": ("MetaMathQA-395K", "MetaMathQA/MetaMathQA-395K"),
            "val": tuple(f"{folder}/train" for folder in _GSM8K),
            "test": tuple(f"{folder}/test" for folder in _GSM8K),
        },
    ),
    "pretrain_text": TextForm(("language_modelling",), _plain, fields=("text",)),
}
