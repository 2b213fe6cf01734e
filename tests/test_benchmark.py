"""The committed mini benchmark: what was run, at which rates, and what one record is worth to its table."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import pytest
import yaml

from glorabench import cli
from glorabench.analysis.cells import groups_of
from glorabench.analysis.tuning import check_budgets, trials_of_methods
from glorabench.config import paths
from glorabench.data.mini import MINI_TASKS
from glorabench.records import record
from glorabench.records.record import Record
from glorabench.reports.tables import suite

ROOT = Path(__file__).parents[1]
RUNS, TRIALS, LAYERS = (ROOT / "results" / name / "mini" for name in ("runs", "tuning/runs", "tuning/lora_all/runs"))
ALL, SEARCHED = "lora on all layers", "glora + evolution"
MORE = ("full", "linear", "lora", "glora", ALL)  # methods with two seeds more


def arm(r: Record) -> str:
    """What the record is a run of."""
    if r.names["method"] == "lora" and r.config["method"]["rank"] == 3:
        return ALL
    return r.names["method"] + (f" + {r.names['search']}" if "search" in r.names else "")


@pytest.fixture(scope="module")
def runs() -> list[Record]:
    return record.read_all([RUNS])


def test_the_rates_of_the_recipe_are_those_that_equal_trials_chose() -> None:
    found = trials_of_methods(record.read_all([TRIALS]))
    check_budgets(found)
    rates = yaml.safe_load((paths.conf_dir() / "train" / "mini_tuned.yaml").read_text())["lr_of"]
    assert {one.method: one.best for one in found} == rates
    assert {one.method for one in found} == set(paths.options("method"))
    assert {len(one.runs) for one in found} == {4}
    (layers,) = trials_of_methods(record.read_all([LAYERS]))
    assert layers.runs.keys() == found[0].runs.keys()


def test_no_trial_read_the_test_split_and_no_run_chose_on_it(runs: list[Record]) -> None:
    assert {r.config["selection"]["report_on"] for r in record.read_all([TRIALS])} == {"val"}
    assert not any(r.selection["contaminated"] for r in runs)


def test_every_method_was_run_on_every_task_at_its_rate(runs: list[Record]) -> None:
    rates = yaml.safe_load((paths.conf_dir() / "train" / "mini_tuned.yaml").read_text())["lr_of"]
    seeds: dict[str, dict[str, set[int]]] = {}
    (layers,) = trials_of_methods(record.read_all([LAYERS]))
    rates |= {ALL: layers.best, SEARCHED: rates["glora"]}
    for r in runs:
        assert r.status == "done"
        assert r.config["train"]["lr"] == rates[arm(r)]
        seeds.setdefault(arm(r), {}).setdefault(r.names["task"], set()).add(r.config["seed"])
    assert seeds.keys() == {*paths.options("method"), SEARCHED, ALL}
    for name, by_task in seeds.items():
        assert by_task.keys() == MINI_TASKS.keys(), name
        assert all(found >= set(range(5 if name in MORE else 3)) for found in by_task.values()), name


def test_a_deleted_record_changes_its_cell_and_mean_and_the_table_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], runs: list[Record]
) -> None:
    few = [r for r in runs if arm(r) in ("lora", "ssf", "linear")]
    (lost,) = (r for r in few if (r.names["method"], r.names["task"], r.config["seed"]) == ("lora", "shapes_count", 1))
    for r in few:
        source = record.path_of(ROOT / "results", r.config)
        target = record.path_of(tmp_path, r.config)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    before = {row["method"]: row for row in csv.DictReader(io.StringIO(suite.suite_csv(groups_of(few))))}
    record.path_of(tmp_path, lost.config).unlink()
    assert cli.main(["table", "mini", "--results", str(tmp_path), "--format", "csv"]) == 0
    after = {row["method"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    changed = {(m, key) for m, row in before.items() for key in row if row[key] != after[m][key]}
    moved = {"shapes_count", "shapes_count_low", "shapes_count_high"}
    moved |= {name.replace("shapes_count", "mini_mean_5") for name in moved}
    assert changed == {("lora", key) for key in {*moved, "n"}}
    assert cli.main(["table", "mini", "--results", str(tmp_path), "--format", "md"]) == 0
    assert "- LoRA: no run of 1 of 5 seeds (shapes_count)" in capsys.readouterr().out
