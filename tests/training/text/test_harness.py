"""lm-evaluation-harness as a judge: example by example what its own command says of the merged export, offline."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from glorabench import cli
from glorabench.backbones.base import Backbone
from glorabench.backbones.hf_text import hf_text_backbone
from glorabench.data.text.harness import HarnessTask, load
from glorabench.errors import BadInput
from glorabench.export.to_merged import write_merged
from glorabench.records import record
from glorabench.records.outcomes import unpack
from glorabench.training.objectives.harness import HarnessScores
from harness_files import arc, mmlu, write_harness_files, write_rows
from test_text_families import method
from tiny_text_models import save_tiny_text_model

TASKS = ["arc_challenge", "hellaswag", "truthfulqa_mc2"]
SHOTS = {"arc_challenge": 3, "hellaswag": 2, "truthfulqa_mc2": 0}
OWN = {
    "task": "own_sums",
    "output_type": "generate_until",
    "dataset_path": "someone/sums",
    "test_split": "test",
    "doc_to_text": "Say {{word}}:",
    "doc_to_target": "{{word}}",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 4, "do_sample": False},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    "metadata": {"version": 7.0},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judge")
    write_harness_files(folder)
    (folder / "own_sums.yaml").write_text(json.dumps(OWN))
    write_rows(folder / "own_sums" / "test.jsonl", [{"word": word} for word in ("one", "two", "three")])
    return folder


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any attempt to reach a network fails."""

    def refuse(*_: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def judged(root: Path, cache: Path, tasks: list[str] = TASKS, shots: dict[str, int] = SHOTS) -> HarnessTask:
    return load("+".join(tasks), tasks, str(root), shots, str(cache))


def tuned(family: str, folder: Path) -> Backbone:
    """A network with LoRA of random numbers in it."""
    save_tiny_text_model(family, folder)
    torch.manual_seed(1)
    backbone = hf_text_backbone("tiny", family, "auto", str(folder), None, "float32")
    method("lora", backbone).inject(backbone)
    for name, parameter in backbone.net.named_parameters():
        if name.endswith(".up"):
            torch.nn.init.normal_(parameter, std=0.5)
    return backbone


def merged(family: str, backbone: Backbone, folder: Path, out: Path) -> Path:
    write_merged(backbone, lambda: hf_text_backbone("tiny", family, "auto", str(folder), None, "float32").net, out)
    return out


@pytest.mark.parametrize("family", ["llama", "t5", pytest.param("qwen3", marks=pytest.mark.campaign)])
def test_scores_are_those_of_the_harness_for_the_merged_export(family: str, root: Path, tmp_path: Path) -> None:
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    tasks = [*TASKS, "own_sums"]
    task, backbone = judged(root, tmp_path, tasks), tuned(family, tmp_path / "model")
    judge = HarnessScores(task, backbone, batch_size=4)
    kind = type(backbone.net)
    ours = {name: judge.evaluate(backbone.net, name).values for name in tasks}
    assert type(backbone.net) is kind
    out = merged(family, backbone, tmp_path / "model", tmp_path / "merged")
    loader = AutoModelForSeq2SeqLM if family == "t5" else AutoModelForCausalLM
    net = loader.from_pretrained(out, local_files_only=True)
    net.config.tie_word_embeddings = False  # else the harness ties the head that a FLAN-T5 has of its own
    bos = backbone.text.start is None
    theirs = HFLM(
        pretrained=net, tokenizer=str(out), batch_size=4, max_length=backbone.text.context, add_bos_token=bos,
        backend="seq2seq" if family == "t5" else "causal",
    )  # fmt: skip
    manager = TaskManager(include_path=str(task.folder), include_defaults=False)
    for name in tasks:
        results: Any = simple_evaluate(
            model=theirs, tasks=[name], num_fewshot=SHOTS.get(name), task_manager=manager, bootstrap_iters=0
        )
        samples = sorted(results["samples"][name], key=lambda sample: sample["doc_id"])
        for key, values in ours[name].items():
            expected = [float(sample[key.partition("/")[2]]) for sample in samples]
            np.testing.assert_allclose(values.double().numpy(), expected, atol=1e-5, err_msg=key)
    assert set(ours["arc_challenge"]) == {"arc_challenge/acc", "arc_challenge/acc_norm"}
    assert judge.metrics[0].name == "arc_challenge/acc_norm"
    kinds = {metric.name: metric.per_example for metric in judge.metrics}
    assert (kinds["hellaswag/acc_norm"], kinds["truthfulqa_mc2/acc"]) == ("bits", "reals")


def test_a_group_is_the_tasks_in_it(root: Path, tmp_path: Path) -> None:
    for n, subject in enumerate(("anatomy", "astronomy")):
        write_rows(tmp_path / "small_mmlu" / subject / "test.jsonl", [mmlu(i) for i in range(3 + n)])
        write_rows(tmp_path / "small_mmlu" / subject / "dev.jsonl", [mmlu(i + 9) for i in range(5)])
    group = {"group": "small_mmlu", "task": ["mmlu_anatomy", "mmlu_astronomy"]}
    (tmp_path / "small_mmlu.yaml").write_text(json.dumps(group))
    task = judged(tmp_path, tmp_path / "cache", ["small_mmlu"], {"small_mmlu": 5})
    assert task.members == {"small_mmlu": ["mmlu_anatomy", "mmlu_astronomy"]}
    backbone = tuned("llama", tmp_path / "model")
    values = HarnessScores(task, backbone, 4).evaluate(backbone.net, "small_mmlu").values
    assert len(values["small_mmlu/acc"]) == 7


def test_the_tasks_are_written_as_the_harness_reads_them(root: Path, tmp_path: Path) -> None:
    task = judged(root, tmp_path)
    described = json.loads((task.folder / "arc_challenge.yaml").read_text())
    assert described["dataset_kwargs"]["data_files"]["test"] == [str(root / "arc_challenge" / "test.jsonl")]
    assert (described["validation_split"], described["training_split"]) == (None, "train")
    assert task.versions == {"arc_challenge": 1.0, "hellaswag": 1.0, "truthfulqa_mc2": 3.0}
    assert logging.root.manager.disable == logging.NOTSET


# From the command line


FAST = ["train.epochs=1", "train.warmup_epochs=0", "latency_rounds=0", "logger=none", "progress=none"]


@pytest.fixture(scope="module")
def run(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The words of `test` that name a finished run."""
    folder = tmp_path_factory.mktemp("runs")
    save_tiny_text_model("llama", folder / "tiny")
    weights = f"backbone.weights_from={folder / 'tiny'}"
    words = ["backbone=hf_text", weights, "data=mini_text", "train=mini_text", "method=lora", "data.task=facts"]
    results = f"results_dir={folder / 'results'}"
    assert cli.main(["run", *words, *FAST, "data.max_length=64", "trainer.limit_train_batches=2", results]) == 0
    (made,) = record.read_all([folder / "results" / "runs"])
    return [f"run={made.run_id}", results, weights, "data=lm_eval"]


def test_a_run_is_judged_and_its_record_says_how(run: list[str], root: Path, capsys) -> None:
    words = [*run, f"data.root={root}", "data.tasks=[hellaswag,truthfulqa_mc2]", "data.num_fewshot.hellaswag=2"]
    assert cli.main(["test", *words]) == 0
    assert "it/s" not in capsys.readouterr().err
    (made,) = record.read_all([Path(run[1].partition("=")[2]) / "tests" / "runs"])
    assert [metric.name for metric in made.measures] == [
        "hellaswag/acc_norm",
        "hellaswag/acc",
        "truthfulqa_mc2/acc",
    ]
    assert made.metrics["n"] == 7
    assert len(unpack(made.outcomes["truthfulqa_mc2/acc"])) == 5
    facts = made.provenance["data"]
    assert facts["versions"] == {"hellaswag": 1.0, "truthfulqa_mc2": 3.0}
    assert (facts["shots"]["hellaswag"], facts["bos"], facts["batch_size"]) == (2, True, 64)
    assert facts["harness"].startswith("0.4.")
    assert made.config["data"]["tasks"] == ["hellaswag", "truthfulqa_mc2"]
    assert "root" not in made.config["data"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.tasks=[arc_easy]"], "the data of task arc_easy are not there, and nothing is downloaded: put split"),
        pytest.param(  # all tasks of the harness are read for these
            ["data.tasks=[winogrande]"], "the data of task winogrande are not there", marks=pytest.mark.campaign
        ),
        pytest.param(["data.tasks=[hellaswagg]"], "did you mean 'hellaswag'?", marks=pytest.mark.campaign),
        (["data.tasks=[]"], "data=lm_eval needs tasks"),
        (["data.tasks=[hellaswag,hellaswag]"], "names a task twice"),
        (["data.root=/nowhere"], "data.root=/nowhere is no folder"),
        (["data.root=null"], "data.root=None is no folder"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(run, root: Path, words: list[str], message: str, capsys) -> None:
    capsys.readouterr()
    place = [] if words[0].startswith("data.root") else [f"data.root={root}"]
    assert cli.main(["test", *run, *place, *words]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert message in line


def test_nothing_is_trained_on_the_judge(root: Path, tmp_path: Path, capsys) -> None:
    words = ["backbone=llama_mini", "train=mini_text", "data=lm_eval", f"data.root={root}", "data.tasks=[hellaswag]"]
    assert cli.main(["run", *words, *FAST, f"results_dir={tmp_path}"]) == 2
    assert "hellaswag judges, nothing is trained on it" in capsys.readouterr().err


def test_data_of_another_task_are_refused(tmp_path: Path) -> None:
    write_rows(tmp_path / "hellaswag" / "validation.jsonl", [arc(0)])
    with pytest.raises(BadInput, match="the data of task hellaswag are not what it reads"):
        judged(tmp_path, tmp_path / "cache", ["hellaswag"], {"hellaswag": 0})


def test_shots_need_the_split_that_they_come_from(tmp_path: Path) -> None:
    write_rows(tmp_path / "arc_challenge" / "test.jsonl", [arc(n) for n in range(3)])
    with pytest.raises(BadInput, match=r"put split train of allenai/ai2_arc into .*arc_challenge/.*train.jsonl"):
        judged(tmp_path, tmp_path / "cache", ["arc_challenge"], {"arc_challenge": 25})
    assert judged(tmp_path, tmp_path / "cache", ["arc_challenge"], {"arc_challenge": 0}).tests == ["arc_challenge"]


def test_code_of_a_task_of_your_own_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("task: mine\nprocess_docs: !function utils.process\n")
    with pytest.raises(BadInput, match="names Python code, which is not run"):
        judged(tmp_path, tmp_path / "cache", ["mine"], {})


def test_without_the_harness_the_extra_is_named(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    with pytest.raises(BadInput, match=r"pip install 'glorabench\[text\]'"):
        judged(root, tmp_path)


@pytest.mark.campaign
def test_its_own_command_says_the_same(root: Path, tmp_path: Path) -> None:
    task, backbone = judged(root, tmp_path), tuned("llama", tmp_path / "model")
    ours = HarnessScores(task, backbone, 4).evaluate(backbone.net, "arc_challenge").values
    out = merged("llama", backbone, tmp_path / "model", tmp_path / "merged")
    words = ["--model", "hf", "--model_args", f"pretrained={out},add_bos_token=True,max_length=256,dtype=float32"]
    words += ["--tasks", "arc_challenge", "--include_path", str(task.folder), "--num_fewshot", "3", "--batch_size", "4"]
    words += ["--device", "cpu", "--log_samples", "--output_path", str(tmp_path / "out")]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    subprocess.run([sys.executable, "-m", "lm_eval", *words], check=True, env=environment, capture_output=True)
    (file,) = (tmp_path / "out").rglob("samples_*.jsonl")
    samples = sorted(map(json.loads, file.read_text().splitlines()), key=lambda sample: sample["doc_id"])
    for name in ("acc", "acc_norm"):
        assert ours[f"arc_challenge/{name}"].double().tolist() == [sample[name] for sample in samples]
