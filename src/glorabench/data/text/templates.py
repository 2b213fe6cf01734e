"""Prompt templates by name. A template never changes: scores depend on every letter. A better one gets a new name.

Several templates are called Alpaca in the literature. They differ in blanks and line ends, so each has its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from glorabench.data.text.task import TextExample
from glorabench.errors import BadInput


@dataclass(frozen=True)
class Template:
    """How an example is put into words.

    Args:
        prompt: the text before a completion, with a place `{prompt}`.
        with_context: the same where an example has a context, with a further place `{context}`; empty puts the
            context on a line of its own after the prompt.
        user, assistant: the text of a turn of a chat, with a place `{text}`; empty where the template is not for chats.
        first: the first turn of the user in a chat with a system text, with the places `{system}` and `{text}`.
        default_system: the system text of a chat that has none; empty leaves the system out.
        blank: a blank stands before each turn of the assistant; a tokenizer that writes one anyway gets none.
        restarts: each turn of the user begins with the token that begins a text.
    """

    prompt: str
    with_context: str = ""
    user: str = ""
    assistant: str = "{text}"
    first: str = ""
    default_system: str = ""
    blank: bool = False
    restarts: bool = False

    def render(self, example: TextExample) -> str:
        """The text before the completion of an example; empty where it has no prompt."""
        if not example.prompt:
            return ""
        if not example.context:
            return self.prompt.format(prompt=example.prompt)
        if self.with_context:
            return self.with_context.format(prompt=example.prompt, context=example.context)
        return self.prompt.format(prompt=f"{example.prompt}\n{example.context}")

    def turn(self, role: str, text: str, system: str | None = None) -> str:
        """The text of a turn of a chat.

        Args:
            role: user or assistant.
            text: of the turn.
            system: of the chat, at its first turn; None at later ones.
        """
        if role == "assistant":
            return self.assistant.format(text=text)
        system = self.default_system if system == "" else system
        return self.first.format(system=system, text=text) if system else self.user.format(text=text)


_WITH: Final = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)
_WITHOUT: Final = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
)
_INDENT: Final = " " * 16


def _alpaca(gap: str, end: str, tail: str = "") -> Template:
    """A template of Alpaca.

    Args:
        gap: what begins each line after the first.
        end: what follows the last colon.
        tail: what follows the first sentence where there is no context.
    """
    instruction = f"\n\n{gap}### Instruction:\n{gap}{{prompt}}\n\n"
    response = f"{gap}### Response:{end}"
    context = f"{gap}### Input:\n{gap}{{context}}\n\n"
    return Template(f"{_WITHOUT}{tail}{instruction}{response}", f"{_WITH}{instruction}{context}{response}")


_VICUNA: Final = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)

TEMPLATES: Final[Mapping[str, Template]] = {
    "plain": Template("{prompt}"),
    "question": Template("Question: {prompt} Answer:"),
    "colon": Template("{prompt} =>"),
    "alpaca_stanford": _alpaca("", ""),  # train.py of stanford_alpaca, LLaMA-Adapter, lit-llama
    "alpaca_lora": _alpaca("", "\n"),  # templates/alpaca.json of alpaca-lora
    "llm_adapters": _alpaca(_INDENT, f"\n{_INDENT}", " "),  # finetune.py and commonsense_evaluate.py of LLM-Adapters
    "samsum": Template("Summarize this dialogue:\n{prompt}\n---\nSummary:\n"),  # torchtune's SummarizeTemplate
    "metamath": Template("Question: {prompt} Think step by step.\nAnswer:"),  # peft's method_comparison/MetaMathQA
    "vicuna_v1.1": Template(  # FastChat's conversation.py
        f"{_VICUNA} USER: {{prompt}} ASSISTANT:",
        user="USER: {text} ASSISTANT:",
        first="{system} USER: {text} ASSISTANT:",
        default_system=_VICUNA,
        blank=True,
    ),
    "llama2_chat": Template(  # llama/generation.py of Llama 2
        "[INST] {prompt} [/INST]",
        user="[INST] {text} [/INST]",
        assistant="{text} ",
        first="[INST] <<SYS>>\n{system}\n<</SYS>>\n\n{text} [/INST]",
        blank=True,
        restarts=True,
    ),
}


def chat_template(name: str) -> Template:
    """A template that is for chats.

    Raises:
        BadInput: this one is not.
    """
    if not TEMPLATES[name].user:
        names = [key for key, template in TEMPLATES.items() if template.user]
        raise BadInput(f"data.template={name} is not for chats: choose {' or '.join(names)}")
    return TEMPLATES[name]
