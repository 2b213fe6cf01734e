"""Recipes: values of a method and a task, the published schedule, the best epoch on test, and every experiment."""

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from timm.scheduler.cosine_lr import CosineLRScheduler

from conftest import stopped_in_epoch
from glorabench.analysis.cells import cells, groups_of
from glorabench.config.compose import compose, expand
from glorabench.data.task import LeakError
from glorabench.errors import BadInput
from glorabench.records import record
from glorabench.records.compatibility import MARK, comparable_groups
from glorabench.reports.tables.long import long_rows
from glorabench.training import schedules, selection
from glorabench.training.build import build, check_run
from glorabench.training.run import run
from glorabench.training.searched_run import supernet_config

CONF = Path(__file__).parents[2] / "conf"
SCALES = "recipe={convpass: {scale: {digits: 10.0, dsprites_loc: 100.0}}}"


# values of a method, of a task


def test_without_a_recipe_a_method_has_its_own_values():
    found = {name: compose([f"method={name}"])["method"] for name in ("fact_tt", "fact_tk", "repadapter", "convpass")}
    assert {name: values["scale"] for name, values in found.items()} == dict.fromkeys(found, 1.0)
    assert (found["fact_tt"]["rank"], found["fact_tk"]["rank"]) == (16, 16)
    assert found["convpass"]["init"] == "xavier"
    assert [compose([f"method=vpt_{kind}"])["method"]["prompts"] for kind in ("deep", "shallow")] == [10, 10]


def test_a_recipe_gives_a_method_its_value_and_leaves_the_others_alone():
    words = ["+recipe.fact_tt.rank=4", "+recipe.fact_tt.scale=0.1"]
    ours = compose(["method=fact_tt", *words])
    assert (ours["method"]["rank"], ours["method"]["scale"]) == (4, 0.1)
    assert compose(["method=fact_tk", *words])["method"]["rank"] == 16


@pytest.mark.parametrize(("task", "scale"), [("digits", 10.0), ("dsprites_loc", 100.0)])
def test_a_mapping_is_looked_up_by_task(task, scale):
    assert compose(["method=convpass", SCALES, f"data.task={task}"])["method"]["scale"] == scale


def test_a_sweep_of_tasks_finds_the_value_of_each():
    jobs, _ = expand(["method=convpass,lora", SCALES, "data.task=digits,dsprites_loc"], multirun=True)
    assert [compose(job)["method"].get("scale") for job in jobs] == [10.0, 100.0, None, None]


def test_the_command_line_wins():
    assert compose(["method=convpass", SCALES, "method.scale=0.5"])["method"]["scale"] == 0.5
    assert compose(["method=convpass", SCALES, "method.scale=0.5", "data.task=shapes_count"])["method"]["scale"] == 0.5


def test_a_task_without_a_value_is_named_with_those_that_have_one():
    with pytest.raises(BadInput, match=r"no value for task 'shapes_count' \(it has digits, dsprites_loc\)") as refused:
        compose(["method=convpass", SCALES, "data.task=shapes_count"])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["method=lora", "+recipe.lora.scale=4"],
            r"recipe\.lora\.scale: none of method/lora\.yaml, train/mini\.yaml, conf/",
        ),
        (["method=fact_tt", "+recipe.fact_tt.rnk=4"], r"did you mean 'rank'"),
        (["method=lora", "+recipe.fact_t.rank=4"], r"no method 'fact_t'; did you mean 'fact_tt'"),
        (["recipe=3"], r"recipe must be null or"),
        (["+recipe.lora=3"], r"recipe must be null or"),
    ],
)
def test_a_recipe_that_would_be_ignored_is_refused(words, said):
    with pytest.raises(BadInput, match=said):
        compose(words)


def test_the_recipe_itself_is_not_part_of_what_a_run_is():
    by_recipe = compose(["method=fact_tt", "+recipe.fact_tt.rank=4", "+recipe.fact_tk.rank=32"])
    by_hand = compose(["method=fact_tt", "method.rank=4"])
    assert record.run_id(by_recipe) == record.run_id(by_hand) != record.run_id(compose(["method=fact_tt"]))


