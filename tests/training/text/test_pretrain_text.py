"""The recipe of `llama_mini`: what a step reads, going on after a stop, and that the shipped files are of this code."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from glorabench.backbones.llama import Llama
from glorabench.backbones.llama_mini import LLAMA_MINI, llama_mini_folder
from glorabench.checksum import ASSETS, sha256_of
from glorabench.config.compose import compose
from glorabench.data.text.tokenizer import tokenizer_digest, train_tokenizer
from glorabench.data.text.upstream import MIXTURES, documents
from glorabench.training import pretrain_text
from glorabench.training.measure.text_skills import measure_skills
from glorabench.training.pretrain_text import IGNORED, TextRecipe, TextStage, draw_rows, pretrain_llama

TINY = TextRecipe(
    steps=4, rows=3, length=32, stages=(TextStage(2, 1, 8, "broad"), TextStage(4, 0, 8, "facts")), warmup=1
)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tokenizer of few documents, a network of one layer, and skills that cost nothing."""
    monkeypatch.setattr(pretrain_text, "_TOKENIZER_DOCUMENTS", 2000)
    monkeypatch.setitem(LLAMA_MINI, "num_hidden_layers", 1)
    monkeypatch.setitem(LLAMA_MINI, "hidden_size", 16)
    monkeypatch.setitem(LLAMA_MINI, "intermediate_size", 16)


@pytest.mark.campaign
def test_a_training_that_was_stopped_goes_on_with_the_same_numbers(tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    expected = pretrain_llama(whole, recipe=TINY, every=2)
    pretrain_llama(stopped, recipe=replace(TINY, steps=2, decay=0.0), every=2)
    assert torch.load(stopped / "pretraining.ckpt", weights_only=True)["step"] == 2
    # the rate of the first steps does not depend on the number of steps, so this is where a kill after step 2 leaves it
    record = pretrain_llama(stopped, recipe=replace(TINY, decay=0.25), every=2)
    assert record["sha256"] == expected["sha256"]
    assert record["upstream"] == expected["upstream"]


def test_labels_are_what_can_be_predicted() -> None:
    tokenizer = train_tokenizer(islice(documents(Random(0), MIXTURES["broad"]), 500), 400)
    tokens, labels = draw_rows(tokenizer, replace(TINY, length=64), seed=0, step=0)
    assert tokens.shape == labels.shape == (3, 65)
    assert torch.equal(tokens[:2], labels[:2])
    period = int((labels[2] == IGNORED).sum())
    assert 4 <= period <= 8
    assert torch.equal(tokens[2, period:], tokens[2, :-period])
    again, _ = draw_rows(tokenizer, replace(TINY, length=64), seed=0, step=0)
    other, _ = draw_rows(tokenizer, replace(TINY, length=64), seed=0, step=1)
    assert torch.equal(tokens, again)
    assert not torch.equal(tokens, other)


def test_the_shipped_folder_is_the_one_on_record() -> None:
    record = json.loads((ASSETS / "llama_mini.json").read_text())
    assert sha256_of(llama_mini_folder()) == record["sha256"]
    files = {path.name: path.stat().st_size for path in llama_mini_folder().iterdir()}
    assert files["model.safetensors"] < 6e6
    assert files["tokenizer.json"] < 2e5
    tensors = load_file(llama_mini_folder() / "model.safetensors")
    assert sum(tensor.numel() for tensor in tensors.values()) == record["parameters"]
    recipe = TextRecipe(
        **{**record["recipe"], "stages": tuple(TextStage(**stage) for stage in record["recipe"]["stages"])}
    )
    assert recipe == TextRecipe()


def test_the_shipped_tokenizer_is_trained_on_the_texts_of_this_code() -> None:
    texts = islice(documents(Random("0/tokenizer"), MIXTURES["broad"]), 60_000)
    shipped = AutoTokenizer.from_pretrained(llama_mini_folder(), local_files_only=True)
    assert train_tokenizer(texts, 2048).backend_tokenizer.to_str() == shipped.backend_tokenizer.to_str()
    assert len(tokenizer_digest(shipped)) == 64


def test_the_shipped_weights_have_the_skills_on_record() -> None:
    record = json.loads((ASSETS / "llama_mini.json").read_text())["upstream"]
    net = Llama.from_pretrained(llama_mini_folder(), local_files_only=True, dtype=torch.float32)
    skills = measure_skills(net, AutoTokenizer.from_pretrained(llama_mini_folder(), local_files_only=True))
    assert vars(skills) == pytest.approx(record, abs=0.01)
    assert skills.copying > 0.9
    assert skills.facts > 0.8
    assert skills.sums > 0.7


def test_the_config_describes_the_network_that_ships() -> None:
    shipped = json.loads((llama_mini_folder() / "config.json").read_text())
    node = compose(["backbone=llama_mini", "data=mini_text", "train=mini_text"])["backbone"]["model_args"]
    assert {key: shipped[key] for key in node} == node
