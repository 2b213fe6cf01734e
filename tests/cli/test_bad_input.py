"""What a user gets wrong: one clear line and exit code 2, before anything is trained."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from safetensors.torch import save_file

from glorabench.checksum import ASSETS
from glorabench.cli import main

FEW = ["train.epochs=1", "logger=none", "progress=none"]


_SMALL = "backbone.model_args.hidden_size=32 backbone.model_args.num_hidden_layers=1"
Refused = Callable[..., str]


@pytest.fixture
def refused(results: Path, cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Refused:
    """A command that must be refused before it trains; gives back its one line."""

    def started(*_: object, **__: object) -> None:
        raise AssertionError("training started")

    monkeypatch.setattr(Trainer, "fit", started)

    def check(*words: str, folder: Path | None = results) -> str:
        where = [] if folder is None else [f"results_dir={folder}"]
        assert main(["run", *FEW, *where, *words]) == 2
        out = capsys.readouterr()
        assert out.err.startswith("glorabench: ")
        assert out.err.count("\n") == 1
        assert "Traceback" not in out.err + out.out
        left = {p.name for p in results.rglob("*")} if results.is_dir() else set()
        assert not left & {"runs", "checkpoints", "adapters", "predictions", "wandb"}
        return out.err.removeprefix("glorabench: ").rstrip("\n")

    return check


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("method=lorra", "no method 'lorra'; did you mean 'lora'"),
        ("backbone=vit_b61", "no backbone 'vit_b61'; did you mean 'vit_b16'"),
        ("data=minni", "no data 'minni'; did you mean 'mini'"),
        ("experiment=quikstart", "did you mean 'quickstart'"),
        ("data.task=digit", "no task 'digit' in the suite mini; did you mean 'digits'"),
        ("data.tsk=digits", "no key 'data.tsk'; did you mean 'data.task'"),
        ("train.lrr=1", "no key 'train.lrr'; did you mean 'train.lr'"),
        ("sed=1", "no key 'sed'; did you mean 'seed'"),
        ("seed", "an override is key=value"),
        ("seed=-1", "seed must be a whole number from 0 to 4294967295, got -1"),
        ("method.rank=0", "method.rank must be a whole number of at least 1, got 0"),
        ("method.rank=2.5", "method.rank must be a whole number of at least 1, got 2.5"),
        ("method.rank=two", "method.rank must be a whole number of at least 1, got 'two'"),
        ("+method.rnk=2", "rnk"),
        ("method.targets=[nothing]", "no role 'nothing'"),
        ("method.targets=[dwconv]", "no role 'dwconv'"),
        ("method.targets=[q,qkv]", "overlap"),
        ("method.targets=[norm1]", "role 'norm1' (blocks.0.norm1) is a LayerNorm, this method needs a linear layer"),
        ("method.targets=qkv", "targets"),
        ("method.targets=[]", "targets"),
        ("train.decay=matrix", "train.decay 'matrix'; did you mean 'matrices'"),
        ("train.epochs=0", "train.epochs must be a whole number of at least 1, got 0"),
        (
            "train.batch_size=none",
            "train.batch_size must be a whole number of at least 1, got 'none'",
        ),
        ("train.lr=high", "train.lr"),
        ("train.precision=64", "train.precision"),
        ("selection.rule=best_epoch", "selection.rule 'best_epoch'"),
        ("selection.fit_on=trian", "selection.fit_on 'trian'; did you mean 'train'"),
        ("selection.report_on=val", "selection.report_on=val needs selection.fit_on=train"),
        ("logger.mode=of", "logger.mode 'of'"),
        ("progress=loud", "progress"),
        ("checkpoint_every=0", "checkpoint_every"),
        ("train.lr=${nowhere}", "train.lr: Interpolation key 'nowhere' not found"),
        ("method=lora,glora", "'method=lora,glora' is a sweep: add -m"),
        ("method.rank=500", "method.rank=500 is larger than role 'q' (blocks.0.attn.qkv) allows"),
        ("method=repadapter method.groups=3", "method.groups=3 does not divide method.rank=8"),
        ("method=vpt_deep method.prompts=0", "method.prompts must be a whole number of at least 1, got 0"),
        ("method=vpt_deep backbone=convnext_b backbone.weights_from=null", "VPT puts prompts among"),
        ("method=fact_tt backbone=convnext_b backbone.weights_from=null", "blocks of one width"),
        ("method=peft method.config=Loraconfig", "did you mean 'LoraConfig'"),
        ("method=peft 'method.args={rank: 8}'", "peft's LoraConfig has no argument 'rank'"),
        (f"backbone=llama_7b backbone.weights_from=null {_SMALL}", "digits has images, backbone llama_7b reads tokens"),
        ("backbone.family=vitt", "did you mean 'vit'"),
        ("backbone.model=vit_minni", "timm has no model 'vit_minni'; did you mean 'vit_mini'"),
        ("backbone.model=vit_tiny_patch16_224", "another architecture"),
    ],
)
def test_a_wrong_word_is_one_line(refused: Refused, word: str, said: str) -> None:
    assert said in refused(*shlex.split(word))


def test_a_wrong_word_in_a_sweep_starts_none_of_its_runs(refused: Refused) -> None:
    assert "did you mean 'lora'" in refused("-m", "method=linear,lorra")
    assert "did you mean 'train.lr'" in refused("-m", "seed=0,1", "train.lrr=1")


def test_a_bad_method_of_glora_is_named(refused: Refused) -> None:
    assert "did you mean 'hadamard'" in refused("method=glora", "method.product=hadamart")
    assert "did you mean 'random'" in refused("method=glora", "method.path=randon")


def test_missing_weights_are_named_with_the_ways_out(refused: Refused, tmp_path: Path) -> None:
    said = refused(f"backbone.weights_from={tmp_path / 'none.safetensors'}")
    assert f"no file {tmp_path / 'none.safetensors'}" in said
    assert "weights_from=PATH" in said
    assert "no file" in refused("backbone=vit_b16")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".npz"])
def test_truncated_weights_are_named(refused: Refused, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"half{suffix}"
    whole = (ASSETS / "vit_mini.safetensors").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert str(path) in refused(f"backbone.weights_from={path}")


def test_weights_of_another_architecture_are_named(refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"conv.weight": torch.zeros(3, 3)}, path)
    assert f"{path} holds another architecture" in refused(f"backbone.weights_from={path}")


def test_altered_weights_are_named(refused: Refused) -> None:
    assert "expected " + "0" * 64 in refused(f"backbone.sha256='{'0' * 64}'")


def test_a_results_folder_that_is_a_file_is_named(refused: Refused, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    for folder in (file, file / "below"):
        assert f"results_dir {folder} is not writable" in refused(folder=folder)


def test_a_cache_that_is_a_file_is_named(refused: Refused, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    assert "set cache_dir=FOLDER" in refused(f"cache_dir={file}")


def test_a_configuration_folder_without_a_run_is_named(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLORABENCH_CONF", str(tmp_path))
    assert f"no run.yaml in {tmp_path}" in refused()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["table", "nothing", "--results", "nowhere"], "no records of suite 'nothing'"),
        (["count", "backbone=vit_b61"], "did you mean 'vit_b16'"),
        (["count", "method=lorra"], "did you mean 'lora'"),
    ],
)
def test_other_commands_are_as_clear(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    out = capsys.readouterr()
    assert out.err.startswith("glorabench: ")
    assert out.err.count("\n") == 1
    assert said in out.err
