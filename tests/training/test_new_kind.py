"""A task of a new kind, in a package of the user's own: tokens in; one metric of right and wrong, two of numbers.

Nothing of the package is edited for it. It runs, is recorded, put into a table, compared, reported, marked right by the
direction of its metric, and found again.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from glorabench import cli
from glorabench.config.instantiate import allow_packages
from glorabench.records import record
from glorabench.records.outcomes import unpack
from glorabench.records.record import Record

PACKAGE = '''
"""Copy the first token: a toy, with a metric that is chosen by `metric`."""
from dataclasses import dataclass, field
import torch
import torch.nn.functional as F
from glorabench.data.datamodule import TaskData
from glorabench.records.metrics import Metric
from glorabench.training.kinds import data_settings
from glorabench.training.objectives.base import Evaluation

METRICS = {
    "exact_match": Metric("exact_match", "exact match"),
    "loss": Metric("loss", "loss", unit="nats", higher_is_better=False, high=None, per_example="reals"),
    "rouge_l": Metric("rouge_l", "ROUGE-L", per_example="reals"),
}
SIZES = {"train": 64, "val": 16, "trainval": 80, "test": 40}

class Copying:
    """Predict the first token after the last one."""
    def __init__(self, metric):
        self.metrics = sorted(METRICS.values(), key=lambda m: m.name != metric)
    def size(self, batch):
        return len(batch)
    def loss(self, net, tokens):
        return F.cross_entropy(net(tokens)[:, -1], tokens[:, 0])
    def evaluate(self, net, tokens, test=0):
        logits = net(tokens)[:, -1]
        share = logits.softmax(-1).gather(1, tokens[:, :1])[:, 0]
        right = logits.argmax(-1) == tokens[:, 0]
        values = {"exact_match": right, "loss": -share.log(), "rouge_l": share}
        return Evaluation(values, {"predicted": logits.argmax(-1), "wanted": tokens[:, 0]})

class TokenData(TaskData):
    def _batches(self, split, size):
        return list(self.task.splits[split].split(size))
    def training_batches(self, split):
        return torch.utils.data.DataLoader(self.task.splits[split], batch_size=self.batch_size, drop_last=True)
    def evaluation_batches(self, split):
        return self._batches(split, self.eval_batch_size)
    def example(self, count, device):
        return self.task.splits["train"][:count].to(device)
    def search_batches(self, on, held_out, device):
        self.check_search(on)
        tokens = self.task.splits[on].to(device)
        n = len(tokens) - round(held_out * len(tokens))
        return [tokens[:n]], [tokens[n:]] if n < len(tokens) else []
    def facts(self):
        return super().facts() | {"examples": "sequences"}

class Copy:
    """The kind."""
    def prepare(self, backbone, task):
        pass
    def data(self, task, backbone, config):
        return TokenData(task, **data_settings(config))
    def objective(self, task, backbone, config):
        return Copying(task.metric)

@dataclass
class CopyTask:
    name: str
    metric: str
    splits: dict
    suite: str = "toys"
    fingerprint: str = "1"
    facts: dict = field(default_factory=dict)
    tests = ["test"]
    reads = "tokens"
    kind = Copy()

def load(task: str, metric: str) -> CopyTask:
    generator = torch.Generator().manual_seed(0)
    splits = {name: torch.randint(8, (n, 4), generator=generator) for name, n in SIZES.items()}
    return CopyTask(task, metric, splits)
'''
TINY = [
    *("backbone=llama_7b", "backbone.weights_from=null", "backbone.model_args.vocab_size=8"),
    *("backbone.model_args.hidden_size=16", "backbone.model_args.intermediate_size=32"),
    *("backbone.model_args.num_hidden_layers=2", "backbone.model_args.num_attention_heads=2"),
    "backbone.model_args.num_key_value_heads=2",
]
FAST = ["train.epochs=2", "train.warmup_epochs=0", "train.batch_size=16", "logger=none", "progress=none"]
Run = Callable[..., int]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The records of two methods under each of the three metrics, two seeds each."""
    folder = tmp_path_factory.mktemp("kind")
    (folder / "new_kind.py").write_text(PACKAGE)
    with pytest.MonkeyPatch.context() as patch, allow_packages(["new_kind"]):
        patch.syspath_prepend(str(folder))
        for metric in ("exact_match", "loss", "rouge_l"):
            assert cli.main(words(folder / "results", metric)) == 0
        yield folder / "results"
    sys.modules.pop("new_kind", None)


