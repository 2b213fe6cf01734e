"""Runs on the embedded text suite by the command line: records, forgetting, search, export, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from glorabench import cli
from glorabench.records import record
from glorabench.training.measure.forgetting import measure_forgetting

pytestmark = pytest.mark.usefixtures("cache")

BASE = ["backbone=llama_mini", "data=mini_text", "train=mini_text"]
FAST = ["train.epochs=1", "train.warmup_epochs=0", "latency_rounds=0", "logger=none", "progress=none"]


@pytest.fixture(scope="module")
def results(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generation run of LoRA, which measures what it forgets; other tests leave that out."""
    folder = tmp_path_factory.mktemp("text")
    words = [*BASE, *FAST, "method=lora", "data.task=record_form", "data.max_new_tokens=16", f"results_dir={folder}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("glorabench.training.run.measure_forgetting", measure_forgetting)
        assert cli.main(["run", *words]) == 0
    return folder


def test_a_record_says_what_was_measured_and_how(results: Path) -> None:
    (made,) = record.read_all([results / "runs"])
    assert made.metric.name == "exact_match"
    assert made.metrics["n"] == 600
    data = made.provenance["data"]
    assert len(data["tokenizer"]) == 64
    assert data["truncated"] == {"trainval": 0, "test": 0}
    assert made.config["data"]["template"] == "question"
    assert made.merge["mergeable"]
    assert made.upstream is not None
    assert made.upstream["metric"]["unit"] == "bits/byte"
    assert set(made.upstream["skills"]["after"]) == {"bits_per_byte", "copying", "facts", "sums"}
    assert made.upstream["after"] > made.upstream["before"]


def test_forgetting_reads_text(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["forgetting", "mini_text", "--results", str(results)]) == 0
    out = capsys.readouterr().out
    assert "of 500 glosses before fine-tuning" in out
    assert "bits/byte" in out


@pytest.mark.parametrize("form", ["merged", "peft"])
def test_an_export_is_read_by_transformers_with_its_tokenizer(results: Path, tmp_path: Path, form: str) -> None:
    (made,) = record.read_all([results / "runs"])
    words = [f"run={made.run_id}", f"results_dir={results}", f"to={form}", f"out={tmp_path / form}"]
    assert cli.main(["export", *words]) == 0
    if form == "merged":
        net = LlamaForCausalLM.from_pretrained(tmp_path / form)
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / form)
        prompt = "Question: Answer as a bill. Tonight Ben will try soup for once. Answer:"
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        assert int(ids[0, 0]) == tokenizer.bos_token_id
        assert torch.isfinite(net(ids).logits).all()
    else:
        assert json.loads((tmp_path / form / "adapter_config.json").read_text())["peft_type"] == "LORA"


def test_a_search_on_text_ends_with_a_winner(tmp_path: Path) -> None:
    words = [
        *BASE,
        *FAST,
        "method=glora",
        "method.path=supernet",
        "search=random",
        "data.task=facts",
        f"results_dir={tmp_path}",
    ]
    sizes = ["search.algorithm.batch=3", "search.algorithm.total=6", "data.max_length=64"]
    assert cli.main(["run", *words, *sizes]) == 0
    (made,) = record.read_all([tmp_path / "runs"])
    assert made.search is not None
    assert made.metrics["n"] == 600
    assert made.paths


