"""Warm-ups: every run reaches its learning rate; that of a recipe fits, one given by hand that does not is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from glorabench.cli import main
from glorabench.config.compose import compose, expand
from glorabench.config.paths import options
from glorabench.errors import BadInput
from glorabench.records.store import suite_by_file
from glorabench.training import schedules
from glorabench.training.build import check_run

RESULTS = Path(__file__).parents[2] / "results"
pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 15])
def test_the_peak_is_reached_however_short_the_run(epochs):
    train = compose([f"train.epochs={epochs}"])["train"]
    rate = schedules.lr_factor_of(train, 15)
    rates = [rate(step) for step in range(epochs * 15)]
    assert max(rates) == 1
    assert rates[-1] < 1
    assert train["warmup_epochs"] == {1: 0, 2: 1}.get(epochs, 2)


@pytest.mark.parametrize(
    ("words", "warmup"),
    [
        ("train=vtab", 10),
        ("train=vtab train.epochs=11", 10),
        ("train=vtab train.epochs=10", 5),
        ("train=glora train.epochs=1", 0),
        ("train.epochs=9 method=glora method.path=supernet search=evolution search.epochs=2", 1),
        ("train.epochs=9 method=glora method.path=supernet search=evolution search.epochs=45", 2),
        ("train.epochs=2 train.warmup_epochs=0.5", 0.5),
    ],
)
def test_the_warm_up_of_a_recipe_fits_into_the_shortest_training(words, warmup):
    config = compose(words.split())
    check_run(config)
    assert config["train"]["warmup_epochs"] == warmup
    assert type(config["train"]["warmup_epochs"]) is type(warmup)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("train.warmup_epochs=15", r"train\.warmup_epochs=15 is not shorter than train\.epochs=15.*warmup_epochs=7 or"),
        ("train.warmup_epochs=1 train.epochs=1", r"not shorter than train\.epochs=1.*train\.warmup_epochs=0 or more"),
        ("train=vtab train.warmup_epochs=100", r"not shorter than train\.epochs=100"),
        (
            "method=glora method.path=supernet search=random search.epochs=3 train.warmup_epochs=3",
            r"not shorter than search\.epochs=3",
        ),
    ],
)
def test_one_given_by_hand_that_is_not_shorter_is_refused(words, said):
    with pytest.raises(BadInput, match=said):
        check_run(compose(words.split()))


def test_that_it_was_shortened_is_said_once(results, monkeypatch, capsys):
    monkeypatch.setattr("glorabench.training.run.run", lambda config: None)
    words = ["method=linear", "train.epochs=2", f"results_dir={results}"]
    said = "train.warmup_epochs is 1: the 2 of the recipe do not fit into a training of 2\n"
    main(["run", *words])
    assert capsys.readouterr().out.count(said) == 1
    main(["run", *words, "train.warmup_epochs=1"])
    assert "warmup" not in capsys.readouterr().out


def test_experiments_and_committed_records_are_as_they_were():
    for name in options("experiment"):
        jobs, _ = expand([f"experiment={name}"], multirun=False)
        config = compose(jobs[0])
        # the warm-ups of these are those of papers, in steps
        if config["names"]["backbone"] in ("llama_7b", "llama_3_2_3b", "flan_t5"):
            assert 0 < config["train"]["warmup_epochs"] <= 0.4
            continue
        is_text = config["names"]["data"] == "mini_text"
        assert config["train"]["warmup_epochs"] in ((1,) if is_text else (2, 10))
    trained = [r.config for r in suite_by_file("mini", RESULTS).values()]
    assert {config["train"]["warmup_epochs"] for config in trained} == {2}
    for config in trained:
        schedules.check_schedule(config["train"], (config.get("search") or {}).get("epochs"))
