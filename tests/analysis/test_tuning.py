"""Tuning by an equal budget, and what the best epoch would have added."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from glorabench import cli
from glorabench.analysis import tuning
from glorabench.config.paths import conf_dir
from glorabench.errors import BadInput
from glorabench.records import record
from glorabench.records.record import Record
from glorabench.reports.tables import tuning as tuning_tables
from test_long_table import made

TASKS = ("digits", "dsprites_loc")
N = 100


def trial(
    method: str,
    lr: float,
    curve: list[int],
    task: str = "digits",
    seed: int = 0,
    report_on: str = "val",
    **values: Any,
) -> Record:
    """A run on val with so many of N right after each epoch."""
    one = made(method, task=task, seed=seed, right=2 * curve[-1], fit_on="train", **values)
    config = {
        **one.config,
        "train": {"lr": lr, "epochs": len(curve)},
        "selection": {**one.config["selection"], "report_on": report_on},
    }
    history = [{"epoch": i + 1, f"{report_on}_top1": right / N} for i, right in enumerate(curve)]
    return replace(one, run_id=record.run_id(config), config=config, history=history)


def kept(folder: Path, records: list[Record]) -> Path:
    for r in records:
        record.write_record(r, record.path_of(folder, r.config))
    return folder


GRID = {  # mean over tasks: lora 50, 55, 55 (a tie, so the smaller), ssf 60, 40, 40
    "lora": {5e-4: (40, 60), 2e-3: (50, 60), 8e-3: (60, 50)},
    "ssf": {5e-4: (60, 60), 2e-3: (40, 40), 8e-3: (40, 40)},
}
RUNS = [
    trial(method, lr, [30, right], task)
    for method, rates in GRID.items()
    for lr, each in rates.items()
    for task, right in zip(TASKS, each, strict=True)
]


def test_the_best_mean_wins_and_of_equal_ones_the_smaller_rate() -> None:
    found = tuning.trials_of_methods(RUNS)
    assert {one.method: one.best for one in found} == {"lora": 2e-3, "ssf": 5e-4}
    assert [found[0].score(lr) for lr in (5e-4, 2e-3, 8e-3)] == pytest.approx([0.50, 0.55, 0.55])
    head, body = tuning_tables.trials_table(found)
    assert head == ["method", "trials", "0.0005", "0.002", "0.008", "best lr", "at the edge"]
    assert body == [
        ["lora", "3", "50.00", "55.00", "55.00", "0.002", ""],
        ["ssf", "3", "60.00", "40.00", "40.00", "0.0005", "lowest"],
    ]


def test_a_rate_at_which_a_run_failed_is_a_trial_and_is_not_chosen() -> None:
    runs = [
        replace(r, status="failed", metrics={})
        if (r.names["method"], r.config["train"]["lr"], r.names["task"]) == ("lora", 2e-3, "digits")
        else r
        for r in RUNS
    ]
    found = tuning.trials_of_methods(runs)
    tuning.check_budgets(found)
    assert found[0].best == 8e-3
    assert tuning_tables.trials_table(found)[1][0] == ["lora", "3", "50.00", "failed", "55.00", "0.008", "highest"]
    with pytest.raises(BadInput, match=r"ssf: a run failed at every train\.lr"):
        _ = tuning.trials_of_methods([replace(r, status="failed") for r in RUNS if r.names["method"] != "lora"])[0].best


def test_unequal_budgets_are_refused_by_name() -> None:
    fewer = [r for r in RUNS if r.names["method"] != "ssf" or r.config["train"]["lr"] != 8e-3]
    with pytest.raises(BadInput, match="ssf had 2 trials, lora 3"):
        tuning.check_budgets(tuning.trials_of_methods(fewer))
    with pytest.raises(BadInput, match=r"ssf has no run with train\.lr=0\.008 on dsprites_loc, seed 0: an equal"):
        tuning.check_budgets(tuning.trials_of_methods(RUNS[:-1]))
    other = [trial("ia3", lr, [30, 50], task) for lr in (1e-3, 1e-2, 3e-2) for task in TASKS]
    tuning.check_budgets(tuning.trials_of_methods([*RUNS, *other]))  # as many, though others


def test_runs_that_are_no_trials_are_refused() -> None:
    with pytest.raises(BadInput, match="scored on test, where nothing is chosen"):
        tuning.trials_of_methods([trial("lora", 1e-3, [30], report_on="test")])
    with pytest.raises(BadInput, match=r"lora: its runs differ in method\.rank, too \(8, 4\)"):
        tuning.trials_of_methods([trial("lora", 1e-3, [30], rank=4), trial("lora", 2e-3, [30], rank=8)])


def test_values_by_task_are_one_trial() -> None:
    tuning.trials_of_methods(
        [trial("lora", 1e-3, [30], task, scale=s) for task, s in zip(TASKS, (0.1, 10), strict=True)]
    )


@pytest.mark.parametrize(("name", "key"), [("mini", "lr_of"), ("vtab", "recipe"), ("glora", "recipe")])
def test_the_fragment_is_the_one_that_the_records_file_of_conf_takes(name: str, key: str) -> None:
    files = sorted((conf_dir() / "train").glob("*.yaml"))
    own = yaml.safe_load(next(p for p in files if p.stem == name).read_text())
    plain = {k: v for k, v in own.items() if not str(v).startswith("${") and k != "lr_of"}
    runs = []
    for r in RUNS:
        config = {**r.config, "train": {**plain, **r.config["train"], "epochs": own["epochs"]}}
        runs.append(replace(r, config=config, run_id=record.run_id(config)))
    text = tuning_tables.yaml_fragment(tuning.trials_of_methods(runs), files)
    assert text.startswith(f"# for conf/train/{name}.yaml\n")
    wanted = {"lora": 2e-3, "ssf": 5e-4}
    said = yaml.safe_load(text)
    assert said == (
        {"train": {"lr_of": wanted}} if key == "lr_of" else {"recipe": {m: {"lr": v} for m, v in wanted.items()}}
    )


def test_the_command_prints_yaml_with_the_table_as_comments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tuned", "--results", str(kept(tmp_path, RUNS))]) == 0
    out = capsys.readouterr().out
    assert "# | lora | 3 | 50.00 | 55.00 | 55.00 | 0.002 |  |" in out
    assert next(iter(yaml.safe_load(out))) in ("train", "recipe")
    kept(tmp_path, [trial("lora", 1e-1, [30, 40])])
    assert cli.main(["tuned", "--results", str(tmp_path)]) == 2
    assert "ssf had 3 trials, lora 4" in capsys.readouterr().err


def test_the_gain_of_the_best_epoch_is_of_the_curves_at_the_chosen_rate() -> None:
    runs = [
        trial("lora", 1e-3, [10, 90, 20], "digits"),  # a worse rate at the last epoch, whatever its best one was
        trial("lora", 1e-3, [10, 90, 20], "dsprites_loc"),
        trial("lora", 2e-3, [40, 53, 50], "digits"),  # +3
        trial("lora", 2e-3, [40, 45, 46], "dsprites_loc"),  # +0
        trial("ssf", 1e-3, [60, 60, 60], "digits"),  # +0, the first epoch
        trial("ssf", 1e-3, [61, 50, 60], "dsprites_loc"),  # +1
    ]
    made_of, left = tuning.epoch_gains(runs)
    assert not left
    lora, ssf = made_of
    assert (lora.method, lora.lr) == ("lora", 2e-3)
    assert lora.gain.value == pytest.approx(0.015)
    half = 12.706204736 * 0.015  # Student's t of one degree of freedom; standard error of 0 and 0.03
    assert (lora.gain.low, lora.gain.high) == pytest.approx((0.015 - half, 0.015 + half))
    assert (lora.last, lora.best, lora.largest, lora.epoch) == pytest.approx((0.48, 0.495, 0.03, 2.5))
    assert (ssf.gain.value, ssf.epoch) == pytest.approx((0.005, 1.0))
    rows = tuning_tables.gain_rows(made_of)
    assert rows[0] == ("lora", "0.002", "48.00", "49.50", "1.50", "-17.56 to 20.56", "3.00", "2", "2.5")
    assert rows[-1][:5] == ("mean of 2 methods", "", "", "", "1.00")


def test_seeds_are_averaged_before_tasks() -> None:
    runs = [trial("lora", 1e-3, [50, 40 + 10 * seed], seed=seed) for seed in (0, 1)]
    ((gain,), _) = tuning.epoch_gains(runs)
    assert (gain.gain.value, gain.gain.n) == (pytest.approx(0.05), 1)
    assert tuning_tables.gain_rows([gain])[0][5] == ""  # one task has no interval


def test_unfinished_methods_are_left_out_and_said() -> None:
    made_of, left = tuning.epoch_gains(
        [*RUNS[:-1], *[trial("ia3", 1e-3, [1], task, status="failed") for task in TASKS]]
    )
    assert [gain.method for gain in made_of] == ["lora"]
    assert left["ssf"].startswith("no run with train.lr=0.008 on dsprites_loc")
    assert left["ia3"] == "a run failed at every learning rate"


def test_a_record_without_a_curve_is_refused() -> None:
    with pytest.raises(BadInput, match="has no curve of val_top1"):
        tuning.epoch_gains([replace(trial("lora", 1e-3, [30]), history=[{"epoch": 1, "train_loss": 1.0}])])


@pytest.mark.parametrize("form", ["text", "md"])
def test_the_command_says_what_it_estimates_and_where_the_published_number_is_from(
    tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["optimism", "--results", str(kept(tmp_path, RUNS)), "--format", form]) == 0
    out = capsys.readouterr().out
    for word in ("+0.65", "OSU-MLB/PETL_Vision", "245d262", "mean of 2 methods", "top-1 on val (200 images)"):
        assert word in out
