"""`run --dry-run`: which runs, what they train, and how long by which records; nothing is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from glorabench.analysis.forecasts import PastTimes
from glorabench.cli import main
from glorabench.config.compose import compose
from glorabench.records import record
from glorabench.records.record import Record
from glorabench.training.forecast import forecast_runs
from glorabench.training.measure.profiling import trained_size

ROOT = Path(__file__).parents[2]
LORA = next((ROOT / "results" / "runs" / "mini").glob("lora-vit_mini-digits-s0-*.json"))


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder without results."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def taking(words: list[str], seconds: float) -> Record:
    """A record of the config of some words."""
    config = compose(words)
    cost = {"stages": {"train": {"seconds": seconds, "flops": 1, "steps": 1, "examples": 1}}}
    old = replace(record.read_record(LORA), run_id=record.run_id(config), config=record.identity(config), cost=cost)
    return replace(old, provenance={**old.provenance, "device": "a card"})


def test_the_runs_of_a_sweep_and_what_they_train(away: Path) -> None:
    runs = forecast_runs(["method=lora,linear,glora"], multirun=True)
    assert [r.config["names"]["method"] for r in runs] == ["lora", "linear", "glora"]
    assert [r.trained for r in runs[:2]] == [trained_size([f"method={name}"]) for name in ("lora", "linear")]
    assert [r.is_drawn for r in runs] == [False, False, True]
    assert runs[2].trained > 0
    assert not any(r.is_done for r in runs)
    assert [r.seconds for r in runs] == [None] * 3
    assert list(away.iterdir()) == []


def test_a_run_that_has_a_record_is_found(away: Path) -> None:
    done = taking(["seed=3"], 12.0)
    record.write_record(done, record.path_of(away / "results" / "local", compose(["seed=3"])))
    runs = forecast_runs(["seed=3,4"], multirun=True)
    assert [r.is_done for r in runs] == [True, False]
    assert [(r.seconds, r.basis) for r in runs] == [(12.0, "1 of this configuration, on a card")] * 2


def test_the_nearest_records_tell_the_time() -> None:
    config = compose(["method=lora", "seed=9"])
    tasks = {"dsprites_ori": 50.0, "shapes_count": 70.0}
    far = [taking(["method=lora", f"data.task={task}"], seconds) for task, seconds in tasks.items()]
    near = [taking(["method=lora", "train.lr=1"], 30.0)]
    same = [taking(["method=lora", "seed=1"], 10.0), taking(["method=lora", "seed=2"], 14.0)]
    others = [taking(["method=ssf"], 1.0), taking(["method=lora", "train.epochs=99"], 1.0)]
    assert PastTimes(others).estimate(config) == (None, "")
    assert PastTimes([*others, *far]).estimate(config) == (60.0, "2 on other tasks, on a card")
    assert PastTimes([*others, *far, *near]).estimate(config) == (30.0, "1 with other settings, on a card")
    assert PastTimes([*others, *far, *near, *same]).estimate(config) == (12.0, "2 of this configuration, on a card")


def test_it_is_said_in_a_table_and_unknown_is_said(away: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record.write_record(done := taking(["seed=3"], 300.0), record.path_of(away / "results" / "local", done.config))
    assert main(["run", "-m", "--dry-run", "optimizer=adamw,sgd", "seed=3,4", "method=lora"]) == 0
    out = capsys.readouterr().out
    assert "4 runs, 3 to make" in out
    assert out.count("lora, sgd") == 2
    assert "5 min" in out
    assert main(["run", "--dry-run", "method=ssf"]) == 0
    assert "to make: the time is unknown" in capsys.readouterr().out


def test_a_word_that_a_run_refuses_is_refused(away: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--dry-run", "method.rank=0"]) == 2
    assert "method.rank must be a whole number" in capsys.readouterr().err
    assert list(away.iterdir()) == []


def test_of_a_choice_the_runs_of_its_tuning_are_shown(away: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """24 runs: six methods at four rates, on val; the rates of the tests follow from them."""
    words = ["experiment=choose", "data=mini", "data.task=digits"]
    runs = forecast_runs(words, multirun=False)
    assert len(runs) == 24
    assert {r.config["selection"]["report_on"] for r in runs} == {"val"}
    assert len({r.config["train"]["lr"] for r in runs}) == 4
    assert main(["run", *words, "--dry-run"]) == 0
    assert "Then each method is trained at its best rate with 3 seeds" in capsys.readouterr().out
    assert main(["run", *words, "--dry-run", "choose.max_params=abc"]) == 2
