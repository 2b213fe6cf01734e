"""The library: every example of docs/library.md, and what it promises about networks, files, errors and imports."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import glorabench
from glorabench.cli import main
from glorabench.errors import BadInput
from glorabench.library.adaptation import Counts
from glorabench.methods.reparam import Reparametrized

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "library.md").read_text(), re.DOTALL)


def mlp(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3)).eval()


def shaken(model: nn.Module) -> nn.Module:
    """What is trained, moved away from where it starts."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return model


X = torch.randn(5, 8, generator=torch.Generator().manual_seed(2))


def test_every_example_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(BLOCKS) == 5
    names: dict[str, object] = {}
    for block in BLOCKS:
        exec(compile(block, "docs/library.md", "exec"), names)
    assert list(names["frame"]["method"]) == ["linear"]  # type: ignore[index]


def test_the_counts_of_the_page_are_true() -> None:
    model = timm.create_model("vit_tiny_patch16_224", num_classes=10)
    glorabench.adapt(model, "lora", rank=4, targets=["q", "v"], heads="head")
    assert str(glorabench.count(model)) in BLOCKS[0]
    assert glorabench.count(model).trained == 12 * 2 * 4 * (192 + 192)


@pytest.mark.parametrize("method", ["lora", "glora", "dora", "ssf"])
def test_a_plain_network_is_adapted_saved_loaded_and_merged(method: str, tmp_path: Path) -> None:
    model = shaken(glorabench.adapt(mlp(), method, targets="*", heads="4"))
    glorabench.save_adapter(model, tmp_path / "a.safetensors")
    fresh = glorabench.load_adapter(mlp(), tmp_path / "a.safetensors").eval()
    assert torch.equal(fresh(X), model(X))
    assert not torch.allclose(model(X), mlp()(X))
    merged = glorabench.merge(fresh)
    assert torch.allclose(merged(X), model(X), atol=1e-5)
    assert not [m for m in merged.modules() if isinstance(m, Reparametrized)]
    assert {name for name, _ in merged.named_parameters()} == {name for name, _ in mlp().named_parameters()}


def test_what_is_trained_is_the_method_and_the_heads() -> None:
    model = glorabench.adapt(mlp(), "lora", targets=["0", "2"], heads="4", rank=2, alpha=2)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {*(f"{i}.reparams.0.{half}" for i in (0, 2) for half in ("down", "up")), "4.weight", "4.bias"}
    expected = Counts(trained=2 * (8 + 16) + 2 * (16 + 12), heads=39, total=0, supernet=None)
    counts = glorabench.count(model)
    assert (counts.trained, counts.heads, counts.supernet) == (expected.trained, expected.heads, None)
    assert counts.total == sum(p.numel() for p in model.parameters())


def test_convolutions_and_a_swin_of_timm() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).eval()
    images = torch.randn(2, 3, 16, 16)
    before = net(images)
    glorabench.adapt(
        net,
        "glora",
        targets="*",
        heads="4",
        rank=2,
        path={"A": "none", "B": "lora", "C": "none", "D": "none", "E": "none"},
    )
    assert net(images).shape == before.shape
    swin = timm.create_model("swin_tiny_patch4_window7_224", num_classes=5, depths=(1, 1, 1, 1), embed_dim=24).eval()
    picture = torch.randn(1, 3, 224, 224)
    plain = swin(picture)
    glorabench.adapt(swin, "lora", targets=["*.qkv", "*.fc1"], heads="head", rank=2, alpha=2)
    assert torch.allclose(swin(picture), plain, atol=1e-5)  # zero up: it starts as the plain network
    shaken(swin)
    adapted = swin(picture)
    assert not torch.allclose(adapted, plain, atol=1e-4)
    assert torch.allclose(glorabench.merge(swin)(picture), adapted, atol=1e-4)


def test_a_search_finds_the_best_path_and_goes_on_from_its_journal(tmp_path: Path) -> None:
    model = shaken(glorabench.supernet(mlp(), targets=["0", "2"], heads="4", rank=2))
    counts = glorabench.count(model)
    assert counts.supernet is not None
    assert counts.trained <= counts.supernet
    calls = []

    def score(network: nn.Module) -> float:
        calls.append(1)
        return -network(X).square().mean().item()

    words = {"algorithm": "random", "batch": 4, "total": 12, "journal": tmp_path / "j.jsonl"}
    winner = glorabench.search(model, score, **words)
    assert (winner.evaluated, len(calls)) == (12, 12)
    assert winner.score == pytest.approx(score(model))
    assert winner.params == glorabench.count(model).trained
    again = glorabench.search(model, score, **words)
    assert again == winner
    assert len(calls) == 13  # nothing is scored twice; one call is that of the test
    limited = glorabench.search(
        model, score, **{**words, "journal": tmp_path / "k.jsonl"}, max_params=winner.params - 1
    )
    assert limited.params < winner.params


