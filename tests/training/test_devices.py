"""Several devices: each process has its part of each batch, and together they train as one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from conftest import stopped_in_epoch
from glorabench.config.compose import compose
from glorabench.data.samplers import Shuffle, VisitShuffle
from glorabench.records import record
from glorabench.training.environment import OneOfSeveral, OneProcess
from glorabench.training.run import run


@pytest.mark.parametrize(("size", "batch", "processes"), [(20, 4, 2), (23, 6, 3), (64, 64, 4), (7, 8, 2)])
def test_the_parts_of_all_processes_are_the_batches_of_one(size: int, batch: int, processes: int) -> None:
    whole = Shuffle(size, seed=5)
    parts = [Shuffle(size, 5, batch, rank, processes) for rank in range(processes)]
    for sampler in (whole, *parts):
        sampler.set_epoch(3)
    batches = np.array(list(whole))[: size // batch * batch].reshape(-1, batch)
    shares = [np.array(list(part), dtype=int).reshape(len(batches), batch // processes) for part in parts]
    shares = np.stack(shares, axis=1)
    assert np.array_equal(shares.reshape(batches.shape), batches)
    assert [len(part) for part in parts] == [batches.size // processes] * processes


def test_visits_are_shared_as_indices_are() -> None:
    order = VisitShuffle(8, 0, 4, 1, 2)
    order.set_epoch(2)
    plain = Shuffle(8, 0, 4, 1, 2)
    plain.set_epoch(2)
    assert list(order) == [(2, index) for index in plain]
    assert len(list(order)) == len(order) == 4


def test_one_process_is_as_before() -> None:
    assert list(Shuffle(9, 1, 4)) == np.random.default_rng([1, 0]).permutation(9).tolist()


def test_lightning_is_told_which_process_it_is() -> None:
    environment = OneOfSeveral(1, 3, 1234)
    assert (environment.global_rank(), environment.local_rank(), environment.world_size()) == (1, 1, 3)
    assert (environment.main_address, environment.main_port) == ("127.0.0.1", 1234)
    assert environment.creates_processes_externally
    assert not OneProcess().creates_processes_externally


def config(results: Path, *words: str) -> dict:
    quick = ["logger=none", "progress=none", "latency_rounds=0", "train.warmup_epochs=0", "checkpoint_every=1"]
    short = ["train.epochs=2", "trainer.limit_train_batches=4", "train.batch_size=16", "train.accumulate=2"]
    return compose([*quick, *short, f"results_dir={results}", *words])


@pytest.mark.campaign
@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("method", ["method=lora", "method=glora method.path=supernet", "method=linear"])
def test_two_processes_train_as_one_does(method: str, tmp_path: Path) -> None:
    """But for rounding; without dropout, of which each process draws its own."""
    one, two = (run(config(tmp_path / n, f"train.devices={n}", *method.split())) for n in ("1", "2"))
    assert two.status == "done", two.error
    assert [e["train_loss"] for e in two.history] == pytest.approx([e["train_loss"] for e in one.history], abs=1e-4)
    costs = [r.cost["stages"]["train"] for r in (one, two)]
    assert [costs[0][key] for key in ("steps", "examples")] == [costs[1][key] for key in ("steps", "examples")]
    assert costs[1]["flops"] == pytest.approx(costs[0]["flops"], rel=0.05)  # each process forms the weights
    tensors = [load_file(tmp_path / n / "adapters" / f"{r.run_id}.safetensors") for n, r in (("1", one), ("2", two))]
    for name, tensor in tensors[0].items():
        assert tensors[1][name].allclose(tensor, atol=1e-4), name
    assert two.metrics["n"] == one.metrics["n"]


@pytest.mark.campaign
@pytest.mark.usefixtures("cache")
def test_two_processes_that_were_stopped_go_on_exactly(tmp_path: Path) -> None:
    words = ("train.devices=2", "optimizer=schedulefree")
    whole, parts = config(tmp_path / "whole", *words), config(tmp_path / "parts", *words)
    expected = run(whole)
    with stopped_in_epoch(2):
        run(parts)
    result = run(parts)
    assert (result.run_id, result.outcomes) == (expected.run_id, expected.outcomes)
    files = [Path(c["results_dir"]) / "adapters" / f"{record.run_id(c)}.safetensors" for c in (whole, parts)]
    first, second = map(load_file, files)
    assert all(first[name].equal(second[name]) for name in first)