@pytest.mark.campaign
def test_all_stages_of_glora_on_a_task_of_generation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Candidates are ranked by their loss, which the record and the table say; only the winner writes, on test."""
    names = {"population": 3, "parents": 2, "generations": 2, "mutants": 2, "crossed": 1}
    sizes = [f"search.algorithm.{name}={size}" for name, size in names.items()]
    sizes += ["search.epochs=1", "trainer.limit_train_batches=2", "data.max_new_tokens=4", "data.task=record_form"]
    assert cli.main(["run", "experiment=glora_pipeline", *BASE, *FAST, *sizes, f"results_dir={tmp_path}"]) == 0
    (made,) = record.read_all([tmp_path / "runs"])
    search = made.search
    assert search is not None
    assert (made.metric.name, made.metrics["n"], search["metric"]["name"]) == ("exact_match", 600, "loss")
    assert 0 < search["score"] < 20
    assert search["score"] == min(search["best"][-1][1], *(entry["score"] for entry in search["front"]))
    assert search["held_out"] > 0
    stages = made.cost["stages"]
    assert set(stages) == {"supernet", "search", "retrain"}
    assert stages["search"]["examples"] == search["evaluated"] * search["n"] == search["evaluated"] * 150
    assert all(stage["flops"] > 0 for stage in stages.values())
    capsys.readouterr()
    assert cli.main(["table", "mini_text", "--notes", "--results", str(tmp_path)]) == 0
    said = capsys.readouterr().out.replace("\n", " ")
    assert f"loss {search['score']:.3f} nats/token on the examples that chose its path" in said
    assert cli.main(["show", made.run_id, "--results", str(tmp_path)]) == 0
    assert "stages.search.seconds" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["backbone=vit_mini"], "has tokens, backbone vit_mini reads images: choose llama_mini"),
        (["data=mini", "train=mini"], "has images, backbone llama_mini reads tokens: choose vit_mini"),
        (["data.task=fact"], "facts"),
        (["data.template=quest"], "data.template"),
        (["data.max_length=20"], "data.truncate"),
        (["data.max_length=4000"], "data.max_length=256"),
        (["data.truncate=both"], "data.truncate"),
        (["data.loss_on=prompt"], "data.loss_on"),
        (["data.max_new_tokens=0"], "data.max_new_tokens"),
        (["backbone.tokenizer_from=null", "backbone.weights_from=null"], "has no tokenizer"),
        (["backbone.tokenizer_from=/nowhere"], "backbone.tokenizer_from"),
        (
            ["backbone.model_args.vocab_size=64", "backbone.weights_from=null"],
            "has 2048 tokens, but the network knows 64",
        ),
    ],
)
def test_bad_words_are_refused_in_one_line(words: list[str], message: str, tmp_path: Path, capsys) -> None:
    assert cli.main(["run", *BASE, *FAST, *words, f"results_dir={tmp_path}"]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not list(tmp_path.rglob("*.json"))


def test_a_sweep_over_methods_leaves_out_what_does_not_fit_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also when it is typed again, and in the forecast."""
    words = ["-m", "method=linear,vpt_shallow,bitfit", *BASE, *FAST, "data.task=facts", f"results_dir={tmp_path}"]
    words += ["trainer.limit_train_batches=1", "selection.fit_on=train", "selection.report_on=val"]
    reasons = [
        "left out: method=bitfit: BitFit trains nothing on llama_mini: it has no biases. Use LoRA or (IA)3.",
        "left out: method=linear: Linear trains nothing on llama_mini: it has no head",
    ]
    for tail in (["--dry-run"], [], []):
        assert cli.main(["run", *words, *tail]) == 0
        out = capsys.readouterr().out
        assert sorted(line.strip() for line in out.splitlines() if "left out" in line) == reasons
        assert out.count("job ") <= 1
    assert "1 of 1 found" in out
    assert [made.names["method"] for made in record.read_all([tmp_path / "runs"])] == ["vpt_shallow"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["method=bitfit,linear"], "BitFit trains nothing on llama_mini"),
        (["method=lora,glora", "method.targets=[fc1]"], "backbone llama_mini has no role 'fc1'"),
        (["method=linear", "seed=0,1"], "Linear trains nothing on llama_mini"),
    ],
)
def test_a_sweep_of_which_nothing_fits_or_with_a_wrong_word_is_refused(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "-m", *words, *BASE, *FAST, f"results_dir={tmp_path}"]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not list(tmp_path.rglob("*.json"))
