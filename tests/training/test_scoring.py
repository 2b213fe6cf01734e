"""`glorabench test`: a finished run on other data has a record of its own, which no table takes for a usual one."""

from __future__ import annotations

from pathlib import Path

import pytest

from glorabench.analysis.cells import cells
from glorabench.cli import main
from glorabench.errors import BadInput
from glorabench.records import record
from glorabench.records.compatibility import comparable_groups, configuration_of
from glorabench.records.filters import one_protocol
from glorabench.records.record import Record, read_all

WORDS = ["method=linear", "data.task=dsprites_loc", "logger=none", "progress=none", "latency_rounds=0"]
QUICK = ["train.epochs=2", "train.warmup_epochs=0"]


@pytest.fixture(scope="module")
def tested(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record, Record]:
    """The results folder of a run, its record, and that of its test on another task of 16 classes."""
    results = tmp_path_factory.mktemp("tested")
    assert main(["run", *WORDS, *QUICK, f"results_dir={results}"]) == 0
    (run,) = read_all([results / "runs"])
    assert main(["test", f"run={run.run_id[:6]}", f"results_dir={results}", "data.task=dsprites_ori"]) == 0
    (test,) = read_all([results / "tests" / "runs"])
    return results, run, test


def test_the_record_is_one_of_its_own_and_says_what_was_trained_where(tested) -> None:
    _, run, test = tested
    assert test.run_id != run.run_id
    assert (test.names["task"], test.config["trained_run"]) == ("dsprites_ori", run.run_id)
    assert test.config["selection"]["trained_on"] == "mini/dsprites_loc"
    assert test.config["train"] == run.config["train"]
    assert test.history == []
    assert test.params == run.params
    assert test.metrics["n"] == len(test.outcomes["top1"]) or test.metrics["n"] > 100


def test_the_network_is_that_of_the_run_and_the_images_are_the_others(tested) -> None:
    """Recomputed without the Trainer: the rebuilt network on the test images of the other task."""
    import torch

    from glorabench.config.compose import compose
    from glorabench.config.instantiate import DATA, make
    from glorabench.records.outcomes import unpack
    from glorabench.training.kinds import ImageClassification
    from glorabench.training.trained_network import rebuild_backbone

    results, run, test = tested
    backbone = rebuild_backbone(run, results / "adapters" / f"{run.run_id}.safetensors")
    config = compose([*WORDS, "data.task=dsprites_ori"])
    task = make(config["data"], DATA)
    data = ImageClassification().data(task, backbone, config)
    with torch.inference_mode():
        right = [
            backbone.net(data.normalise(images)).argmax(-1) == labels
            for images, labels in data.evaluation_batches("test")
        ]
    assert torch.cat(right).tolist() == unpack(test.outcomes["top1"]).tolist()


def test_no_table_holds_it_beside_a_record_of_training(tested) -> None:
    _, run, test = tested
    other = {**run.config, "names": test.names, "data": test.config["data"]}
    own = Record(record.run_id(other), "done", record.identity(other), measures=run.measures, metrics=run.metrics)
    assert len(comparable_groups([own, test])) == 2
    with pytest.raises(BadInput, match=r"differ in selection.trained_on, so no table holds them all"):
        one_protocol([own, test])
    with pytest.raises(BadInput, match="do not compare"):
        cells([own, test])


def test_seeds_of_a_test_share_a_cell(tested) -> None:
    _, _, test = tested
    other = {**test.config, "seed": 1, "trained_run": "0" * 12}
    assert configuration_of(other) == configuration_of(test.config)
    assert record.run_id(other) != test.run_id


def test_usual_tables_do_not_see_it_and_its_own_do(tested, capsys: pytest.CaptureFixture[str]) -> None:
    results, run, test = tested
    assert main(["list", "--results", str(results), "--format", "md"]) == 0
    out = capsys.readouterr().out
    assert run.run_id in out
    assert test.run_id not in out
    assert main(["table", "mini", "--results", str(results / "tests")]) == 0
    assert "trained on mini/dsprites_loc" in capsys.readouterr().out


def test_the_same_test_again_is_read(tested, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    results, run, test = tested
    monkeypatch.setattr("glorabench.training.scoring._tested", lambda *_: pytest.fail("tested again"))
    assert main(["test", f"run={run.run_id}", f"results_dir={results}", "data.task=dsprites_ori"]) == 0
    assert test.run_id in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "test needs data=NAME or data.task=NAME"),
        ("data.task=dsprites_loc", "was tested on mini/dsprites_loc already, see its record: name other data"),
        ("data.task=digits", "task digits has 10 classes, run {id} was trained for 16: choose data with the same"),
        ("data.task=dsprites_ori train.lr=1", "'train.lr=1': a test changes nothing but the data of a run"),
        ("data.task=dsprites_ori +new=1", "'+new=1': a test changes nothing but the data of a run"),
        ("data.task=dsprite", "no task 'dsprite' in the suite mini"),
        ("+data.new=1 data.task=dsprites_ori", "has no argument 'new'"),
    ],
)
def test_what_no_test_can_do_is_one_line(tested, words: str, message: str, capsys) -> None:
    results, run, _ = tested
    assert main(["test", f"run={run.run_id}", f"results_dir={results}", *words.split()]) == 2
    error = capsys.readouterr().err
    assert message.format(id=run.run_id) in error
    assert error.count("\n") == 1


def test_a_test_without_a_run_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "data.task=digits"]) == 2
    assert "test needs run=ID" in capsys.readouterr().err
