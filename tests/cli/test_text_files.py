"""Texts out of files by the command line: check, fake, runs on fake files, and one line for what is wrong."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path

import pytest
from lightning.pytorch import Trainer

from glorabench.cli import main
from glorabench.config.compose import compose
from glorabench.data.text.files.forms import TEXT_FORMS
from glorabench.records import record
from tiny_text_models import save_tiny_text_model

pytestmark = pytest.mark.usefixtures("cache")

BASE = ["backbone=llama_mini", "train=mini_text", "method=lora", "train.epochs=1", "train.warmup_epochs=0"]
QUIET = ["latency_rounds=0", "logger=none", "progress=none"]
SMALL = {"alpaca": ["val_size=20", "test_size=40"], "commonsense": ["val_size=20", "test_size=2"]}


@pytest.fixture(scope="module")
def fakes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fakes")
    for form in TEXT_FORMS:
        assert main(["data", "fake", form, f"root={root}"]) == 0
    return root


@pytest.mark.parametrize("form", list(TEXT_FORMS))
def test_fake_texts_are_right_and_the_same_when_they_are_made_again(
    form: str, fakes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "check", form, f"root={fakes / form}", *SMALL.get(form, [])]) == 0
    out = capsys.readouterr().out
    assert f"{form}: right" in out
    assert "note: fake data" in out
    assert main(["data", "fake", form, f"root={fakes}"]) == 0
    assert "(it was there)" in capsys.readouterr().out
    assert main(["data", "fake", form, f"root={tmp_path}"]) == 0
    files = [path.relative_to(tmp_path) for path in sorted(tmp_path.rglob("*")) if path.is_file()]
    assert files
    assert all((tmp_path / file).read_bytes() == (fakes / file).read_bytes() for file in files)


def test_no_fake_prompt_is_in_two_splits(fakes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for form in TEXT_FORMS:
        assert (
            main(["data", "check", form, f"root={fakes / form}", *SMALL.get(form, []), "allow_duplicates=false"]) == 0
        )
    assert "also in" not in capsys.readouterr().out


def test_a_run_names_the_texts_and_not_their_folder(fakes: Path, tmp_path: Path) -> None:
    words = [
        *BASE,
        "data=commonsense",
        "data.test_size=2",
        "data.val_size=20",
        "data.num_beams=2",
        "data.train_size=64",
    ]
    words += ["data.max_new_tokens=6", f"data.root={fakes / 'commonsense'}", f"results_dir={tmp_path}", *QUIET]
    assert main(["run", *words]) == 0
    (made,) = record.read_all([tmp_path / "runs"])
    assert "root" not in made.config["data"]
    assert len(made.config["data"]["sha256"]) == 64
    assert made.config["data"]["protocol"] == "llm_adapters"
    assert made.metric.name == "set_mean"
    assert {"right_word", "unparsed", "boolq/accuracy", "openbookqa/accuracy"} <= made.metrics.keys()
    assert made.metrics["n"] == 16
    facts = made.provenance["data"]
    assert facts["fake"]
    assert facts["texts"] == {"train": 64, "val": 20, "test": 16}
    assert facts["truncated"] == {"trainval": 0, "test": 0}
    moved = tmp_path / "moved"
    (fakes / "commonsense").rename(moved)
    try:
        assert (
            record.run_id(compose([word.replace(str(fakes / "commonsense"), str(moved)) for word in words]))
            == made.run_id
        )
    finally:
        moved.rename(fakes / "commonsense")


def test_the_share_of_unparsed_answers_stands_in_the_table(
    fakes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*BASE, "data=metamathqa", "data.max_length=256", "data.max_new_tokens=4", "data.train_size=32"]
    words += ["data.test_size=8", f"data.root={fakes / 'metamathqa'}", f"results_dir={tmp_path}", *QUIET]
    assert main(["run", *words]) == 0
    capsys.readouterr()
    assert main(["table", "metamathqa", "--results", str(tmp_path), "--format", "csv"]) == 0
    (cells,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert (cells["gsm8k"], cells["unparsed"]) == ("0.00", "100.00")


def test_an_experiment_is_rehearsed_on_fake_texts(fakes: Path, tmp_path: Path) -> None:
    words = ["experiment=samsum_r4", "backbone=llama_mini", f"data.root={fakes / 'samsum'}", "data.max_length=256"]
    words += ["data.train_size=32", "data.test_size=4", "data.max_new_tokens=4", "train.epochs=1", *QUIET]
    assert main(["run", *words, f"results_dir={tmp_path}"]) == 0
    (made,) = record.read_all([tmp_path / "runs"])
    assert (made.config["method"]["rank"], made.config["method"]["alpha"]) == (4, 8)
    assert [m.name for m in made.measures] == ["rouge_l", "rouge1", "rouge2", "rouge_lsum"]
    assert made.provenance["data"]["rouge"]["stemmer"] is True
    assert made.config["train"]["schedule"] == "linear"


@pytest.mark.campaign
@pytest.mark.parametrize(
    ("experiment", "form", "further"),
    [
        ("alpaca_lora", "alpaca", "data.val_size=20 data.test_size=40 train.accumulate=4 train.lr=5e-3"),
        ("alpaca_glora", "alpaca", "data.val_size=20 data.test_size=40 train.accumulate=4 train.lr=5e-3"),
        ("commonsense_lora_glora_dora", "commonsense", "data.num_beams=2 data.max_new_tokens=12 train.lr=5e-3"),
        ("samsum_r4", "samsum", "data.max_length=256 train.lr=5e-3"),
        (
            "learns_less_forgets_less", "metamathqa",
            "data.max_length=256 data.max_new_tokens=40 train.accumulate=1 train.lr=2e-3 "
            "'recipe.lora={rank: 4, alpha: 8},{rank: 16, alpha: 32}'",
        ),
        (
            "learns_less_forgets_less_tune", "metamathqa",
            "data.max_length=256 data.max_new_tokens=40 train.accumulate=1 train.epochs=1",
        ),
        ("metamath_peft", "metamathqa", "data.max_length=256 data.max_new_tokens=40 train.lr=5e-3"),
    ],
)  # fmt: skip
def test_every_experiment_can_be_rehearsed(
    experiment: str, form: str, further: str, fakes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command is the one that its file gives."""
    command = f"experiment={experiment} backbone=llama_mini data.root=/tmp/fake/{form} {further}"
    conf = Path(__file__).parents[2] / "conf" / "experiment" / f"{experiment}.yaml"
    assert f"# glorabench run {command}\n" in conf.read_text()
    words = [word.replace("/tmp/fake", str(fakes)) for word in shlex.split(command)]
    assert main(["run", *words, f"results_dir={tmp_path}", *QUIET]) == 0
    assert "FAKE DATA" in capsys.readouterr().out