def test_a_path_depends_on_seed_and_step_alone() -> None:
    model = shaken(glorabench.supernet(mlp(), targets="0", rank=2))
    outputs: list[Tensor] = []
    for seed, step in ((0, 0), (0, 1), (0, 0)):
        glorabench.draw_path(model, seed, step)
        outputs.append(model(X))
    assert torch.equal(outputs[0], outputs[2])
    assert not torch.equal(outputs[0], outputs[1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: glorabench.adapt(m, "lorra"), "did you mean 'lora'"),
        (lambda m: glorabench.adapt(m, "lora", targets="nothing.*"), "'nothing.*' matches no layer"),
        (lambda m: glorabench.adapt(m, "lora", targets="0", rnk=4), "no value 'rnk'; did you mean 'rank'"),
        (lambda m: glorabench.adapt(m, "lora", targets="0", rank=0), "method.rank"),
        (lambda m: glorabench.adapt(m, "lora", targets="0", rank=64), "at most 8"),
        (lambda m: glorabench.adapt(m, "lora"), "this network is of no known family"),
        (lambda m: glorabench.adapt(m, "lora", targets="0", heads="cls"), "heads: 'cls' matches no module"),
        (lambda m: glorabench.merge(m), "this network is not adapted"),
        (lambda m: glorabench.save_adapter(m, "x"), "this network is not adapted"),
        (lambda m: glorabench.load_adapter(m, "nowhere.safetensors"), "cannot be read as an adapter"),
        (lambda m: glorabench.draw_path(glorabench.adapt(m, "lora", targets="0"), 0, 0), "is no supernet"),
        (lambda m: glorabench.adapt(glorabench.adapt(m, "lora", targets="0"), "lora", targets="2"), "adapted already"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(call, message: str) -> None:
    with pytest.raises(BadInput, match=re.escape(message)) as error:
        call(mlp())
    assert len(str(error.value).splitlines()) == 1


def test_a_refused_network_is_left_as_it_was() -> None:
    model = mlp()
    with pytest.raises(BadInput):
        glorabench.adapt(model, "lora", targets="0", heads="cls")
    assert all(p.requires_grad for p in model.parameters())


def test_an_adapter_of_another_network_is_refused(tmp_path: Path) -> None:
    glorabench.save_adapter(glorabench.adapt(mlp(), "lora", targets="0"), tmp_path / "a.safetensors")
    other = nn.Sequential(nn.Linear(8, 20), nn.Linear(20, 3))
    with pytest.raises(BadInput, match="does not fit this network"):
        glorabench.load_adapter(other, tmp_path / "a.safetensors")


def test_importing_is_light_and_adapting_needs_no_package_of_a_training(tmp_path: Path) -> None:
    script = (
        "import sys, json, time\n"
        "began = time.process_time()\n"
        "import glorabench\n"
        "seconds = time.process_time() - began\n"
        "first = sorted(m for m in ('torch', 'numpy', 'hydra', 'pydantic') if m in sys.modules)\n"
        "heavy = ('lightning', 'hydra', 'omegaconf', 'wandb', 'torchmetrics', 'transformers', 'peft', 'timm')\n"
        "sys.modules |= dict.fromkeys(heavy)\n"  # as if they were not installed
        "import torch\n"
        "net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))\n"
        "glorabench.adapt(net, 'glora', targets='0', heads='1', rank=2)\n"
        "glorabench.save_adapter(net, 'a.safetensors')\n"
        "glorabench.merge(net)\n"
        "print(json.dumps([first, seconds]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    first, seconds = json.loads(done.stdout)
    assert first == []
    assert seconds < 0.3


def test_the_command_and_python_make_the_same_run(tmp_path: Path, cache: Path) -> None:
    words = ["method=linear", "data.task=digits", "seed=3", "train.epochs=2", "latency_rounds=0", "logger=none"]
    assert main(["run", *words, f"results_dir={tmp_path / 'command'}"]) == 0
    (ours,) = glorabench.run(*words, f"results_dir={tmp_path / 'python'}")
    (theirs,) = glorabench.records(tmp_path / "command")
    assert (ours.run_id, ours.config) == (theirs.run_id, theirs.config)
    losses = [[entry["train_loss"] for entry in r.history] for r in (ours, theirs)]
    assert losses[0] == losses[1] != []
    assert (ours.metrics, ours.outcomes, ours.params) == (theirs.metrics, theirs.outcomes, theirs.params)
    adapter = f"adapters/{ours.run_id}.safetensors"
    tensors, same = (load_file(tmp_path / place / adapter) for place in ("python", "command"))
    assert tensors.keys() == same.keys()
    assert all(torch.equal(tensors[name], same[name]) for name in tensors)


def test_records_and_search_are_packages_that_can_be_called(tmp_path: Path) -> None:
    from glorabench.records import record
    from glorabench.search import space

    assert record.SCHEMA == 3
    assert space.PathSpace
    made = glorabench.records(ROOT / "results" / "quickstart")
    frame = made.frame()
    assert len(frame) == len(made) == 12
    first = made[0]
    row = frame.iloc[0]
    assert (row["run_id"], row["score"], row["params"]) == (first.run_id, first.score, first.params["method"])
    assert row["config.train.lr"] == first.config["train"]["lr"]
    assert set(frame["method"]) == {"glora", "linear", "lora"}
    with pytest.raises(BadInput, match="no records below"):
        glorabench.records(tmp_path)
