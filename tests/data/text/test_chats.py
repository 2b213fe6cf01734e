"""Chats: each scored token is of a turn of the assistant, whatever is cut; wrong orders are refused."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from glorabench.backbones.llama_mini import llama_mini_folder
from glorabench.data.text.batches import Collator
from glorabench.data.text.encoding import Encoder
from glorabench.data.text.files.chats import chat_of
from glorabench.data.text.files.reading import TextRow
from glorabench.data.text.task import TextExample, TextSettings
from glorabench.errors import BadInput

TURNS = (("user", "q one?"), ("assistant", "first answer."), ("user", "and two"), ("assistant", "second words"))
CHAT = TextExample("", "first answer.second words", turns=TURNS)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(llama_mini_folder(), local_files_only=True)


def scored_texts(tokenizer: Any, rows: Any, index: int = 0) -> list[str]:
    """The texts of the runs of scored tokens of a row."""
    texts, last = [], -2
    for place in rows.targets(index, with_prompt=False).tolist():
        token = int(rows.row(index)[place])
        texts = [*texts[:-1], [*texts[-1], token]] if place == last + 1 else [*texts, [token]]
        last = place
    return [tokenizer.decode(ids).strip() for ids in texts]


@pytest.mark.parametrize("template", ["vicuna_v1.1", "llama2_chat"])
def test_the_scored_tokens_are_the_turns_of_the_assistant_and_their_ends(tokenizer, template: str) -> None:
    settings = TextSettings(template, 256, None, "response", 8)
    rows = Encoder(tokenizer, "digest", settings, 256).encode([CHAT, TextExample("Be kind.", "a", turns=TURNS)], False)
    for index in range(2):
        texts = scored_texts(tokenizer, rows, index)
        assert [text.removesuffix("</s>").strip() for text in texts] == ["first answer.", "second words"]
        assert all(text.endswith("</s>") for text in texts)
    whole = tokenizer.decode(rows.row(1), skip_special_tokens=True)
    assert "Be kind." in whole
    assert ("A chat between a curious user" in tokenizer.decode(rows.row(0))) == (template == "vicuna_v1.1")
    assert "A chat between" not in whole  # the system text of the chat takes the place of the usual one
    batch = Collator(rows, [CHAT, CHAT], 0)([0, 1])
    assert len(batch.targets) == sum(len(rows.targets(i, with_prompt=False)) for i in range(2))
    every = Collator(rows, [CHAT, CHAT], 0, loss_on_prompt=True)([0, 1])
    assert len(every.targets) == len(rows.tokens) - 2


def test_vicuna_and_llama_2_are_written_as_their_authors_write_them(tokenizer) -> None:
    def text(template: str, example: TextExample) -> str:
        settings = TextSettings(template, 256, None, "response", 8)
        rows = Encoder(tokenizer, "digest", settings, 256).encode([example], False)
        return tokenizer.decode(rows.row(0)).replace("  ", " ")

    vicuna = text("vicuna_v1.1", TextExample("S.", "", turns=TURNS))
    assert vicuna == "<s> S. USER: q one? ASSISTANT: first answer.</s> USER: and two ASSISTANT: second words</s>"
    llama = text("llama2_chat", TextExample("S.", "", turns=TURNS))
    first = "<s> [INST] <<SYS>>\nS.\n<</SYS>>\n\nq one? [/INST] first answer. </s>"
    assert llama == f"{first}<s> [INST] and two [/INST] second words </s>"


@pytest.mark.parametrize(("side", "texts"), [("right", ["first answer. </s>"]), ("left", ["second words </s>"])])
def test_a_long_chat_is_cut_on_the_side_that_is_named(tokenizer, side: str, texts: list[str]) -> None:
    long = TextExample("x", "", turns=(*TURNS[:2], ("user", "word " * 60), *TURNS[3:]))
    none = TextExample("x", "", turns=(("user", "word " * 80), ("assistant", "lost")))
    settings = TextSettings("llama2_chat", 64, side, "response", 8)
    rows = Encoder(tokenizer, "digest", settings, 256).encode([long, none], False)
    assert scored_texts(tokenizer, rows) == texts
    assert max(rows.lengths) == 64
    assert (rows.dropped, len(rows)) == ((1, 1) if side == "right" else (0, 2))  # `lost` is lost
    with pytest.raises(BadInput, match=r"example 0 has 1.. tokens, more than data.max_length=64"):
        Encoder(tokenizer, "digest", TextSettings("llama2_chat", 64, None, "response", 8), 256).encode([long], False)


def row(*turns: tuple[str, str], key: str = "conversations") -> TextRow:
    names = ("from", "value") if key == "conversations" else ("role", "content")
    return TextRow("f.json, entry 0", {"id": "1", key: [dict(zip(names, turn, strict=True)) for turn in turns]})


def test_spellings_of_roles_and_lists_mean_the_same() -> None:
    chats = [
        chat_of(row(("human", "a"), ("gpt", "b"))),
        chat_of(row(("user", "a"), ("assistant", "b"), key="messages")),
        chat_of(row(("gpt", "hello"), ("human", "a"), ("chatgpt", "b"), ("human", "bye"))),  # the frame is left out
    ]
    assert [chat and chat.turns for chat in chats] == [(("user", "a"), ("assistant", "b"))] * 3
    system = chat_of(row(("system", "s"), ("user", "a"), ("assistant", "b"), key="messages"))
    assert system is not None
    assert system.prompt == "s"
    assert chat_of(row(("human", "a"))) is None


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (row(("human", "a"), ("human", "b"), ("gpt", "c")), "turn 1 of the chat is of the user, not of the assistant"),
        (row(("human", "a"), ("gpt", "b"), ("gpt", "c")), "turn 2 of the chat is of the assistant, not of the user"),
        (row(("human", "a"), ("robot", "b")), "turn 1 of the chat has the role 'robot': it must be one of human, user"),
        (row(("human", "a"), ("gpt", " ")), "turn 1 of the chat has an empty text"),
        (TextRow("f.json, entry 0", {"id": 1, "text": "a"}), "no list of turns, .*; its fields are id, text"),
        (TextRow("f.json, entry 0", {"messages": ["a"]}), "turn 0 of the chat is no object"),
    ],
)
def test_a_chat_in_another_order_is_refused(bad: TextRow, words: str) -> None:
    with pytest.raises(BadInput, match=f"f.json, entry 0: {words}"):
        chat_of(bad)
