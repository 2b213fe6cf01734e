"""A training on text that was stopped goes on as if nothing had happened: with dropout, in steps of several batches."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import stopped_in_epoch
from glorabench.config.compose import compose
from glorabench.records import record
from glorabench.training.run import run

WORDS = [
    "backbone=llama_mini", "data=mini_text", "train=mini_text", "method=lora", "method.dropout=0.2",
    "train.accumulate=2", "trainer.limit_train_batches=5", "train.epochs=3", "train.warmup_epochs=1",
    "checkpoint_every=1", "selection.fit_on=train", "selection.report_on=val", "data.max_new_tokens=4",
    "data.task=record_form", "latency_rounds=0", "logger=none", "progress=none",
]  # fmt: skip


@pytest.mark.usefixtures("cache")
@pytest.mark.campaign
def test_a_stopped_training_gives_the_same_tensors_and_the_same_text(tmp_path: Path) -> None:
    for name in ("whole", "stopped"):
        words = [*WORDS, f"results_dir={tmp_path / name}"]
        if name == "stopped":
            with stopped_in_epoch(3):
                run(compose(words))
            assert list((tmp_path / name / "checkpoints").rglob("last.ckpt"))
            assert not list((tmp_path / name).rglob("runs/**/*.json"))
        run(compose(words))
    (whole,), (stopped,) = (record.read_all([tmp_path / name / "runs"]) for name in ("whole", "stopped"))
    assert whole.run_id == stopped.run_id
    assert whole.outcomes == stopped.outcomes
    assert [e["train_loss"] for e in whole.history] == [e["train_loss"] for e in stopped.history]
    assert len({e["train_loss"] for e in whole.history}) == 3
    for kind in ("adapters", "predictions"):
        first, second = (tmp_path / name / kind / f"{whole.run_id}.safetensors" for name in ("whole", "stopped"))
        assert first.read_bytes() == second.read_bytes()