def words(results: Path, metric: str) -> list[str]:
    data = ["data._target_=new_kind.load", "~data.cache_dir", f"data.task=copy_{metric}", f"+data.metric={metric}"]
    sweep = ["method=lora,ia3", "seed=0,1", "latency_rounds=1"]
    return ["run", "-m", *TINY, *FAST, *data, *sweep, f"results_dir={results}"]


def of_metric(results: Path, metric: str) -> list[Record]:
    records = record.read_all([results / "runs"])
    return [r for r in records if r.names["task"] == f"copy_{metric}"]


def rows(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, str]]:
    capsys.readouterr()
    assert cli.main([*words]) == 0
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def test_a_record_says_what_its_metrics_are_and_what_each_example_got(results: Path) -> None:
    for metric, unit, higher in (("exact_match", "%", True), ("loss", "nats", False), ("rouge_l", "%", True)):
        for r in of_metric(results, metric):
            assert (r.metric.name, r.metric.unit, r.metric.higher_is_better) == (metric, unit, higher)
            assert set(r.outcomes) == {"exact_match", "loss", "rouge_l"}
            assert r.metrics["n"] == 40 == len(unpack(r.outcomes[metric]))
            assert r.score == pytest.approx(float(unpack(r.outcomes[metric]).mean(dtype=float)))
            assert r.metrics["loss"] > 0
            assert r.provenance["data"]["examples"] == "sequences"


def test_it_is_found_again(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words(results, "loss")) == 0
    assert "4 of 4 found" in capsys.readouterr().out


@pytest.mark.parametrize("metric", ["exact_match", "loss", "rouge_l"])
def test_the_best_is_the_best_by_the_direction_of_the_metric(results: Path, capsys, metric: str) -> None:
    records = of_metric(results, metric)
    means = {m: sum(r.score for r in records if r.names["method"] == m) / 2 for m in ("lora", "ia3")}
    expected = min(means, key=means.__getitem__) if metric == "loss" else max(means, key=means.__getitem__)
    words = ["--results", str(results), "--format", "csv", "--long", f"data.metric={metric}"]
    table = rows(capsys, "table", "mini", *words)
    assert {row["verdict"] for row in table if row["method"] == expected} == {"best"}
    assert {row["verdict"] for row in table if row["method"] != expected} <= {"not separated", "behind", "best"}
    heading = {"exact_match": "exact match %", "loss": "loss nats", "rouge_l": "ROUGE-L %"}[metric]
    scale = 1 if metric == "loss" else 100
    shown = sorted(float(row[heading]) for row in table)
    assert shown == pytest.approx(sorted(scale * mean for mean in means.values()), abs=6e-3)


def test_a_comparison_is_ahead_where_the_loss_is_lower(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", "mini", "--results", str(results)]
    sides = {"lora": 0.0, "ia3": 0.0}
    for r in of_metric(results, "loss"):
        sides[r.names["method"]] += r.score
    first, second = sorted(sides, key=sides.__getitem__)
    capsys.readouterr()
    both = [f"method={first}", "data.task=copy_loss", f"method={second}", "data.task=copy_loss"]
    assert cli.main([*words, *both]) == 0
    out = capsys.readouterr().out
    assert f"{first} is ahead of {second} by" in out or "not decided" in out
    assert f"{first} is behind" not in out
    assert "nats" in out


def test_tasks_of_different_metrics_share_a_table_without_a_mean(results: Path, capsys) -> None:
    table = rows(capsys, "table", "mini", "--results", str(results), "--format", "csv", "--long")
    assert {row["metric"] for row in table} == {"exact match %", "loss nats", "ROUGE-L %"}
    assert not [row for row in table if row["task"].startswith("mean")]


def test_the_other_readers_take_it(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", "mini", "--results", str(results), "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "loss nats" in page
    assert "ROUGE-L" in page
    assert "top-1" not in page
    costs = rows(capsys, "cost", "mini", "--results", str(results), "--format", "csv")
    assert [(row["method"], row["score"], row["n"]) for row in costs] == [("ia3", "", "0"), ("lora", "", "0")]
    assert cli.main(["table", "mini", "--results", str(results), "--why", "lora/copy_loss"]) == 0
    assert "loss" in capsys.readouterr().out
    (results / "loss").mkdir()
    for r in of_metric(results, "loss"):
        record.write_record(r, record.path_of(results / "loss", r.config))
    assert cli.main(["cost", "mini", "--results", str(results / "loss")]) == 0
    assert "loss nats" in capsys.readouterr().out


def test_a_backbone_that_reads_images_is_refused_before_anything_starts(results: Path, tmp_path: Path, capsys) -> None:
    command = [word for word in words(tmp_path, "loss") if not word.startswith("backbone")]
    assert cli.main(command) == 2
    assert "has tokens, backbone vit_mini reads images" in capsys.readouterr().err