@pytest.mark.campaign
@pytest.mark.parametrize(
    ("experiment", "form", "model"),
    [
        ("alpaca_glora", "alpaca", "llama"),
        ("commonsense_lora_glora_dora", "commonsense", "llama"),
        ("metamath_peft", "metamathqa", "llama"),
        ("samsum_r4", "samsum", "llama"),
        ("samsum_flan_t5", "samsum", "t5"),
        ("samsum_flan_t5 method=lora method.targets=[q,v,cross_q,cross_v]", "samsum", "t5"),
    ],
)
def test_an_experiment_runs_on_a_small_folder_of_transformers(
    experiment: str, form: str, model: str, fakes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A random Llama or T5 in the layout in which Hugging Face saves them."""
    wide = {"hidden_size": 64, "num_key_value_heads": 4, "head_dim": 16}  # for rank 32
    save_tiny_text_model(model, tmp_path / "network", **({} if model == "t5" else wide))
    words = [f"experiment={experiment.split()[0]}", *experiment.split()[1:], f"data.root={fakes / form}"]
    words += [] if model == "t5" else ["backbone=hf_text"]
    words += [f"backbone.weights_from={tmp_path / 'network'}", "data.max_length=250", "data.max_new_tokens=4"]
    words += [
        "data.train_size=32",
        "data.val_size=8",
        "data.test_size=4",
        "train.epochs=1",
        "train.accumulate=1",
        *QUIET,
    ]
    assert main(["run", *words, f"results_dir={tmp_path / 'results'}", *QUIET]) == 0
    assert "FAKE DATA" in capsys.readouterr().out


GOOD = '{"prompt": "a", "completion": "b"}\n'
MANY = "".join(f'{{"prompt": "a{n}", "completion": "b"}}\n' for n in range(30))


@pytest.mark.parametrize(
    ("name", "content", "words", "said"),
    [
        ("a.jsonl", GOOD + "oops\n", "", "a.jsonl, line 2: no JSON object"),
        ("a.jsonl", '{"prompt": "a"}\n', "", "there is no field 'completion'; the fields are 'prompt'"),
        ("a.jsonl", '{"prompt": "a", "completion": ""}\n', "", "the field 'completion' is empty"),
        ("a.jsonl", "", "", "a.jsonl is empty"),
        ("a.jsonl", MANY, "data.template=stanford", "data.template 'stanford'"),
        ("a.jsonl", MANY, "data.kind=choice", "data.kind 'choice'"),
        ("a.jsonl", MANY, "data.fields.prompt=question", "there is no field 'question'"),
        ("a.jsonl", MANY, "data.num_beams=0", "data.num_beams must be at least 1, got 0"),
        (
            "a.jsonl", '{"prompt": "a", "choices": ["x", "y"], "answer": 2}\n', "data.kind=multiple_choice",
            "the answer '2' is none of the 2 choices",
        ),
        (
            "a.json", '[{"conversations": [{"from": "human", "value": "a"}, {"from": "human", "value": "b"}, '
            '{"from": "gpt", "value": "c"}]}]', "data=sharegpt data.max_length=256",
            "turn 1 of the chat is of the user, not of the assistant",
        ),
        ("b.jsonl", GOOD, "", "there is no file or folder"),
    ],
)  # fmt: skip
def test_bad_texts_are_refused_in_one_line_before_training(
    name: str, content: str, words: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(Trainer, "fit", lambda *_, **__: pytest.fail("training started"))
    (tmp_path / name).write_text(content, encoding="utf-8")
    place = tmp_path / ("a.json" if name == "a.json" else "a.jsonl")
    command = ["data=text", *words.split(), f"data.root={place}", f"results_dir={tmp_path / 'results'}"]
    assert main(["run", *BASE, *QUIET, *command[words.startswith("data=") :]]) == 2
    out = capsys.readouterr()
    assert out.err.startswith("glorabench: ")
    assert out.err.count("\n") == 1
    assert said in out.err


def test_a_check_names_faults_and_leaks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"prompt": f"p{n}", "completion": "c"} for n in range(30)]
    (tmp_path / "train.json").write_text(json.dumps(rows))
    (tmp_path / "test.json").write_text(json.dumps([*rows[:2], {"prompt": "new", "completion": "c"}]))
    assert main(["data", "check", "text", f"root={tmp_path}", "val_size=1"]) == 2
    assert "of test" in (out := capsys.readouterr().out)
    assert "also in train (first: test.json, entry" in out
    assert main(["data", "check", "text", f"root={tmp_path}", "val_size=1", "allow_duplicates=true"]) == 0
    (tmp_path / "train.json").write_text(json.dumps([{"prompt": "p"}] * 9))
    assert main(["data", "check", "text", f"root={tmp_path}"]) == 2
    assert "4 more rows have faults" in capsys.readouterr().out
    for words, said in (
        (["data", "check", "text"], "needs data.root=FILE_OR_FOLDER"),
        (["data", "check", "text", "rot=x"], "no key 'rot' here; did you mean 'root'"),
        (["data", "check", "text", "samsum", "root=x"], "texts stand alone"),
        (["data", "check", "txt", "root=x"], "suite 'txt'; did you mean 'text'"),
        (["data", "fake", "text"], "to fake texts say where, and nothing else"),
    ):
        assert main(words) == 2
        assert said in "".join(capsys.readouterr())