# the published schedule


def trace(epochs=100, per_epoch=3, **train):
    recipe = {"epochs": epochs, "warmup_epochs": 10, "lr": 1e-3, "schedule": "timm", "warmup_lr": 1e-6, "end_lr": 1e-5}
    made = schedules.lr_factor_of({**recipe, **train}, per_epoch)
    peak = train.get("lr", 1e-3)
    return [[peak * made(epoch * per_epoch + step) for step in range(per_epoch)] for epoch in range(epochs)]


def theirs(epochs, lr, warmup, start, end):
    """The rates of FacT's loop: scheduler.step(epoch) after each epoch."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    schedule = CosineLRScheduler(optimizer, t_initial=epochs, lr_min=end, warmup_t=warmup, warmup_lr_init=start)
    found = []
    for epoch in range(epochs):
        found.append(optimizer.param_groups[0]["lr"])
        schedule.step(epoch)
    return found


def test_the_published_schedule_has_its_known_rates():
    rates = trace()
    assert all(len(set(epoch)) == 1 for epoch in rates)
    rates = [epoch[0] for epoch in rates]
    assert rates[0] == rates[1] == pytest.approx(1e-6, rel=1e-12)
    assert rates[2] == pytest.approx(1.009e-4, rel=1e-4)
    assert max(rates) == rates[11] == pytest.approx(9.758e-4, rel=1e-4)
    assert rates[99] == pytest.approx(1.098e-5, rel=1e-3)


@pytest.mark.parametrize(
    ("epochs", "lr", "warmup", "start", "end"),
    [(100, 1e-3, 10, 1e-6, 1e-5), (500, 1e-4, 10, 1e-6, 1e-5), (12, 5e-3, 0, 1e-6, 1e-5), (3, 1e-3, 10, 1e-7, 1e-8)],
)
def test_the_published_schedule_is_timms_own_stepped_as_they_did(epochs, lr, warmup, start, end):
    ours = [epoch[0] for epoch in trace(epochs, lr=lr, warmup_epochs=warmup, warmup_lr=start, end_lr=end)]
    if warmup == 0:  # without a warm-up timm begins at the peak
        assert ours[0] == lr
    assert ours == pytest.approx(theirs(epochs, lr, warmup, start, end), rel=1e-12)


@pytest.mark.usefixtures("cache")
def test_a_run_trains_at_these_rates(results):
    words = ["train.schedule=timm", "train.warmup_lr=1e-6", "train.end_lr=1e-5", "train.min_lr=null", "train.lr=1e-3"]
    made = run(
        compose(
            [
                *FAST,
                *words,
                "train.epochs=4",
                "train.warmup_epochs=2",
                "trainer.limit_train_batches=2",
                f"results_dir={results}",
            ]
        )
    )
    assert [entry["lr"] for entry in made.history] == pytest.approx(theirs(4, 1e-3, 2, 1e-6, 1e-5), rel=1e-9)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train.schedule=tim"], r"did you mean 'timm'"),
        (["train.schedule=timm", "train.min_lr=null"], r"train\.warmup_lr must be a number"),
        (
            ["train.schedule=timm", "train.warmup_lr=0", "train.end_lr=0"],
            r"train\.min_lr is not of train\.schedule=timm",
        ),
        (["train.end_lr=1e-5"], r"train\.end_lr is not of train\.schedule=null"),
        (["train.min_lr=null"], r"train\.min_lr must be a number"),
        (["train=vtab", "train.lr=0"], r"train\.lr must be above 0"),
    ],
)
def test_rates_that_a_schedule_cannot_use_are_refused(words, said):
    with pytest.raises(BadInput, match=said):
        check_run(compose(words))


# the best epoch on test

FAST = ["logger=none", "progress=none", "latency_rounds=0", "data.task=digits"]
BEST = [
    *FAST,
    "selection.rule=best_test_epoch",
    "selection.every=2",
    "train.epochs=7",
    "train.lr=3e-2",
    "checkpoint_every=1",
]


@pytest.fixture(scope="module")
def best(cache, tmp_path_factory):
    """The record of a run whose best epoch is not its last one, and its folder."""
    folder = tmp_path_factory.mktemp("best")
    return run(compose([*BEST, f"results_dir={folder}"])), folder


def test_the_reported_epoch_is_the_best_of_those_evaluated(best):
    made, _ = best
    seen = {entry["epoch"]: entry["test_top1"] for entry in made.history if "test_top1" in entry}
    assert list(seen) == [2, 4, 6]
    assert made.selection["epoch"] == max(seen, key=seen.get)
    assert made.metrics["top1"] == pytest.approx(max(seen.values()), abs=1e-6)
    assert not [key for entry in made.history for key in entry if key.startswith("val")]


@pytest.mark.campaign
def test_the_adapter_is_that_of_the_reported_epoch(best, tmp_path):
    """A run that stops there, under the same schedule, has learned the same."""
    made, folder = best
    config = compose([*BEST, f"results_dir={tmp_path}"])
    from glorabench.training.stage import Stage
    from glorabench.training.tracker import Tracker

    stage = Stage(config, build(config), Tracker("x", "x", tmp_path, "disabled", None, None), "train", tmp_path / "c")
    stage.trainer.fit_loop.max_epochs = made.selection["epoch"]
    stage.trainer.fit(stage.tuner, stage.parts.data)
    ours = load_file(folder / "adapters" / f"{made.run_id}.safetensors")
    then = {name.removeprefix("net."): tensor for name, tensor in stage.tuner.state_dict().items()}
    assert set(ours) == set(then)
    assert all(torch.equal(ours[name], then[name].cpu()) for name in ours)


def test_record_and_table_say_that_test_chose(best):
    made, _ = best
    assert made.selection["contaminated"]
    assert made.config["selection"] == {
        "fit_on": "trainval",
        "report_on": "test",
        "rule": "best_test_epoch",
        "every": 2,
    }
    assert all(MARK in row[1] for row in long_rows(groups_of([made])[0]) if row[0] == "digits")


@pytest.mark.campaign
def test_stopped_and_made_again_it_reports_the_same(best, tmp_path):
    config = compose([*BEST, f"results_dir={tmp_path}"])
    with stopped_in_epoch(5):
        run(config)
    assert list(tmp_path.glob("checkpoints/*/last.ckpt"))
    reports_the_same(best[0], run(config))


@pytest.mark.campaign
def test_killed_and_typed_again_it_reports_the_same(best, tmp_path):
    command = [sys.executable, "-m", "glorabench.cli", "run", *BEST, f"results_dir={tmp_path}"]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while not list(tmp_path.glob("checkpoints/*/last.ckpt")):
        assert time.monotonic() < deadline, "no checkpoint appeared"
        assert first.poll() is None, "the run ended before it could be killed"
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait(60)
    second = subprocess.run(command, capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    reports_the_same(best[0], record.read_record(record.path_of(tmp_path, compose(BEST))))


def reports_the_same(made, again):
    assert (again.run_id, again.metrics, again.selection) == (made.run_id, made.metrics, made.selection)
    assert again.outcomes == made.outcomes
    assert [entry.get("test_top1") for entry in again.history] == [entry.get("test_top1") for entry in made.history]


def test_a_checkpoint_keeps_the_best_epoch():
    first, second = selection.BestEpoch(), selection.BestEpoch()
    first.epoch, first.score, first.tensors = 3, 0.5, {"a": torch.ones(2)}
    state = first.state_dict()
    assert set(state) == {"epoch", "best_score", "best_tensors"}
    second.load_state_dict(state)
    assert (second.epoch, second.score, list(second.tensors)) == (3, 0.5, ["a"])


def test_the_best_epoch_of_an_older_checkpoint_is_read():
    best = selection.BestEpoch()
    best.load_state_dict({"epoch": 3, "top": 0.5, "kept": {"a": torch.ones(2)}})
    assert (best.epoch, best.score, list(best.tensors)) == (3, 0.5, ["a"])


def test_a_training_shorter_than_the_interval_is_tested_at_its_end():
    config = compose(["selection.rule=best_test_epoch", "train.epochs=3"])
    assert selection.split_to_watch(config) == ("test", 3)
    assert selection.split_to_watch(compose(["selection.rule=best_test_epoch"])) == ("test", 10)


@pytest.mark.usefixtures("cache")
def test_test_stays_shut_for_whoever_does_not_declare_it():
    data = build(compose(FAST)).data
    data.evaluation_split = "test"
    with pytest.raises(LeakError, match=r"selection\.rule=best_test_epoch"):
        data.val_dataloader()


@pytest.mark.usefixtures("cache")
def test_values_chosen_on_test_mark_the_record_and_stand_in_the_same_table(results):
    words = [*FAST, "method=linear", "train.epochs=1", f"results_dir={results}"]
    clean, tuned = run(compose(words)), run(compose([*words, "selection.tuned_on=test"]))
    assert clean.run_id != tuned.run_id
    assert (clean.selection["contaminated"], tuned.selection["contaminated"]) == (False, True)
    assert "tuned_on" not in clean.config["selection"]
    assert clean.outcomes == tuned.outcomes
    assert len(comparable_groups([clean, tuned])) == 1
    assert [MARK in cell.method for cell in cells([clean, tuned])] == [False, True]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["selection.rule=best_tets_epoch"], r"did you mean 'best_test_epoch'"),
        (["selection.tuned_on=val"], r"selection\.tuned_on 'val'"),
        (["selection.every=5"], r"selection\.every is of selection\.rule=best_test_epoch"),
        (["selection.rule=best_test_epoch", "selection.every=0"], r"selection\.every must be a whole number"),
        (["selection.rule=best_test_epoch", "selection.fit_on=train"], r"needs selection\.fit_on=trainval"),
        (
            ["selection.rule=best_test_epoch", "method=glora", "method.path=supernet", "search=random"],
            r"a search chooses a path",
        ),
        (
            ["method=glora", "method.path=supernet", "search=random", "search.fit_on=trainval"],
            r"it is for search\.on=test",
        ),
        (["method=glora", "method.path=supernet", "search=random", "search.fit_on=val"], r"search\.fit_on 'val'"),
    ],
)
def test_a_selection_that_cannot_be_is_refused(words, said):
    with pytest.raises(BadInput, match=said):
        check_run(compose(words))


@pytest.mark.usefixtures("cache")
def test_a_network_of_many_paths_has_no_best_epoch(results):
    words = ["method=glora", "method.path=supernet", "selection.rule=best_test_epoch", f"results_dir={results}"]
    with pytest.raises(BadInput, match="for a fixed path"):
        run(compose([*FAST, *words]))


# experiments

VTAB = {
    **{"vtab1k_glora": 19, "vtab1k_glora_legacy": 19, "vtab1k_baselines": 15 * 19},
    **{"vtab1k_baselines_honest": 15 * 19 * 3, "vtab1k_tune": 15 * 19 * 4},
}
OTHERS = {"fewshot_fgvc": 5 * 5 * 5 * 3, "fewshot_fgvc_glora": 75, "imagenet_shift": 15, "imagenet_shift_glora": 3}


@pytest.mark.parametrize(("name", "size"), {**VTAB, **OTHERS}.items())
def test_an_experiment_is_so_many_runs_that_could_start(name, size):
    jobs, swept = expand([f"experiment={name}"], multirun=False)
    assert swept
    assert len(jobs) == len(set(map(tuple, jobs))) == size
    some = jobs[:: max(1, size // 20)]  # composing them all takes minutes
    configs = [compose(job) for job in some]
    for config in configs:
        check_run(config)
    assert len({record.run_id(config) for config in configs}) == len(some)


@pytest.mark.parametrize("name", [*VTAB, *OTHERS])
def test_an_experiment_begins_with_its_command_a_published_number_and_its_cost(name):
    text = (CONF / "experiment" / f"{name}.yaml").read_text()
    assert text.splitlines()[1].startswith(f"# glorabench run experiment={name} data.root=FOLDER")
    assert "Estimated cost" in text
    assert "published" in text.lower()


def vtab(method, task, *words):
    return compose(["experiment=vtab1k_baselines", f"method={method}", f"data.task={task}", "seed=0", *words])


@pytest.mark.parametrize(
    ("method", "task", "values"),
    [  # read off methods.md, section 8
        ("fact_tt", "cifar", {"rank": 8, "scale": 1.0}),
        ("fact_tt", "clevr_dist", {"rank": 4, "scale": 10.0}),
        ("fact_tk", "svhn", {"rank": 32, "scale": 100.0, "form": "tk_code"}),
        ("fact_tk", "dtd", {"rank": 16, "scale": 0.01}),
        ("repadapter", "caltech101", {"scale": 5.0}),
        ("repadapter", "smallnorb_azi", {"scale": 10.0}),
        ("convpass", "sun397", {"scale": 0.1, "init": "identity"}),
        ("convpass", "dsprites_loc", {"scale": 100.0, "init": "xavier"}),
        ("vpt_shallow", "kitti", {"prompts": 100}),
        ("vpt_deep", "patch_camelyon", {"prompts": 100}),
        ("adaptformer", "dmlab", {"rank": 8, "scale": 0.1}),
    ],
)
def test_the_baselines_have_the_values_of_the_table(method, task, values):
    config = vtab(method, task)
    assert {key: config["method"][key] for key in values} == values
    assert config["selection"]["rule"] == "best_test_epoch"
    assert config["data"]["preprocess"] == "vtab_bicubic_imagenet"


@pytest.mark.parametrize(
    ("task", "lr", "decay", "drop_path"),
    [("eurosat", 3e-3, 5e-2, 0.2), ("clevr_dist", 5e-2, 5e-2, 0.1), ("oxford_iiit_pet", 5e-3, 5e-5, 0.0)],
)
def test_ssf_has_its_rates_of_the_table(task, lr, decay, drop_path):
    config = vtab("ssf", task)
    train = config["train"]
    assert (train["lr"], train["weight_decay"], train["drop_path"]) == (lr, decay, drop_path)
    assert (train["decay"], train["warmup_lr"], train["end_lr"]) == ("matrices", 1e-7, 1e-8)
    assert config["backbone"]["drop_path"] == drop_path


@pytest.mark.campaign
def test_every_task_of_vtab_has_every_value_and_the_lengths_give_the_printed_counts():
    lengths = {kind: [] for kind in ("shallow", "deep")}
    with (CONF.parent / "src/glorabench/data/suites/vtab1k.py").open() as file:
        known = file.read()
    tasks = compose(["experiment=vtab1k_glora"]) and [
        word.removeprefix("data.task=") for job in expand(["experiment=vtab1k_glora"], False)[0] for word in job
        if word.startswith("data.task=")
    ]  # fmt: skip
    assert len(tasks) == 19
    assert all(f'"{task}"' in known for task in tasks)
    for task in tasks:
        for kind, found in lengths.items():
            found.append(vtab(f"vpt_{kind}", task)["method"]["prompts"])
    groups = [slice(0, 7), slice(7, 11), slice(11, 19)]
    by_group = {k: sum(sum(v[g]) / len(v[g]) for g in groups) / 3 for k, v in lengths.items()}
    assert round(768 * by_group["shallow"]) == pytest.approx(62_930, abs=20)
    assert round(9_216 * by_group["deep"]) == pytest.approx(530_469, abs=200)


def test_a_mapping_by_task_has_every_task():
    written = yaml.safe_load((CONF / "experiment/vtab1k_baselines.yaml").read_text())
    tasks = {task.strip() for task in written["hydra"]["sweeper"]["params"]["data.task"].split(",")}
    assert len(tasks) == 19
    mappings = [value for own in written["recipe"].values() for value in own.values() if isinstance(value, dict)]
    assert len(mappings) == 12
    assert all(set(mapping) == tasks for mapping in mappings)


def test_what_was_chosen_on_test_says_so_and_its_counterpart_does_not():
    marked = {m: vtab(m, "cifar")["selection"]["tuned_on"] for m in ("fact_tt", "convpass", "ssf", "vpt_deep", "lora")}
    assert marked == {"fact_tt": "test", "convpass": "test", "ssf": "test", "vpt_deep": None, "lora": None}
    for method in ("fact_tt", "ssf", "vpt_deep", "lora", "full"):
        words = ["experiment=vtab1k_baselines_honest", f"method={method}", "data.task=cifar", "seed=0"]
        assert not selection.is_contaminated(compose(words))
    assert selection.is_contaminated(compose(["experiment=vtab1k_glora_legacy"]))
    assert not selection.is_contaminated(compose(["experiment=vtab1k_glora"]))


def test_glora_is_as_released_and_its_legacy_trained_on_all_and_searched_on_test():
    now, before = compose(["experiment=vtab1k_glora"]), compose(["experiment=vtab1k_glora_legacy"])
    for config in (now, before):
        train = config["train"]
        assert (train["epochs"], train["lr"], train["decay"], train["drop_path"]) == (500, 1e-4, "all", 0.1)
        assert (config["search"]["held_out"], config["search"]["winner"]) == (0.0, "inherit")
    assert supernet_config(now)["selection"]["fit_on"] == "train"
    assert supernet_config(before)["selection"]["fit_on"] == "trainval"
    assert (now["search"]["on"], before["search"]["on"]) == ("val", "test")


def test_the_command_of_the_issue_is_short_everywhere():
    words = ["experiment=vtab1k_glora", "backbone=vit_mini", "data.root=X", "train.epochs=1", "seed=0"]
    small = ["search=random", "search.algorithm.batch=4", "search.algorithm.total=8"]
    jobs, _ = expand([*words, *small, "data.task=cifar,svhn"], multirun=True)
    configs = [compose(job) for job in jobs]
    assert len(configs) == 2
    for config in configs:
        check_run(config)
        assert config["backbone"]["name"] == "vit_mini"
        assert supernet_config(config)["train"]["epochs"] == 1
        assert config["search"]["algorithm"]["total"] == 8
        assert config["search"]["max_params"] == 1_000_000
    with pytest.raises(BadInput, match=r"no key 'train\.max_epochs'; did you mean 'train\.epochs'"):
        compose(["experiment=vtab1k_glora", "train.max_epochs=1"])


@pytest.mark.parametrize(
    ("name", "method", "key", "printed"),
    [
        ("vtab1k_baselines", "Convpass", "computed_group_mean", "76.56"),
        ("vtab1k_glora", "GLoRA", "computed_mean19", "75.77"),
    ],
)
def test_published_numbers_are_those_of_the_collection(name, method, key, printed):
    with (CONF.parent / "results/published/vtab1k.csv").open() as file:
        assert printed in {row[key] for row in csv.DictReader(file) if row["method"] == method}
    assert printed in (CONF / "experiment" / f"{name}.yaml").read_text()


def test_the_legacy_protocol_trains_its_supernet_on_all_and_says_that_test_chose(results, cache):
    words = ["method=glora", "method.path=supernet", "search=random", "search.on=test", "search.fit_on=trainval"]
    small = ["train.epochs=1", "search.algorithm.batch=2", "search.algorithm.total=2", "search.held_out=0"]
    config = compose([*FAST, *words, *small, f"results_dir={results}"])
    made = run(config)
    assert made.cost["stages"]["supernet"]["steps"] == 15  # 1,000 images
    assert made.search["n"] == made.metrics["n"] == 797
    assert made.search["score"] == made.metrics["top1"]
    assert made.selection["contaminated"]
