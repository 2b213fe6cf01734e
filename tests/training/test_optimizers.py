"""Optimisers: each against its formula, resumed to the last digit, and schedule-free weights where they belong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from conftest import stopped_in_epoch
from glorabench.config.compose import compose
from glorabench.config.instantiate import OPTIMIZER, make
from glorabench.config.paths import options
from glorabench.errors import BadInput
from glorabench.records import record
from glorabench.training.averaging import AveragedWeights
from glorabench.training.checkpoint import LAST, read_training_state
from glorabench.training.optimizers import optimizer_node
from glorabench.training.run import run

NAMES = options("optimizer")
QUICK = ["method=linear", "logger=none", "progress=none", "latency_rounds=0", "train.warmup_epochs=1"]
LR, DECAY = 0.1, 0.01
HERE = [name for name in NAMES if name != "paged" or torch.cuda.is_available()]
SHORT = ("schedulefree",)  # one with averages; the rest takes its time


def built(name: str, weight: torch.Tensor, *words: str) -> torch.optim.Optimizer:
    node = compose([f"optimizer={name}", *words])["optimizer"]
    return make(node, OPTIMIZER).build([{"params": [weight], "weight_decay": DECAY}], LR, fused=False)


def trajectory(name: str, gradients: list[torch.Tensor], *words: str) -> torch.Tensor:
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))
    optimizer = built(name, weight, *words)
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()
    return weight.detach()


def adamw(w: torch.Tensor, gradients: list[torch.Tensor]) -> torch.Tensor:
    m = v = torch.zeros_like(w)
    for t, g in enumerate(gradients, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w = w - LR * DECAY * w - LR * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    return w


def sgd(w: torch.Tensor, gradients: list[torch.Tensor]) -> torch.Tensor:
    momentum = torch.zeros_like(w)
    for g in gradients:
        momentum = 0.9 * momentum + g + DECAY * w
        w = w - LR * momentum
    return w


def lion(w: torch.Tensor, gradients: list[torch.Tensor]) -> torch.Tensor:
    m = torch.zeros_like(w)
    for g in gradients:
        w = w - LR * DECAY * w - LR * (0.9 * m + 0.1 * g).sign()
        m = 0.99 * m + 0.01 * g
    return w


def lamb(w: torch.Tensor, gradients: list[torch.Tensor]) -> torch.Tensor:
    m = v = torch.zeros_like(w)
    for t, g in enumerate(gradients, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        update = (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-6) + DECAY * w
        w = w - LR * (w.norm() / update.norm()) * update
    return w


FORMULAS = {"adamw": adamw, "sgd": sgd, "lion": lion, "lamb": lamb}


@pytest.mark.parametrize("name", FORMULAS)
def test_an_optimiser_computes_the_formula_of_its_paper(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(3, generator=generator, dtype=torch.float64) for _ in range(4)]
    start = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    assert torch.allclose(trajectory(name, gradients), FORMULAS[name](start, gradients), atol=1e-6)


def test_schedule_free_trains_at_y_and_is_evaluated_at_the_average_x() -> None:
    """Algorithm 1 of the paper for AdamW with a constant rate: decay at y, averaging weights 1 / t."""
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))
    optimizer = built("schedulefree", weight)
    averages = AveragedWeights(optimizer)
    generator = torch.Generator().manual_seed(0)
    x, z = weight.detach().clone(), weight.detach().clone()
    v = torch.zeros_like(x)
    for t in range(1, 6):
        y = 0.1 * z + 0.9 * x
        assert torch.allclose(weight.detach(), y, atol=1e-10)
        g = torch.randn(3, generator=generator, dtype=torch.float64)
        v = 0.999 * v + 0.001 * g * g
        z = z - LR * (g / ((v / (1 - 0.999**t)).sqrt() + 1e-8) + DECAY * y)
        x = (1 - 1 / t) * x + z / t
        weight.grad = g.clone()
        optimizer.step()
        before = weight.detach().clone()
        with averages.visible():
            assert torch.allclose(weight.detach(), x, atol=1e-10)
        assert torch.equal(weight.detach(), before), "to the last digit"


def test_moments_in_eight_bits_follow_adamw_and_go_on_from_a_checkpoint(tmp_path: Path) -> None:
    """Within 2 % of the way that AdamW goes; the state of a file gives the same digits as no stop."""
    words, generator = ["optimizer.min_8bit_size=64"], torch.Generator().manual_seed(0)
    start = torch.randn(16, 32, generator=generator)
    gradients = [torch.randn(16, 32, generator=generator) for _ in range(6)]
    weights = {name: torch.nn.Parameter(start.clone()) for name in ("adamw", "adamw8bit", "resumed")}
    exact, whole = built("adamw", weights["adamw"]), built("adamw8bit", weights["adamw8bit"], *words)
    for step, gradient in enumerate(gradients):
        for name, optimizer in (("adamw", exact), ("adamw8bit", whole)):
            weights[name].grad = gradient.clone()
            optimizer.step()
        if step == 2:
            torch.save(whole.state_dict(), tmp_path / "state")
            weights["resumed"].data.copy_(weights["adamw8bit"].detach())
    assert whole.state[weights["adamw8bit"]]["state1"].dtype == torch.uint8
    error = (weights["adamw8bit"] - weights["adamw"]).norm() / (weights["adamw"] - start).norm()
    assert 1e-5 < float(error.detach()) < 0.02
    resumed = built("adamw8bit", weights["resumed"], *words)
    resumed.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    for gradient in gradients[3:]:
        weights["resumed"].grad = gradient.clone()
        resumed.step()
    assert torch.equal(weights["resumed"], weights["adamw8bit"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there it works")
def test_paging_is_refused_where_it_would_be_left_out() -> None:
    with pytest.raises(BadInput, match=r"optimizer=paged needs a GPU, and there is none: optimizer=adamw"):
        make(compose(["optimizer=paged"])["optimizer"], OPTIMIZER)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_other_optimisers_have_no_averages(name: str) -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    averages = AveragedWeights(built(name, weight))
    with averages.visible():
        assert not averages.exist
        assert torch.equal(weight.detach(), torch.ones(3))


def config(results: Path, *words: str) -> dict:
    return compose([*QUICK, f"results_dir={results}", "checkpoint_every=1", *words])


def adapter(cfg: dict) -> dict[str, torch.Tensor]:
    return load_file(Path(cfg["results_dir"]) / "adapters" / f"{record.run_id(cfg)}.safetensors")


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in SHORT else pytest.mark.campaign) for n in HERE])
def test_a_run_that_was_stopped_ends_with_the_same_digits(name: str, tmp_path: Path) -> None:
    words = [f"optimizer={name}", "train.epochs=3", "train.batch_size=32", "train.accumulate=2"]
    words += ["selection.fit_on=train"]  # val is looked at on the way, which must not move a digit
    whole, parts = config(tmp_path / "whole", *words), config(tmp_path / "parts", *words)
    expected = run(whole)
    with stopped_in_epoch(3):
        run(parts)
    result = run(parts)
    assert result.run_id == expected.run_id
    assert result.outcomes == expected.outcomes
    assert [e["train_loss"] for e in result.history] == [e["train_loss"] for e in expected.history]
    assert [e["val_top1"] for e in result.history] == [e["val_top1"] for e in expected.history]
    before, after = adapter(whole), adapter(parts)
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.usefixtures("cache")
def test_a_checkpoint_of_schedule_free_holds_the_averages_and_goes_on_with_what_is_trained(tmp_path: Path) -> None:
    cfg = config(tmp_path, "optimizer=schedulefree", "train.epochs=3")
    with stopped_in_epoch(3):
        run(cfg)
    state = read_training_state(record.checkpoint_folder(cfg) / LAST)
    group = state["optimizer_states"][0]["param_groups"][0]
    assert group["train_mode"]
    (y,) = [tensor for name, tensor in state["trained"].items() if name.endswith("weight")]
    (x,) = [tensor for name, tensor in state["state_dict"].items() if name.endswith("weight")]
    z = state["optimizer_states"][0]["state"][0]["z"]
    assert not torch.equal(x, y)
    assert torch.allclose(y, 0.1 * z + 0.9 * x, atol=1e-6)


@pytest.mark.usefixtures("cache")
def test_schedule_free_has_no_schedule_but_its_warm_up(tmp_path: Path) -> None:
    result = run(config(tmp_path, "optimizer=schedulefree", "train.epochs=3"))
    lr = result.config["train"]["lr"]
    assert [entry["lr"] for entry in result.history][1:] == [lr, lr]
    assert result.history[0]["lr"] < lr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optimizer=sgd", "optimizer.momentum=1"], r"optimizer.momentum must be a number from 0 to below 1, got 1"),
        (["optimizer=sgd", "optimizer.nesterov=3"], r"optimizer.nesterov must be true or false, got 3"),
        (["optimizer=sgd", "optimizer.momentum=0", "optimizer.nesterov=true"], r"needs a momentum"),
        (["optimizer.betas=[0.9]"], r"optimizer.betas must be two numbers from 0 to below 1, got \[0.9\]"),
        (["optimizer.betas=[0.9,1]"], r"optimizer.betas must be two numbers"),
        (["optimizer.betas=x"], r"optimizer.betas must be two numbers"),
        (["optimizer.eps=0"], r"optimizer.eps must be a number above 0 and below 1, got 0"),
        (["optimizer=lion", "+optimizer.eps=1"], r"has no argument 'eps'"),
        (["optimizer=schedulefree", "optimizer.betas=[0,0.9]"], r"must begin above 0"),
        (["optimizer=adamw8bit", "optimizer.min_8bit_size=0.5"], r"min_8bit_size must be a whole number"),
    ],
)
def test_a_value_that_no_optimiser_takes_is_one_line(words: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        make(compose(words)["optimizer"], OPTIMIZER)


def test_the_usual_optimiser_is_not_part_of_the_id_and_any_other_is() -> None:
    ids = {name: record.run_id(compose([f"optimizer={name}"])) for name in NAMES}
    assert (
        ids["adamw"]
        == record.run_id(compose([]))
        == record.run_id({k: v for k, v in compose([]).items() if k != "optimizer"})
    )
    assert len({*ids.values(), record.run_id(compose(["optimizer.eps=1e-6"]))}) == len(NAMES) + 1
    assert optimizer_node({}) == compose([])["optimizer"]
