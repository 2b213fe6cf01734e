"""Searched runs: supernet, search, winner; shared stages, kills in each of them, and the test split that stays shut."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
import torch._dynamo
from safetensors.torch import load_file, save_file
from scipy.stats import chi2
from torch._dynamo.utils import counters as frames

import test_search
from conftest import images, tiny_vit
from glorabench.cli import main
from glorabench.config.compose import compose
from glorabench.config.instantiate import METHOD, make
from glorabench.data.datamodule import TaskData
from glorabench.data.mini import MINI_TASKS as TASKS
from glorabench.data.task import LeakError
from glorabench.errors import BadInput
from glorabench.records import record
from glorabench.search.evaluator import Evaluator
from glorabench.search.space import PathSpace
from glorabench.training import build as building
from glorabench.training import searched_run, trained_network
from glorabench.training.run import run
from glorabench.training.stage import Stage
from glorabench.training.trained_network import rebuild_backbone

_EVOLUTION = {"population": 6, "parents": 2, "generations": 2, "mutants": 3, "crossed": 3}
SMALL = [
    *("logger=none", "progress=none", "latency_rounds=0", "train.epochs=2", "search.epochs=2", "data.task=digits"),
    *("method=glora", "method.path=supernet", "search=evolution", "checkpoint_every=1"),
    *(f"search.algorithm.{key}={value}" for key, value in _EVOLUTION.items()),
]
ALL_LORA = "method.path={A: lora, B: lora, C: lora, D: vector, E: vector}"
pytestmark = pytest.mark.usefixtures("cache")


def config(results, *words):
    return compose([*SMALL, *words, f"results_dir={results}"])


@pytest.fixture(scope="module")
def whole(cache, tmp_path_factory):
    """The record of a searched run whose winner is trained again, and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return run(config(folder, "search.winner=retrain")), folder


def test_one_record_tells_the_stages_the_winner_and_its_curse(whole):
    made, folder = whole
    assert made.status == "done"
    assert set(made.cost["stages"]) == {"supernet", "search", "retrain"}
    supernet, search, retrain = (made.cost["stages"][name] for name in ("supernet", "search", "retrain"))
    assert (supernet["steps"], supernet["examples"]) == (2 * 12, 2 * 12 * 64)  # 800 images
    assert (retrain["steps"], retrain["examples"]) == (2 * 15, 2 * 15 * 64)  # 1,000 images
    assert search["examples"] == 18 * 150  # three generations of six; 50 of the 200 images are held out
    assert all(stage["flops"] > 0 and stage["seconds"] > 0 for stage in made.cost["stages"].values())
    assert made.cost["search_s"] == search["seconds"]
    assert [(entry["stage"], entry["epoch"]) for entry in made.history] == [
        *(("supernet", 1), ("supernet", 2), ("retrain", 1), ("retrain", 2))
    ]
    found = made.search
    assert (found["evaluated"], found["n"], found["n_held_out"]) == (18, 150, 50)
    assert found["params"] == made.params["method"] < made.params["supernet"]
    assert 0 <= found["first"] <= found["score"] == found["best"][-1][1] == found["front"][-1]["score"] <= 1
    assert 0 <= found["held_out"] <= 1
    assert not made.selection["contaminated"]
    assert len(made.paths) == 24
    assert not any((folder / "checkpoints").iterdir())


def test_the_winner_is_trained_alone(whole):
    made, folder = whole
    tensors = load_file(folder / "adapters" / f"{made.run_id}.safetensors")
    assert sum(t.numel() for name, t in tensors.items() if not name.startswith("head.")) == made.params["method"]


def test_runs_that_differ_later_share_the_supernet_and_the_search(whole, tmp_path, monkeypatch):
    made, folder = whole
    monkeypatch.setattr(Stage, "fit", lambda stage: pytest.fail(f"the {stage.name} was trained again"))
    cfg = config(folder, "search.winner=inherit")
    inherited = run(cfg)
    assert inherited.status == "done", inherited.error
    assert inherited.paths == made.paths
    same = ("score", "evaluated", "held_out", "best", "front")
    assert [inherited.search[key] for key in same] == [made.search[key] for key in same]
    assert {n: inherited.cost["stages"][n] for n in ("supernet", "search")} == {
        n: made.cost["stages"][n] for n in ("supernet", "search")
    }
    assert len(list((folder / "searches").iterdir())) == 1
    assert inherited.params == {**made.params, "head": inherited.params["head"], "total": inherited.params["total"]}
    kept = load_file(folder / "adapters" / f"{inherited.run_id}.safetensors")
    supernet = load_file(searched_run.supernet_path(cfg))
    assert all(torch.equal(kept[name], supernet[name]) for name in supernet)


