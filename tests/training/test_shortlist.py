"""`choose`: equal trials on val, each method's best rate on test, one sentence, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

import glorabench
from glorabench.cli import main
from glorabench.config.compose import choice_settings, compose
from glorabench.data.folders import checking
from glorabench.records import record
from glorabench.records.record import Record
from test_folder import class_folders

WORDS = ["experiment=choose", "method=linear,bitfit", "choose.rates=[2e-3,3e-2]", "choose.seeds=[1]"]
FAST = ["train.epochs=3", "train.batch_size=8", "latency_rounds=0", "progress=none"]


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_upstream: None) -> None:
    checking._inspect.cache_clear()
    monkeypatch.setenv("GLORABENCH_CACHE", str(tmp_path / "cache"))


def command(tmp_path: Path, *words: str) -> list[str]:
    """The words of a small choice on 30 images of three classes."""
    root = tmp_path / "pets"
    if not root.exists():
        class_folders(root, {"cat": 10, "dog": 10, "emu": 10}, suffix=".jpg")
    return [*WORDS, *FAST, f"data.root={root}", f"results_dir={tmp_path / 'my_results'}", *words]


def of_split(records: list[Record], split: str) -> list[Record]:
    return [r for r in records if r.config["selection"]["report_on"] == split]


def test_a_choice_tunes_on_val_and_ends_with_a_sentence_a_table_and_a_figure(
    tmp_path: Path, own_cache: None, capsys: pytest.CaptureFixture[str]
) -> None:
    words = command(tmp_path)
    assert main(["run", "-m", *words, "choose.max_params=1k"]) == 0
    out = capsys.readouterr().out
    results = tmp_path / "my_results"
    trials, tests = record.read_all([results / "tuning" / "runs"]), record.read_all([results / "runs"])
    assert (len(trials), len(of_split(trials, "val"))) == (4, 4)
    assert (len(tests), len(of_split(tests, "test"))) == (2, 2)
    assert not any(r.selection["contaminated"] for r in [*trials, *tests])
    for method in ("linear", "bitfit"):
        scores = {r.config["train"]["lr"]: r.score for r in trials if r.names["method"] == method}
        best = max(sorted(scores), key=lambda rate: scores[rate])
        assert {r.config["train"]["lr"] for r in tests if r.names["method"] == method} == {best}
        assert f"{method}: best at train.lr={best:g}" in out
        plain = [f"method={method}", f"train.lr={best}", "seed=1", "data=folder", words[-2], *FAST]
        assert record.run_id(compose(plain)) in {r.run_id for r in tests}, "an ordinary run"
    text = " ".join(out.split())
    assert "Within at most 1,000 parameters: linear probe is the best, with top-1 " in text
    figure = text.partition("figure: ")[2].partition(";")[0]
    assert Path(figure).name == "accuracy-params.svg"
    assert Path(figure).read_text().count("BitFit")

    assert main(["run", "-m", *words]) == 0
    out = capsys.readouterr().out
    assert (out.count("4 of 4 found"), out.count("2 of 2 found"), out.count("job ")) == (1, 1, 0)
    assert "parameters: linear" not in out, "another budget trains nothing"
    same = glorabench.run(*words, multirun=True)
    assert {r.run_id for r in same} == {r.run_id for r in tests}
    assert sum(r.cost["images_decoded"] for r in [*trials, *tests]) == 30, "each image once for all runs"


@pytest.mark.campaign
def test_a_rate_that_fails_is_not_chosen_and_a_method_without_another_is_left_out(
    tmp_path: Path, own_cache: None, capsys: pytest.CaptureFixture[str]
) -> None:
    words = command(tmp_path, "method=linear")
    assert main(["run", *words, "choose.rates=[1e-3,1e38]"]) == 0
    assert "linear: best at train.lr=0.001" in capsys.readouterr().out
    assert main(["run", *words, "choose.rates=[1e38]"]) == 1
    said = capsys.readouterr()
    assert "linear: left out, a run failed at every learning rate" in said.out
    assert "failed: linear on pets, seed 0: NonFiniteLoss" in said.err


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("train.lr=1e-3", "'train.lr=1e-3': with choose all methods have the same trials: give choose.rates=[...]"),
        ("seed=0,1", "give choose.seeds=[...]"),
        ("selection.report_on=test", "tuning is on val and the result on test: leave it out"),
        ("train.epochs=1,2", "choose compares methods, so train.epochs has one value"),
        ("choose.rates=[]", "choose.rates must be a list of different numbers above 0, got []"),
        ("choose.rates=[1e-3,1e-3]", "choose.rates must be a list of different numbers above 0"),
        ("choose.seeds=[0.5]", "choose.seeds must be a list of different whole numbers of at least 0, got [0.5]"),
        ("choose.max_params=many", "choose.max_params 'many' is no number"),
        ("choose.max_params=true", "choose.max_params must be a number such as 50000 or 50k, or null, got True"),
        ("choose.max_param=5", "no key 'choose.max_param'; did you mean 'choose.max_params'?"),
    ],
)
def test_what_cannot_be_chosen_is_refused_in_one_line(
    word: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["experiment=choose", f"data.root={tmp_path}", f"results_dir={tmp_path / 'results'}"]
    assert main(["run", "-m", *words, word]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert (len(said.err.splitlines()), list(tmp_path.iterdir())) == (1, [])


def test_choose_is_no_part_of_a_run() -> None:
    words = ["experiment=choose", "choose.max_params=50k"]
    assert "choose" not in compose(words)
    assert record.run_id(compose(words)) == record.run_id(compose(["experiment=choose"]))
    settings = choice_settings(words)
    assert settings is not None
    assert (settings.max_params, settings.max_latency, settings.seeds) == ("50k", None, [0, 1, 2])
    assert choice_settings(["experiment=quickstart"]) is None
    assert choice_settings(["method=lora"]) is None
