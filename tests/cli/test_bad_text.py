"""What is wrong with text, a tokenizer or their settings: one line, exit code 2, and nothing in the results folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from glorabench import cli
from glorabench.backbones.llama_mini import llama_mini_folder
from glorabench.config.compose import compose
from glorabench.data.text.datamodule import check_choices
from glorabench.data.text.encoding import Encoder
from glorabench.data.text.task import TextExample, TextSettings
from glorabench.data.text.tokenizer import train_tokenizer
from glorabench.errors import BadInput
from glorabench.training.build import check_run

pytestmark = pytest.mark.usefixtures("cache")
BASE = ["backbone=llama_mini", "data=mini_text", "train=mini_text", "data.task=facts", "train.epochs=1"]
OTHER_MODEL = "it is of another model; give the folder of the right one with backbone.tokenizer_from=PATH"


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The line that a command is refused with; the tracker is the usual one, and it too leaves nothing."""

    def check(*words: str) -> str:
        results = tmp_path / "results"
        assert cli.main(["run", *BASE, "progress=none", *words, f"results_dir={results}"]) == 2
        out = capsys.readouterr()
        assert out.err.startswith("glorabench: ")
        assert out.err.count("\n") == 1
        assert not [path for path in results.rglob("*") if path.is_file()]
        return out.err

    return check


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "data.max_length=20",
            "example 0 has 23 tokens, more than data.max_length=20: raise it, or let prompts be cut",
        ),
        ("data.max_length=257", "the backbone reads 256 tokens at most: data.max_length=256"),
        ("method=vpt_shallow data.max_length=250", "reads 246 tokens at most: data.max_length=246"),
        ("method=vpt_shallow data.pack=true", "in front of the first alone: data.pack=false"),
        ("data.task=record_form data.max_new_tokens=250", "has room for 216 tokens: data.max_new_tokens=216"),
        ("data.template=quest", "data.template 'quest'; did you mean 'question'?"),
        ("data.loss_on=prompt", "data.loss_on 'prompt'"),
        (
            "data=mini train=mini data.task=digits",
            "digits has images, backbone llama_mini reads tokens: choose vit_mini",
        ),
        ("backbone=vit_mini", "facts has tokens, backbone vit_mini reads images: choose llama_mini"),
    ],
)
def test_settings_that_cannot_work(refused: Callable[..., str], words: str, message: str) -> None:
    assert message in refused(*words.split())


def changed_folder(folder: Path, file: str, change: Any) -> list[str]:
    """The words for a copy of llama_mini in which one file is another."""
    shutil.copytree(llama_mini_folder(), folder)
    path = folder / file
    if callable(change):
        path.write_text(change(path.read_text()))
    else:
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    return [f"backbone.weights_from={folder}", f"backbone.tokenizer_from={folder}"]


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("tokenizer_config.json", {"eos_token": None}, "no token that ends a text (eos): set eos_token in tokenizer"),
        ("tokenizer_config.json", {"eos_token": "<s>"}, "ends a text with token 1, but config.json of the network"),
        ("tokenizer_config.json", {"eos_token": "<s>"}, f"eos_token_id 2: {OTHER_MODEL}, or mend config.json"),
        ("config.json", {"bos_token_id": 5}, "begins a text with token 1, but config.json of the network says bos_"),
        ("config.json", {"eos_token_id": [3, 5]}, "says eos_token_id [3, 5]: it is of another model"),
        ("tokenizer.json", lambda text: text[:5000], "holds no tokenizer that can be read"),
        ("tokenizer_config.json", lambda text: '{"eos_token": ', "holds no tokenizer that can be read"),
        ("config.json", lambda text: '{"vocab', "/config.json cannot be read"),
    ],
)  # fmt: skip
def test_a_folder_whose_tokenizer_is_damaged_or_of_another_model(
    refused: Callable[..., str], tmp_path: Path, file: str, change: Any, message: str
) -> None:
    assert message in refused(*changed_folder(tmp_path / "model", file, change))


def test_one_of_several_ends_is_enough(tmp_path: Path) -> None:
    words = changed_folder(tmp_path / "model", "config.json", {"eos_token_id": [2, 5]})
    check_run(compose([*BASE, *words]))


def test_a_tokenizer_that_is_not_that_of_llama_mini(refused: Callable[..., str], tmp_path: Path) -> None:
    texts = [f"words that nobody has written {number} {chr(97 + number % 26) * 3}" for number in range(999)]
    train_tokenizer(texts, 300).save_pretrained(tmp_path / "small")
    said = refused(f"backbone.tokenizer_from={tmp_path / 'small'}")
    assert f"has 300 tokens, but the network knows 2048: {OTHER_MODEL}" in said
    shutil.copytree(llama_mini_folder(), tmp_path / "other")
    rules = json.loads((tmp_path / "other" / "tokenizer.json").read_text())
    rules["model"]["merges"] = rules["model"]["merges"][:-1]
    (tmp_path / "other" / "tokenizer.json").write_text(json.dumps(rules))
    said = refused(f"backbone.tokenizer_from={tmp_path / 'other'}")
    assert "is not that of llama_mini: backbone.tokenizer_from=embedded" in said


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (TextExample("Which?", "", ()), "example 0 has an empty completion: remove it from the data"),
        (TextExample("Which?", "  ", ()), "example 0 has an empty completion"),
        (TextExample("Which?", "a", ("a", "")), "example 0 has an empty completion"),
        (
            TextExample("Which?", "one word " * 60, ()),
            "the completion of example 0 alone is longer than data.max_length",
        ),
    ],
)
def test_an_example_that_cannot_be_used(example: TextExample, message: str) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(llama_mini_folder(), local_files_only=True)
    encoder = Encoder(tokenizer, "", TextSettings("plain", 64, None, "response", 8), 256)
    with pytest.raises(BadInput, match=message):
        encoder.encode([example], all_choices=bool(example.choices))


def test_an_answer_that_is_no_choice_is_refused() -> None:
    check_choices([TextExample("Which?", "a", ("a", "b"))])
    with pytest.raises(BadInput, match="the answer of example 1 is none of its choices: mend the data"):
        check_choices([TextExample("Which?", "a", ("a", "b")), TextExample("Which?", "c", ("a", "b"))])


def test_a_loss_that_is_not_finite_is_a_failed_run_and_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*BASE, "logger=none", "progress=none", "latency_rounds=0", "trainer.limit_train_batches=2"]
    assert cli.main(["run", *words, "train.lr=1e30", f"results_dir={tmp_path / 'high'}"]) == 1
    error = capsys.readouterr().err.strip()
    assert "the loss is not finite at step 1 of 2, learning rate" in error
    assert "\n" not in error


def test_weights_that_are_not_finite_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = changed_folder(tmp_path / "model", "config.json", {})
    weights = load_file(tmp_path / "model" / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, tmp_path / "model" / "model.safetensors", {"format": "pt"})
    assert cli.main(["run", *BASE, *words, "logger=none", f"results_dir={tmp_path / 'results'}"]) == 2
    error = capsys.readouterr().err.strip()
    assert "model.norm.weight holds NaN" in error
    assert "\n" not in error
    assert not list((tmp_path / "results").rglob("*.json"))
