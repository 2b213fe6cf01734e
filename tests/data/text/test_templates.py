"""Templates give, letter for letter, what the codes that they are named after give."""

from __future__ import annotations

import pytest

from glorabench.data.text.task import TextExample
from glorabench.data.text.templates import TEMPLATES

PLAIN, WITH = TextExample("Do it.", "x"), TextExample("Do it.", "x", context="This.")
SHORT = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
LONG = (
    "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
    "response that appropriately completes the request."
)
ADAPTERS = f"""{SHORT}{" "}

                ### Instruction:
                Do it.

                ### Response:
                """
ADAPTERS_WITH = f"""{LONG}

                ### Instruction:
                Do it.

                ### Input:
                This.

                ### Response:
                """


@pytest.mark.parametrize(
    ("name", "example", "text"),
    [
        ("alpaca_stanford", PLAIN, f"{SHORT}\n\n### Instruction:\nDo it.\n\n### Response:"),
        ("alpaca_stanford", WITH, f"{LONG}\n\n### Instruction:\nDo it.\n\n### Input:\nThis.\n\n### Response:"),
        ("alpaca_lora", PLAIN, f"{SHORT}\n\n### Instruction:\nDo it.\n\n### Response:\n"),
        ("alpaca_lora", WITH, f"{LONG}\n\n### Instruction:\nDo it.\n\n### Input:\nThis.\n\n### Response:\n"),
        ("llm_adapters", PLAIN, ADAPTERS),
        ("llm_adapters", WITH, ADAPTERS_WITH),
        ("samsum", PLAIN, "Summarize this dialogue:\nDo it.\n---\nSummary:\n"),
        ("metamath", PLAIN, "Question: Do it. Think step by step.\nAnswer:"),
        ("llama2_chat", PLAIN, "[INST] Do it. [/INST]"),
        ("question", PLAIN, "Question: Do it. Answer:"),
        ("plain", WITH, "Do it.\nThis."),
        ("plain", TextExample("", "x"), ""),
        ("samsum", TextExample("a {b} {prompt}", "x"), "Summarize this dialogue:\na {b} {prompt}\n---\nSummary:\n"),
    ],
)
def test_a_template_is_that_of_its_code(name: str, example: TextExample, text: str) -> None:
    assert TEMPLATES[name].render(example) == text


def test_no_two_alpacas_are_alike() -> None:
    names = ("alpaca_stanford", "alpaca_lora", "llm_adapters")
    assert len({TEMPLATES[name].render(PLAIN) for name in names}) == len(names)
