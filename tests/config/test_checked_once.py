"""Each configuration is checked once in a process, however often a sweep asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from glorabench import cli
from glorabench.config import schema
from glorabench.training import build


def test_a_sweep_checks_each_of_its_runs_once(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schemas, parts = [], []
    validate, check_parts = schema.validate, build._check_parts
    monkeypatch.setattr(schema, "validate", lambda model, node, *a: schemas.append(model) or validate(model, node, *a))
    monkeypatch.setattr(build, "_check_parts", lambda config: parts.append(config["seed"]) or check_parts(config))
    fast = ["train.epochs=1", "train.warmup_epochs=0", "logger=none", "progress=none", "latency_rounds=0"]
    words = ["run", "-m", "method=linear", "seed=0,1", *fast, f"results_dir={tmp_path}"]
    assert cli.main(words) == 0
    assert schemas.count(schema.RunConfig) == 2
    assert parts == [0, 1]


def test_a_config_that_is_wrong_is_refused_each_time() -> None:
    for _ in range(2):
        assert cli.main(["run", "seed=-1"]) == 2


def test_what_is_no_text_in_json_is_told_apart() -> None:
    """A key that is a number must not pass because the same key as a text did."""
    checked: set[int] = set()
    for config in ({"method": {"1": 2}}, {"method": {1: 2}}, {"method": {"1": 2.0}}):
        with schema.once(checked, config) as is_new:
            assert is_new
    with schema.once(checked, {"method": {1: 2}}) as is_new:
        assert not is_new
