"""Several test sets under one mean, and long texts in several rows: what a record gets is the right mean."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, PreTrainedTokenizerBase

from glorabench.backbones.llama import Llama
from glorabench.backbones.llama_mini import llama_mini_folder
from glorabench.data.text.batches import Collator
from glorabench.data.text.datamodule import TextData
from glorabench.data.text.encoding import Encoder, fingerprint_of_examples
from glorabench.data.text.task import TextExample, TextSettings, TextTask
from glorabench.errors import BadInput
from glorabench.records.metrics import Metric
from glorabench.training.objectives.language import SET_MEAN, Generation, LanguageModelling, MultipleChoice


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(llama_mini_folder(), local_files_only=True)


@pytest.fixture(scope="module")
def net() -> Llama:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=2048, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256,
    )  # fmt: skip
    return Llama(config).double().eval()


def test_the_mean_over_sets_weighs_each_set_alike() -> None:
    objective = MultipleChoice(["acc", "acc_norm"], ["small", "large"])
    right = torch.tensor([True, False, True, True, True])
    sets = torch.tensor([0, 0, 1, 1, 1])
    values = objective.whole_split({"acc": right, "acc_norm": right}, {"set": sets})
    assert values[SET_MEAN].mean().item() == pytest.approx((1 / 2 + 3 / 3) / 2)
    assert values["small/accuracy"].tolist() == [True, False]
    assert values["large/accuracy"].tolist() == [True, True, True]
    assert [m.name for m in objective.metrics] == [SET_MEAN, "acc", "acc_norm", "small/accuracy", "large/accuracy"]
    assert objective.metrics[0] == Metric(SET_MEAN, "mean accuracy of 2 sets", per_example="reals")


def test_without_sets_nothing_is_added(tokenizer: PreTrainedTokenizerBase) -> None:
    assert Generation(["right_word"], tokenizer, 4).whole_split({}, {}) == {}
    assert [m.name for m in Generation(["right_word", "unparsed"], tokenizer, 4).metrics] == ["right_word", "unparsed"]


@pytest.mark.parametrize("protocol", ["generation", "multiple_choice"])
def test_each_example_is_of_the_set_that_it_names(net: Llama, tokenizer, protocol: str) -> None:
    examples = [
        TextExample(f"q{n}", "the answer is true", ("the answer is true", "the answer is false"), ("true",), group=name)
        for n, name in enumerate(("a", "b", "b"))
    ]
    settings = TextSettings("plain", 64, None, "response", 4, num_beams=2)
    is_choice = protocol == "multiple_choice"
    encoded = Encoder(tokenizer, "", settings, 256).encode(examples, is_choice)
    batch = Collator(encoded, examples, 0, with_prompts=not is_choice)(range(len(encoded)))
    generation = Generation(["right_word", "unparsed"], tokenizer, 4, 2, ["a", "b"])
    objective = MultipleChoice(["acc"], ["a", "b"]) if is_choice else generation
    evaluation = objective.evaluate(net, batch)
    assert evaluation.predictions["set"].tolist() == [0, 1, 1]
    assert evaluation.values[SET_MEAN].dtype == torch.float64
    if not is_choice:  # a random network names no option
        assert evaluation.values["unparsed"].all()
        assert not evaluation.values["right_word"].any()


def test_a_long_text_in_several_rows_is_scored_once_and_whole(net: Llama, tokenizer, tmp_path: Path) -> None:
    texts = ["word " * 90, "a short one", "more and more " * 30]
    examples = [TextExample("", text) for text in texts]
    settings = TextSettings("plain", 32, "split", "all", 1)
    rows = Encoder(tokenizer, "", settings, 256).encode(examples, False)
    assert max(rows.lengths) == 32
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    for owner, tokens in enumerate(ids):  # no token is lost, and each row begins a text
        parts = [rows.row(n).tolist() for n in range(len(rows)) if rows.owners[n] == owner]
        assert [part[0] for part in parts] == [tokenizer.bos_token_id] * len(parts)
        assert [token for part in parts for token in part[1:]] == [*tokens, tokenizer.eos_token_id]
    objective = LanguageModelling(["bits_per_byte", "loss"])
    batch = Collator(rows, examples, 0)(range(len(rows)))
    got = objective.evaluate(net, batch).values
    for owner, tokens in enumerate(ids):
        alone = Collator(rows, examples, 0)([n for n in range(len(rows)) if rows.owners[n] == owner])
        nats = objective.loss(net, alone).item() * (len(tokens) + 1)
        bits = nats / math.log(2) / len(texts[owner].encode())
        assert got["bits_per_byte"][owner].item() == pytest.approx(bits, abs=1e-5)
        assert got["loss"][owner].item() == pytest.approx(objective.loss(net, alone).item(), abs=1e-5)
    packed = Collator(rows, examples, 0, pack=64)(range(len(rows)))
    assert objective.loss(net, packed).item() == pytest.approx(objective.loss(net, batch).item(), abs=1e-5)


def test_what_is_cut_to_nothing_is_left_out_and_counted(tokenizer, tmp_path: Path) -> None:
    examples = [TextExample("word " * 60, "lost"), TextExample("a", "kept"), TextExample("word " * 29, "is cut here")]
    settings = TextSettings("plain", 32, "end", "response", 1)
    splits = dict.fromkeys(("train", "val", "trainval", "test"), examples)
    fingerprint = fingerprint_of_examples(splits)
    task = TextTask(
        "s", "t", "g", "language_modelling", ("loss",), splits, fingerprint, settings, str(tmp_path), {"fake": False}
    )  # fmt: skip
    data = TextData(
        task, Encoder(tokenizer, "digest", settings, 256), fit_on="trainval", report_on="test", batch_size=2,
        eval_batch_size=2, seed=0,
    )  # fmt: skip
    (batch,) = data.evaluation_batches("test")
    assert [example.completion for example in batch.examples] == ["kept", "is cut here"]
    assert data.facts()["dropped"] == {"trainval": 1, "test": 1}
    assert data.facts()["truncated"] == {"trainval": 1, "test": 1}
    again = TextData(
        task, Encoder(tokenizer, "digest", settings, 256), fit_on="trainval", report_on="test", batch_size=2,
        eval_batch_size=2, seed=0,
    )  # fmt: skip
    assert again.facts() == data.facts()  # out of the cache


def test_only_texts_without_a_prompt_are_divided(tokenizer: PreTrainedTokenizerBase) -> None:
    encoder = Encoder(tokenizer, "", TextSettings("plain", 32, "split", "all", 1), 256)
    with pytest.raises(BadInput, match=r"example 0 has a prompt: data.truncate=left, right or end"):
        encoder.encode([TextExample("p", "c")], False)


def test_where_ends_are_cut_what_is_asked_stays_whole(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    example = TextExample("word " * 40 + "end", "yes", ("yes", "no"))
    encoder = Encoder(tokenizer, "", TextSettings("plain", 32, "end", "response", 4), 256)
    choices = encoder.encode([example], all_choices=True)
    assert [tokenizer.decode(choices.row(n)).split()[-2:] for n in range(2)] == [["end", "yes"], ["end", "no"]]
    assert (choices.lengths.max(), choices.truncated) == (32, 2)
    asked = encoder.encode([example], all_choices=False, whole=True)
    assert tokenizer.decode(asked.row(0)).split()[1:] == [*["word"] * 40, "end", "yes</s>"]
    assert encoder.encode([example, TextExample("a", "b")], all_choices=False).dropped == 1