def _supernet_has_a_checkpoint(folder):
    return list(folder.glob("checkpoints/*/last.ckpt")) and not (folder / "supernets").exists()


def _search_has_candidates(folder):
    states = list(folder.glob("searches/*.jsonl"))
    return states and len(states[0].read_text().splitlines()) > 4


def _winner_has_a_checkpoint(folder):
    return list(folder.glob("checkpoints/*/last.ckpt")) and list(folder.glob("searches/*.jsonl"))


@pytest.mark.parametrize(
    "reached",
    [
        _supernet_has_a_checkpoint,
        _search_has_candidates,
        _winner_has_a_checkpoint,
    ],
    ids=lambda f: f.__name__,
)
@pytest.mark.campaign
def test_killed_in_any_stage_and_typed_again_ends_the_same(whole, tmp_path, reached):
    words = [*SMALL, "search.winner=retrain", f"results_dir={tmp_path}"]
    command = [sys.executable, "-m", "glorabench.cli", "run", *words]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while not reached(tmp_path):
        assert time.monotonic() < deadline, "the stage did not begin"
        assert first.poll() is None, "the run ended before it could be killed"
        time.sleep(0.005)
    first.send_signal(signal.SIGKILL)
    assert first.wait(60) == -signal.SIGKILL
    assert not list(tmp_path.glob("runs/**/*.json"))
    second = subprocess.run(command, capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    made, expected = record.read_record(record.path_of(tmp_path, compose(words))), whole[0]
    assert (made.paths, made.metrics, made.outcomes) == (expected.paths, expected.metrics, expected.outcomes)
    assert made.search == expected.search
    assert made.cost["flops_per_step"] == expected.cost["flops_per_step"]
    counted = [{n: {**s, "seconds": 0} for n, s in r.cost["stages"].items()} for r in (made, expected)]
    assert counted[0] == counted[1], "costs that are counted depend on the kill"
    (state,) = tmp_path.glob("searches/*.jsonl")
    genomes = [json.loads(line).get("genome") for line in state.read_text().splitlines()]
    assert len(set(genomes)) == len(genomes) == 19, "a candidate was scored twice"


class Guarded(dict):
    """Splits that say when test is opened."""

    opened = False

    def __getitem__(self, split):
        if split == "test":
            assert self.allowed(), "test was read before the final step"
            self.opened = True
        return super().__getitem__(split)


@pytest.mark.parametrize("winner", [pytest.param("inherit", marks=pytest.mark.campaign), "retrain"])
def test_nothing_reads_test_before_the_final_step(tmp_path, monkeypatch, winner):
    stages, guards = [], []

    def guarded(cfg, original=building.build):
        parts = original(cfg)
        guard = Guarded(parts.task.splits)
        guard.allowed = lambda: any(s.trainer.testing for s in stages)
        guards.append(guard)
        task = replace(parts.task, splits=guard)
        parts.task = parts.data.task = parts.data.images = task
        return parts

    start = Stage.__init__

    def noted(self, *args):
        start(self, *args)
        stages.append(self)

    monkeypatch.setattr(Stage, "__init__", noted)
    monkeypatch.setattr(searched_run, "build", guarded)
    made = run(config(tmp_path, f"search.winner={winner}"))
    assert made.status == "done", made.error
    assert [guard.opened for guard in guards] == ([True] if winner == "inherit" else [False, True])


def test_a_search_on_test_works_and_is_marked_contaminated(whole, capsys):
    folder = whole[1]
    made = run(config(folder, "search.on=test"))
    assert made.selection["contaminated"]
    assert made.search["n"] + made.search["n_held_out"] == 797
    capsys.readouterr()
    assert main(["table", "mini", "--format", "csv", "--results", str(folder)]) == 0
    assert any("search.on=test" in line for line in capsys.readouterr().out.splitlines())


@pytest.mark.campaign
def test_a_state_of_another_search_is_refused(whole):
    folder = whole[1]
    made = config(folder, "search.winner=retrain", "seed=3")
    run(made)
    old, new = sorted(folder.glob("searches/*.jsonl"), key=lambda path: path.stat().st_mtime)[
        :: len(list(folder.glob("searches/*.jsonl"))) - 1
    ]
    text = new.read_text()
    new.write_text(old.read_text())
    record.path_of(folder, made).unlink()
    with pytest.raises(BadInput, match=r"state of another search \(seed, supernet differ\)"):
        run(made)
    assert new.read_text() == old.read_text(), "the state was touched"
    new.write_text(text)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["search.min_params=200000"], "the smallest has 0, the largest 133,728"),
        (["search.min_params=10", "search.max_params=9"], "no path has 10 to 9 parameters"),
        (["search.winner=ask"], "search.winner 'ask'"),
        (["search.sampler=fiar"], "did you mean 'fair'"),
        (["search.held_out=0.9"], "search.held_out must be"),
        (["search.algorithm.population=0"], "search.algorithm.population must be"),
        (["selection.fit_on=train"], "selection.fit_on=trainval"),
        (["method.path=random"], "a search needs a supernet"),
        (["search.epochs=0"], "search.epochs must be"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_training(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.setattr(Stage, "fit", lambda _: pytest.fail("training began"))
    assert main(["run", *SMALL, *words, f"results_dir={tmp_path}"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_an_old_search_is_followed_by_a_new_one_on_the_same_supernet(whole, tmp_path, monkeypatch):
    """A record of version 2: its supernet is found under its name, what is searched anew is of this release."""
    made, folder = whole
    shutil.copytree(folder / "supernets", tmp_path / "supernets")
    config = {**made.config, "search": {**made.config["search"], "version": 2}}
    old = replace(made, config=config, run_id=record.run_id(config))
    record.write_record(old, record.path_of(tmp_path, config))
    monkeypatch.setattr(Stage, "fit", lambda stage: pytest.fail(f"the {stage.name} was trained again"))
    words = ["search.winner=inherit", "search.algorithm.population=4", "search.algorithm.generations=1"]
    words += ["search.algorithm.parents=2", "search.algorithm.mutants=2", "search.algorithm.crossed=1"]
    asked = [f"run={old.run_id}", f"results_dir={tmp_path}", *words, "logger=none", "progress=none", "latency_rounds=0"]
    assert main(["search", *asked]) == 0
    (new,) = (r for r in record.read_all([tmp_path / "runs"]) if r.run_id != old.run_id)
    assert new.config["search"]["version"] == 3
    assert new.cost["stages"]["supernet"] == made.cost["stages"]["supernet"]
    assert main(["table", "mini", "--results", str(tmp_path)]) == 0


def test_search_command_on_a_supernet_that_a_plain_run_trained(tmp_path, monkeypatch, capsys):
    words = [word for word in SMALL if not word.startswith("search")]
    trained = run(compose([*words, "selection.fit_on=train", "selection.report_on=val", f"results_dir={tmp_path}"]))
    monkeypatch.setattr(Stage, "fit", lambda stage: pytest.fail(f"the {stage.name} was trained again"))
    search = [f"run={trained.run_id[:7]}", f"results_dir={tmp_path}", "search=random", "search.algorithm.total=8"]
    assert main(["search", *search, "logger=none", "progress=none", "latency_rounds=1"]) == 0
    (made,) = (r for r in record.read_all([tmp_path / "runs"]) if r.search)
    assert made.search["evaluated"] == 8
    assert made.names["search"] == "random"
    assert made.cost["stages"]["supernet"]["steps"] == 24
    assert made.params["supernet"] == trained.params["supernet"]
    assert "GLoRA, best of random paths" in capsys.readouterr().out


@pytest.mark.campaign
def test_a_supernet_of_a_plain_run_is_that_of_the_pipeline(whole, tmp_path):
    """`glorabench search` on it continues what `search=...` would have done in one go."""
    words = [word for word in SMALL if not word.startswith("search")]
    trained = run(compose([*words, "selection.fit_on=train", "selection.report_on=val", f"results_dir={tmp_path}"]))
    plain = load_file(tmp_path / "adapters" / f"{trained.run_id}.safetensors")
    pipelined = load_file(searched_run.supernet_path(config(whole[1])))
    assert set(plain) == set(pipelined)
    assert all(torch.equal(plain[name], pipelined[name]) for name in plain)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["method=lora"], "trained no supernet"),
        pytest.param(["method=glora", "method.path=supernet"], "was trained on val, too", marks=pytest.mark.campaign),
        (["method=glora", "method.path=supernet", "selection.fit_on=train"], "is gone"),
    ],
)
def test_search_command_refuses_what_it_cannot_search(tmp_path, capsys, words, said):
    base = ["logger=none", "progress=none", "latency_rounds=0", "train.epochs=1", f"results_dir={tmp_path}"]
    made = run(compose([*base, *words]))
    (tmp_path / "adapters" / f"{made.run_id}.safetensors").unlink()
    assert main(["search", f"run={made.run_id}", f"results_dir={tmp_path}"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    "what",
    [
        pytest.param("other tensors", marks=pytest.mark.campaign),
        pytest.param("no notes", marks=pytest.mark.campaign),
        "half a file",
    ],
)
def test_a_damaged_supernet_is_set_aside_and_trained_again(whole, tmp_path, capsys, what):
    cfg = config(tmp_path)
    path = searched_run.supernet_path(cfg)
    path.parent.mkdir()
    if what == "other tensors":
        save_file({"head.weight": torch.zeros(1)}, path)
    elif what == "no notes":
        save_file(load_file(searched_run.supernet_path(config(whole[1]))), path)
    else:
        path.write_bytes(searched_run.supernet_path(config(whole[1])).read_bytes()[:-1000])
    made = run(cfg)
    assert "kept as" in capsys.readouterr().err
    assert made.paths == whole[0].paths
    assert [e["train_loss"] for e in made.history] == [e["train_loss"] for e in whole[0].history[:2]]


@pytest.mark.campaign
def test_samplers_train_different_supernets(whole, tmp_path):
    uniform = load_file(searched_run.supernet_path(config(whole[1])))
    for sampler in ("fair", "sandwich"):
        cfg = config(tmp_path, f"search.sampler={sampler}", "search.epochs=1", "search.algorithm.generations=1")
        made = run(cfg)
        assert made.status == "done", made.error
        other = load_file(searched_run.supernet_path(cfg))
        assert not all(torch.equal(uniform[name], other[name]) for name in uniform)


@pytest.mark.campaign
@pytest.mark.parametrize(
    ("method", "apart"),
    [
        ("lora", 1e-4),
        ("glora", 1e-4),
        ("ssf", 5e-3),
    ],
)
def test_compiled_training_equals_eager_training(tmp_path, method, apart):
    """SSF trains at 1e-2: AdamW makes a step of that size of the rounding of a gradient near zero."""
    words = ["logger=none", "progress=none", "latency_rounds=0", "train.epochs=1", f"method={method}"]
    eager = run(compose([*words, f"results_dir={tmp_path}"]))
    torch._dynamo.reset()
    frames.clear()
    compiled = run(compose([*words, f"results_dir={tmp_path}", "compile=aot_eager"]))
    assert compiled.status == "done", compiled.error
    assert frames["frames"]["ok"] > 0, "nothing was compiled"
    assert compiled.run_id != eager.run_id
    one, two = (load_file(tmp_path / "adapters" / f"{r.run_id}.safetensors") for r in (eager, compiled))
    assert set(one) == set(two)
    assert all(torch.allclose(one[name], two[name], atol=apart) for name in one)
    assert compiled.history[0]["train_loss"] == pytest.approx(eager.history[0]["train_loss"], abs=1e-4)


@pytest.mark.skipif(shutil.which("c++") is None, reason="inductor needs a C++ compiler on a CPU")
@pytest.mark.parametrize(
    "words",
    [pytest.param(["method=lora"], marks=pytest.mark.campaign), ["method=glora", ALL_LORA]],
    ids=["lora", "glora"],
)
def test_inductor_computes_the_same_outputs_and_gradients(words):
    """The whole network, forward and backward, from random factors."""
    config = compose(words)
    nets = []
    for _ in range(2):
        made = tiny_vit(depth=1)
        torch.manual_seed(0)
        make(config["method"], METHOD).inject(made)
        with torch.no_grad():
            for parameter in made.net.parameters():
                if parameter.requires_grad:
                    parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(parameter.numel()))
        nets.append(made.net)
    nets[1].compile(backend="inductor")
    outputs = [net(images(4)) for net in nets]
    for output in outputs:
        output.square().sum().backward()
    assert torch.allclose(outputs[0], outputs[1], rtol=1e-4, atol=1e-4)
    for one, two in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert one.grad is two.grad is None or torch.allclose(one.grad, two.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.campaign
def test_a_winner_without_any_support_is_recorded_and_built_again(tmp_path):
    """Its trunk is frozen, so that the head alone is trained, on cached features."""
    made = run(config(tmp_path, "search.max_params=0", "search.winner=retrain", "search.algorithm.generations=1"))
    assert made.status == "done", made.error
    assert made.params["method"] == 0
    assert {choice for path in made.paths for choice in path.values()} == {"none"}
    net = rebuild_backbone(made, tmp_path / "adapters" / f"{made.run_id}.safetensors")
    assert PathSpace(net.net).current() == made.paths


def searched(data: TaskData) -> tuple[torch.Tensor, torch.Tensor]:
    """All inputs and labels of val, as a search sees them."""
    batches, held_out = data.search_batches("val", 0.0, torch.device("cpu"))
    assert held_out == []
    inputs, labels = zip(*batches, strict=True)
    return torch.cat(inputs), torch.cat(labels)


def test_what_is_held_out_is_the_rest_of_the_same_order():
    data = building.build(compose([*SMALL, "train.eval_batch_size=64"])).data
    inputs, labels = searched(data)
    choosing, held_out = data.search_batches("val", 0.25, torch.device("cpu"))
    assert [len(labels) for _, labels in (*choosing, *held_out)] == [64, 64, 22, 50]
    both = [*choosing, *held_out]
    assert torch.equal(torch.cat([x for x, _ in both]), inputs)
    assert torch.equal(torch.cat([y for _, y in both]), labels)


def test_test_is_not_given_to_a_search_that_does_not_say_so():
    data = building.build(compose(SMALL)).data
    with pytest.raises(LeakError, match=r"search\.on=test"):
        data.search_batches("test", 0.25, torch.device("cpu"))


def test_the_images_of_a_search_are_those_of_the_split_in_an_order_that_the_seed_draws():
    words = [*SMALL, "data.task=shapes_count"]
    parts = [building.build(compose([*words, f"seed={seed}"])).data for seed in (0, 1, 1)]
    split, drawn = parts[0].task.split("val"), [searched(data) for data in parts]
    wanted = parts[0].normalise(torch.as_tensor(split.images[:].copy()))
    for inputs, labels in drawn:
        same = (inputs[:, None] == wanted).flatten(2).all(2).double().argmax(1)  # all pictures differ
        assert sorted(same.tolist()) == list(range(len(labels)))
        assert labels.tolist() == [int(split.labels[i]) for i in same]
    assert not torch.equal(drawn[0][0], drawn[1][0])
    assert all(torch.equal(a, b) for a, b in zip(drawn[1], drawn[2], strict=True))


@pytest.mark.parametrize("task", TASKS)
def test_what_is_held_out_has_the_classes_of_what_chooses(task):
    """Of the last quarter of val in the order of its list, one class or several are missing altogether."""
    labels = searched(building.build(compose([*SMALL, f"data.task={task}"])).data)[1]
    counts = [labels[part].bincount(minlength=TASKS[task].classes) for part in (slice(150), slice(150, None))]
    expected = labels.bincount(minlength=TASKS[task].classes).double() / 4
    chi = ((counts[1] - expected) ** 2 / (0.75 * expected)).sum()  # hypergeometric, so less than Poisson
    assert chi2.sf(float(chi), TASKS[task].classes - 1) > 1e-3


def test_a_search_of_another_version_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"search\.version is 3 in this release, got 2"):
        run(config(tmp_path, "search.version=2"))


def test_a_supernet_is_not_compiled(tmp_path):
    with pytest.raises(BadInput, match="compile is for a fixed path"):
        run(config(tmp_path, "compile=aot_eager"))


def test_compile_off_is_no_part_of_the_identity():
    cfg = compose(["method=lora"])
    old = {key: value for key, value in cfg.items() if key != "compile"}
    assert record.run_id(cfg) == record.run_id(old)
    assert record.run_id({**cfg, "compile": "inductor"}) != record.run_id(cfg)


def test_a_score_is_the_accuracy_of_the_path_in_the_supernet(whole, tmp_path):
    """The search's figure for its winner, and that of the unmerged supernet on the same images."""
    made, folder = whole
    cfg = searched_run.supernet_config(config(folder))
    parts = building.build(cfg)
    trained_network.load_trained(parts.backbone, searched_run.supernet_path(config(folder)))
    inputs, labels = searched(parts.data)
    evaluator = Evaluator(parts.backbone, [(inputs[:150], labels[:150])], test_search.right, torch.no_grad)
    genome = evaluator.space.genome(made.paths)
    evaluator.space.set(genome)
    with torch.no_grad():
        right = (parts.backbone.net.eval()(inputs[:150]).argmax(-1) == labels[:150]).double().mean()
    assert evaluator(genome).value == float(right) == made.search["score"]
