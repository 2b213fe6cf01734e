"""Examples as tokens: exact borders, counted truncation, clear refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from glorabench.backbones.llama_mini import llama_mini_folder
from glorabench.data.text.datamodule import LengthBuckets
from glorabench.data.text.encoding import Encoder
from glorabench.data.text.task import TextExample, TextSettings
from glorabench.errors import BadInput

SETTINGS = TextSettings("plain", 16, None, "response", 8)
LONG = TextExample("a b c d e f g h i j k l m n o p q r s t", "the end")


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(llama_mini_folder(), local_files_only=True)


def encoder(tokenizer: PreTrainedTokenizerBase, **settings) -> Encoder:
    return Encoder(tokenizer, "digest", replace(SETTINGS, **settings), 256)


@pytest.mark.parametrize(("side", "first"), [("left", "t"), ("right", "a")])
def test_a_long_prompt_is_cut_on_the_side_that_is_named_and_counted(tokenizer, side: str, first: str) -> None:
    rows = encoder(tokenizer, truncate=side).encode([LONG, TextExample("a", "b")], False)
    assert rows.truncated == 1
    assert rows.lengths.tolist() == [16, 4]
    words = tokenizer.decode(rows.row(0)[1 : rows.prompts[0]]).split()
    assert (words[-1] if side == "left" else words[0]) == first
    assert tokenizer.decode(rows.row(0)[rows.prompts[0] : -1]).strip() == "the end"
    assert rows.row(0)[0] == tokenizer.bos_token_id
    assert rows.row(0)[-1] == tokenizer.eos_token_id


@pytest.mark.parametrize(
    ("settings", "examples", "words"),
    [
        ({}, [TextExample("a", "b"), LONG], "example 1 has 2[0-9] tokens, more than data.max_length=16.*data.truncate"),
        ({"truncate": "left"}, [TextExample("a", LONG.prompt)], "the completion of example 0 alone is longer"),
        ({}, [TextExample("a", "b"), TextExample("a", " ")], "example 1 has an empty completion"),
        ({}, [TextExample("a", ""), TextExample("a", "b")], "example 0 has an empty completion"),
        ({"template": "questio"}, [], "data.template.*question"),
        ({"truncate": "middle"}, [], "data.truncate.*left"),
        ({"max_length": 300}, [], "the backbone reads 256 tokens at most: data.max_length=256"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_fix(tokenizer, settings, examples, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        encoder(tokenizer, **settings).encode(examples, False)


def test_a_tokenizer_without_an_end_is_refused(tokenizer) -> None:
    endless = AutoTokenizer.from_pretrained(llama_mini_folder(), local_files_only=True, eos_token=None)
    endless.eos_token = None
    with pytest.raises(BadInput, match="no token that ends a text"):
        encoder(endless)


def test_rows_of_a_batch_have_similar_lengths_and_every_epoch_another_order() -> None:
    lengths = np.random.default_rng(0).integers(5, 100, 640)
    buckets = LengthBuckets(lengths, 16, seed=3)
    orders = []
    for epoch in range(2):
        buckets.set_epoch(epoch)
        order = list(buckets)
        assert sorted(order) == list(range(640))
        widths = lengths[np.array(order)].reshape(-1, 16)
        assert np.mean(widths.max(1) - widths.min(1)) < 12
        orders.append(order)
    assert orders[0] != orders[1]
    again = LengthBuckets(lengths, 16, seed=3)
    assert list(again) == orders[0]
