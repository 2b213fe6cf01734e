"""Whole runs on the embedded suite: idempotence, resumption to the last digit, failures, trackers."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import glorabench
from conftest import stopped_in_epoch
from glorabench.cli import main
from glorabench.config.compose import compose
from glorabench.records import record
from glorabench.records.outcomes import unpack
from glorabench.training.run import run

FAST = ["logger=none", "progress=none", "train.epochs=2", "latency_rounds=0"]
pytestmark = pytest.mark.usefixtures("cache")


def config(results, *words):
    return compose([*FAST, *words, f"results_dir={results}"])


def adapter(results, run_id):
    return load_file(results / "adapters" / f"{run_id}.safetensors")


def command(results, *words):
    return [sys.executable, "-m", "glorabench.cli", "run", *FAST, *words, f"results_dir={results}"]


def hears_ctrl_c():
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def in_pieces(results, words, send):
    """Start a run, send it a signal once it has a checkpoint, then give the same command again."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    # what a shell runs in the background ignores Ctrl-C, and so would its children
    first = subprocess.Popen(command(results, *words), preexec_fn=hears_ctrl_c, **quiet)
    deadline = time.monotonic() + 600
    while not list(results.glob("checkpoints/*/last.ckpt")):
        assert time.monotonic() < deadline, "no checkpoint appeared"
        assert first.poll() is None, "the run ended before it could be interrupted"
        time.sleep(0.02)
    first.send_signal(send)
    code = first.wait(60)
    assert list(results.glob("checkpoints/*/last.ckpt"))
    assert not list(results.glob("runs/**/*.json"))
    second = subprocess.run(command(results, *words), capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    return code


def test_a_run_leaves_one_record_and_is_found_the_second_time(results, monkeypatch):
    cfg = config(results, "method=lora", "latency_rounds=1")
    made = run(cfg)
    path = record.path_of(results, cfg)
    assert record.read_record(path) == made
    assert made.status == "done"
    assert made.params == {
        "method": 24_576,
        "head": 1_290,
        "total": made.params["total"],
        "stored_bytes": 4 * (24_576 + 1_290),
        "supernet": None,
        "base_bytes": 4 * (made.params["total"] - 24_576 - 1_290),
    }
    assert made.metrics["n"] == 797
    assert made.metrics["top1"] == pytest.approx(sum(unpack(made.outcomes["top1"])) / 797)
    assert [entry["epoch"] for entry in made.history] == [1, 2]
    assert made.merge["mergeable"]
    assert made.merge["n"] == 256
    assert made.merge["flipped"] == 0
    assert made.merge["max_abs_diff"] <= 1e-5
    assert set(made.cost["latency_ms"]["batch_64"]) == {"plain", "unmerged", "merged"}
    assert made.cost["flops_per_step"] > 0
    assert made.cost["peak_bytes"] > 0
    assert made.provenance["weights"]["sha256"]
    assert made.provenance["data"]["fingerprint"]
    assert not (results / "checkpoints" / made.run_id).exists()
    monkeypatch.setattr("glorabench.training.run._execute", lambda _: pytest.fail("the run was repeated"))
    assert run(cfg) == made


def test_flops_of_a_step_are_those_of_the_network(results):
    """Counted in the training itself: forward and backward of the same batch, counted apart, agree."""
    from glorabench.training.build import build
    from glorabench.training.measure import profiling

    cfg = config(results, "method=lora", "train.epochs=1")
    made = run(cfg)
    parts = build(cfg)
    parts.backbone.net.train()
    images, labels = torch.randn(64, 3, 32, 32), torch.zeros(64, dtype=torch.long)
    loss = parts.objective.loss
    assert made.cost["flops_per_step"] == profiling.flops(lambda: loss(parts.backbone.net, (images, labels)))


def test_linear_on_cached_features_gives_the_numbers_of_the_plain_way(tmp_path):
    cached = run(config(tmp_path / "a", "method=linear"))
    plain = run(config(tmp_path / "b", "method=linear", "train.cache_features=false"))
    assert cached.cost["ways"] == {"cached_features": True, "last_block": "class_token"}
    assert plain.cost["ways"] == {"cached_features": False, "last_block": "class_token"}
    assert cached.outcomes == plain.outcomes
    ours, theirs = adapter(tmp_path / "a", cached.run_id), adapter(tmp_path / "b", plain.run_id)
    assert set(ours) == set(theirs) == {"head.weight", "head.bias"}
    assert all(torch.allclose(ours[key], theirs[key], atol=1e-5) for key in ours)
    assert cached.cost["flops_per_step"] < plain.cost["flops_per_step"] / 100


PIECES = ["method=glora", "method.path=supernet", "train.epochs=4", "checkpoint_every=1", "train.drop_path=0.2"]


@pytest.fixture(scope="module")
def whole(cache, tmp_path_factory):
    """The run of PIECES that nothing interrupts, and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return run(config(folder, *PIECES)), folder


def equal_to_the_last_digit(whole, results):
    whole, folder = whole
    pieces = record.read_record(record.path_of(results, config(results, *PIECES)))
    assert pieces.run_id == whole.run_id
    assert pieces.metrics == whole.metrics
    assert pieces.outcomes == whole.outcomes
    losses = [[entry["train_loss"] for entry in r.history] for r in (whole, pieces)]
    assert losses[0] == losses[1]
    assert pieces.paths == whole.paths
    ours, theirs = adapter(folder, whole.run_id), adapter(results, whole.run_id)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_stopped_in_an_epoch_and_made_again_it_equals_an_uninterrupted_one_to_the_last_digit(whole, results):
    with stopped_in_epoch(3):
        run(config(results, *PIECES))
    assert list(results.glob("checkpoints/*/last.ckpt"))
    assert not list(results.glob("runs/**/*.json"))
    run(config(results, *PIECES))
    equal_to_the_last_digit(whole, results)


@pytest.mark.campaign
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_interrupted_and_typed_again_equals_uninterrupted_to_the_last_digit(whole, results, how):
    code = in_pieces(results, PIECES, how)
    assert code == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    equal_to_the_last_digit(whole, results)


def test_a_damaged_checkpoint_is_set_aside_and_the_run_starts_again(results, capsys):
    cfg = config(results, "method=linear")
    folder = results / "checkpoints" / record.run_id(cfg)
    folder.mkdir(parents=True)
    (folder / "last.ckpt").write_bytes(b"half a checkp")
    assert run(cfg).status == "done"
    assert "last.ckpt" in capsys.readouterr().err


def test_a_corrupt_record_is_set_aside_named_and_the_run_repeated(results, capsys):
    cfg = config(results, "method=linear")
    path = record.path_of(results, cfg)
    path.parent.mkdir(parents=True)
    path.write_text('{"run_id": "')
    made = run(cfg)
    assert record.read_record(path) == made
    assert path.with_suffix(".corrupt1").read_text() == '{"run_id": "'
    assert path.with_suffix(".corrupt1").name in capsys.readouterr().err


def test_a_sweep_survives_a_failing_job_and_names_step_and_rate(results, capsys):
    words = ["run", *FAST, f"results_dir={results}", "-m", "method=lora", "train.clip=null", "train.lr=1e-3,1e38"]
    assert main(words) == 1
    done = capsys.readouterr()
    records = record.read_all([results])
    assert sorted(r.status for r in records) == ["done", "failed"]
    error = next(r.error for r in records if r.status == "failed")
    assert error["kind"] == "NonFiniteLoss"
    assert "step 1 of 30" in error["message"]
    assert "learning rate" in error["message"]
    assert "failed: NonFiniteLoss" in done.out
    assert "Traceback" not in done.err
    assert main(words) == 1
    assert "1 of 2 found" in capsys.readouterr().out


def test_val_is_evaluated_every_epoch_when_it_is_not_trained_on(results):
    made = run(config(results, "method=linear", "selection.fit_on=train", "selection.report_on=val"))
    assert len(made.history) == 2
    assert all(0 <= entry["val_top1"] <= 1 for entry in made.history)
    assert made.metrics["n"] == 200
    assert made.history[-1]["val_top1"] == pytest.approx(made.metrics["top1"], abs=1e-6)


def test_a_supernet_reports_one_drawn_path_and_both_counts(results):
    made = run(config(results, "method=glora", "method.path=supernet", "train.epochs=1"))
    assert len(made.paths) == 24
    assert made.params["supernet"] > made.params["method"] > 0
    assert made.merge["flipped"] == 0


def test_same_config_in_two_folders_gives_the_same_numbers(tmp_path):
    first, second = (
        run(config(tmp_path / name, "method=glora", "train.epochs=1", "trainer.limit_train_batches=4")) for name in "ab"
    )
    assert (first.run_id, first.outcomes, first.paths) == (second.run_id, second.outcomes, second.paths)


def test_offline_tracker_uses_the_run_id_and_needs_no_login(results, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    made = run(config(results, "method=linear", "logger=wandb"))
    assert list((results / "wandb").glob(f"**/run-{made.run_id}.wandb"))


def test_a_killed_run_leaves_one_folder_of_the_tracker_whatever_the_number_of_tries(results, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    cfg = config(results, "method=linear", "logger=wandb", "train.epochs=1")
    other = results / "wandb" / "wandb" / "offline-run-20260101_000000-0123456789ab"
    left = other.with_name(f"offline-run-20260101_000000-{record.run_id(cfg)}")
    for folder in (other, left):
        folder.mkdir(parents=True)
    run(cfg)
    found = list((results / "wandb" / "wandb").glob(f"offline-run-*-{record.run_id(cfg)}"))
    assert len(found) == 1
    assert found[0] != left
    assert other.is_dir()


def test_a_tracker_that_fails_is_a_warning(results, capsys):
    results.mkdir()
    (results / "wandb").write_text("in the way")
    assert run(config(results, "method=linear", "logger=wandb")).status == "done"
    assert "the run goes on without it" in capsys.readouterr().err


@pytest.mark.campaign
def test_online_without_key_is_a_warning_and_logs_offline(results):
    """In a process of its own without any key: W&B keeps credentials for the life of a process."""
    home = {"HOME": str(results), "NETRC": str(results / "netrc")}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
    done = subprocess.run(
        command(results, "method=linear", "logger=wandb", "logger.mode=online"),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**environment, **home},
    )
    assert done.returncode == 0, done.stderr
    assert "no key or no network" in done.stderr
    assert record.read_all([results / "runs"])[0].status == "done"
    assert list(results.glob("wandb/**/*.wandb"))


def test_mixed_precision_trains_with_clipping(results):
    """What CUDA does by default; autocast to bf16 works on the CPU too."""
    made = run(config(results, "method=glora", "train.precision=bf16-mixed", "train.epochs=1"))
    assert made.status == "done", made.error
    assert made.provenance["precision"] == "bf16-mixed"


def test_every_run_of_a_sweep_is_a_tracker_run_of_its_own_even_after_a_failure(results, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    words = ["method=linear", "logger=wandb", "train.epochs=1"]
    bad = run(config(results, *words, "train.clip=null", "train.lr=1e38", "train.epochs=2"))
    good = run(config(results, *words))
    assert (bad.status, good.status) == ("failed", "done")
    for made in (bad, good):
        assert list((results / "wandb").glob(f"**/run-{made.run_id}.wandb"))


def test_a_failure_does_not_replace_what_another_process_finished(results, monkeypatch):
    cfg = config(results, "method=linear", "train.epochs=1")
    done = run(cfg)
    path = record.path_of(results, cfg)
    text = path.read_text()
    path.unlink()

    def beaten(_):
        path.write_text(text)
        raise RuntimeError("its checkpoint is gone")

    monkeypatch.setattr("glorabench.training.run._execute", beaten)
    assert run(cfg) == done
    assert record.read_record(path) == done


def test_ctrl_c_in_the_test_step_stays_ctrl_c(results, monkeypatch):
    def pressed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("glorabench.training.finetuner.FineTuner.test_step", pressed)
    with pytest.raises(KeyboardInterrupt):
        run(config(results, "method=linear", "train.epochs=1"))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Lightning switched it off


def test_weights_are_told_apart_by_content_not_by_place(tmp_path):
    shipped = Path(glorabench.__file__).parent / "assets" / "vit_mini.safetensors"
    here, there, other = (tmp_path / name / "w.safetensors" for name in ("here", "there", "other"))
    for place in (here, there, other):
        place.parent.mkdir()
        place.write_bytes(shipped.read_bytes())
    tensors = load_file(shipped)
    save_file({key: value * 1.01 for key, value in tensors.items()}, other)
    ids = [record.run_id(compose([f"backbone.weights_from={place}"])) for place in (here, there, other)]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.campaign
def test_a_larger_backbone_takes_the_small_images(results):
    """Resizing happens on the device: a 64-pixel backbone on the 32-pixel suite."""
    size = ["+backbone.model_args={img_size: 64}", "backbone.preprocess={size: 64}"]
    made = run(config(results, "method=linear", "backbone.weights_from=null", *size, "train.epochs=1"))
    assert made.status == "done"


def test_record_is_plain_json_and_names_no_place_of_this_machine(results, cache):
    cfg = config(results, "method=linear")
    run(cfg)
    text = record.path_of(results, cfg).read_text()
    assert str(results) not in text
    assert str(cache) not in text
    data = json.loads(text)
    assert data["selection"] == {"fit_on": "trainval", "report_on": "test", "rule": "last_epoch", "contaminated": False}
