"""The end of a sweep over methods: the answer, a figure, three commands that can be typed as they stand."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from glorabench.analysis.cells import named_groups_of
from glorabench.cli import ending, main
from glorabench.config.compose import compose, expand
from glorabench.records import record

QUICKSTART = Path(__file__).parents[2] / "results" / "quickstart"
WORDS = [
    *("data.task=digits", "train.epochs=1", "train.warmup_epochs=0", "trainer.limit_train_batches=2"),
    *("latency_rounds=0", "logger=none", "progress=none"),
]


@pytest.fixture(scope="module")
def quickstart() -> list[record.Record]:
    return record.read_all([QUICKSTART / "runs"])


def next_lines(out: str) -> list[list[str]]:
    """The words of the commands that are printed at the end."""
    return [shlex.split(line) for line in out.partition("\nnext:\n")[2].splitlines()[1::2]]


@pytest.mark.usefixtures("cache")
def test_a_sweep_over_methods_ends_with_the_answer_a_figure_and_three_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["glorabench"])
    words = ["-m", *WORDS, "method=linear,bitfit", "seed=0", f"results_dir={tmp_path}"]
    assert main(["run", *words]) == 0
    out = capsys.readouterr().out
    assert 0 < out.index("Best of all 2: ") < out.index("verdict"), "the answer stands before the table"
    figure = Path(out.partition("figure: ")[2].partition(";")[0])
    assert figure.name == "accuracy-params.svg"
    assert figure.read_text().startswith("<svg")
    more, report, choose = next_lines(out)
    assert more[:3] == ["glorabench", "run", "-m"]
    assert more[-1] == "seed=0,1,2,3,4"
    assert set(words) - {"seed=0"} <= set(more)
    configs = [compose(job) for job in expand(more[3:], multirun=True)[0]]
    assert len(configs) == 10
    assert {r.run_id for r in record.read_all([tmp_path / "runs"])} < {record.run_id(config) for config in configs}
    assert main(report[1:]) == 0
    assert choose[1:] == ["run", "experiment=choose", "data.root=FOLDER"]

    capsys.readouterr()
    assert main(["run", *words]) == 0
    again = capsys.readouterr().out
    assert "2 of 2 found" in again
    assert again.partition("found\n")[2] == out[out.index("2 runs of ") :], "the same records, the same end"


def test_one_method_is_no_comparison(quickstart: list[record.Record], capsys: pytest.CaptureFixture[str]) -> None:
    groups = ending.method_groups(named_groups_of([r for r in quickstart if r.names["method"] == "lora"]))
    ending.show_next(groups, ["method=lora"], Path("results/local"))
    assert (groups, capsys.readouterr()) == ([], ("", ""))


def test_tuning_on_val_is_no_comparison(quickstart: list[record.Record]) -> None:
    config = quickstart[0].config
    on_val = {**config, "selection": {**config["selection"], "report_on": "val"}}
    tuned = [replace(r, config={**on_val, "names": r.names}) for r in quickstart]
    assert ending.method_groups(named_groups_of(tuned)) == []
    (group,) = ending.method_groups(named_groups_of(quickstart))
    assert len(group.records) == 12


def test_a_method_that_failed_everywhere_leaves_no_comparison(quickstart: list[record.Record]) -> None:
    two = [r for r in quickstart if r.names["method"] in ("lora", "glora")]
    failed = [replace(r, status="failed") if r.names["method"] == "lora" else r for r in two]
    assert ending.method_groups(named_groups_of(failed)) == []


def test_a_figure_that_cannot_be_written_is_one_line(
    quickstart: list[record.Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "figures").write_text("in the way")
    ending.show_next(ending.method_groups(named_groups_of(quickstart)), ["experiment=quickstart"], tmp_path)
    said = capsys.readouterr()
    assert said.err.startswith("no figure: ")
    assert len(said.err.splitlines()) == 1
    assert len(next_lines(said.out)) == 3


def test_the_commands_fit_the_sweep(quickstart: list[record.Record], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["glorabench"])
    (group,) = ending.method_groups(named_groups_of(quickstart))
    words = ["-m", "method=lora,glora", "seed=0,1", "data.root=my images"]
    more, report, _ = ending.next_commands(group, words, Path("results/local"))
    assert more == "glorabench run -m method=lora,glora 'data.root=my images' seed=0,1,2,3,4"
    assert report == "glorabench report mini --results results/local"
    own = [replace(r, config={**r.config, "names": {**r.names, "data": "folder"}}) for r in group.records]
    *_, export = ending.next_commands(replace(group, records=own), words, Path("mine"))
    run_id = export.split()[2].removeprefix("run=")
    best = max(r.score for r in own)
    assert {r.score for r in own if r.run_id == run_id} == {best}
    assert export.endswith("to=merged results_dir=mine")


def test_a_command_names_its_program_where_no_environment_is_active(
    quickstart: list[record.Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(tmp_path / ".venv" / "bin" / "glorabench")])
    (group,) = ending.method_groups(named_groups_of(quickstart))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert all(c.startswith(".venv/bin/glorabench ") for c in ending.next_commands(group, [], Path("results/local")))
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert all(c.startswith("glorabench ") for c in ending.next_commands(group, [], Path("results/local")))
