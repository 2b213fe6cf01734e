"""From words to configs: what a command stands for, and the nearest name for a wrong one."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest

from glorabench.config.compose import compose, expand
from glorabench.config.instantiate import METHOD, make
from glorabench.config.paths import CONFIG_GROUPS, conf_dir, options
from glorabench.errors import BadInput
from glorabench.records import record

CONF = Path(__file__).parents[2] / "conf"
OPTIONS = [(group, name) for group in CONFIG_GROUPS for name in options(group)]


def run_ids(words: list[str], multirun: bool = False) -> list[str]:
    return [record.run_id(compose(job)) for job in expand(words, multirun)[0]]


def test_no_words_are_the_default_run() -> None:
    config = compose([])
    assert config["names"] == {
        "method": "lora",
        "backbone": "vit_mini",
        "data": "mini",
        "task": "digits",
    }
    assert config["seed"] == 0
    assert "hydra" not in config


def test_names_follow_what_the_groups_chose() -> None:
    config = compose(["method=glora", "backbone=vit_b16", "data.task=dsprites_loc"])
    assert config["names"] == {
        "method": "glora",
        "backbone": "vit_b16",
        "data": "mini",
        "task": "dsprites_loc",
    }


MODELS = {"timm": "resnet18", "hf_vision": "vit", "hf_text": "llama"}  # of backbones that are for many models


@pytest.mark.parametrize(("group", "name"), OPTIONS, ids=["=".join(option) for option in OPTIONS])
def test_every_option_of_every_group_composes_and_resolves(group: str, name: str) -> None:
    model = MODELS.get(name) if group == "backbone" else None
    jobs, _ = expand([f"{group}={name}", *([f"backbone.model={model}"] if model else [])], multirun=False)
    for config in map(compose, jobs[:2]):
        assert "${" not in str(config)
        assert "???" not in str(config)
        if group in config["names"]:
            assert config["names"][group] == (model or name)


def test_every_option_is_a_file_and_every_file_an_option() -> None:
    files = {(path.parent.name, path.stem) for path in CONF.glob("*/[!_]*.yaml")}
    assert {option for option in files if option[0] in CONFIG_GROUPS} == set(OPTIONS)


def test_a_plain_command_is_one_run() -> None:
    words = ["method=glora", "seed=3"]
    assert expand(words, multirun=False) == ([words], False)


def test_lists_and_ranges_are_every_combination() -> None:
    jobs, swept = expand(["method=lora,glora", "seed=range(0,3)", "train.epochs=2"], multirun=True)
    assert swept
    assert jobs == [
        [f"method={method}", f"seed={seed}", "train.epochs=2"]
        for method, seed in itertools.product(("lora", "glora"), range(3))
    ]


def test_a_list_as_a_value_is_one_run() -> None:
    assert compose(["method.targets=[q,k]"])["method"]["targets"] == ["q", "k"]
    assert expand(["method.targets=[q,k]"], multirun=False) == ([["method.targets=[q,k]"]], False)
    assert len(expand(["method.targets=[q,k],[v]"], multirun=True)[0]) == 2


def test_the_quickstart_is_a_sweep_by_itself() -> None:
    jobs, swept = expand(["experiment=quickstart"], multirun=False)
    assert swept
    found = [compose(job) for job in jobs]
    assert [(c["names"]["method"], c["names"]["task"], c["seed"]) for c in found] == list(
        itertools.product(("linear", "lora", "glora"), ("digits", "dsprites_loc"), (0, 1))
    )
    assert len({record.run_id(config) for config in found}) == 12


def test_a_word_replaces_an_axis_of_an_experiment() -> None:
    words = ["experiment=quickstart", "seed=5", "method=full,lora"]
    found = [compose(job) for job in expand(words, multirun=False)[0]]
    assert {config["seed"] for config in found} == {5}
    assert {config["names"]["method"] for config in found} == {"full", "lora"}
    ids = [record.run_id(config) for config in found]
    assert len(ids) == len(set(ids)) == 4


def test_a_sweep_needs_m() -> None:
    with pytest.raises(BadInput, match=r"'seed=0,1' is a sweep: add -m"):
        expand(["method=lora", "seed=0,1"], multirun=False)


@pytest.mark.parametrize(
    ("word", "nearest"),
    [
        ("method=lorra", "did you mean 'lora'"),
        ("backbone=vit_b61", "did you mean 'vit_b16'"),
        ("data=minni", "did you mean 'mini'"),
        ("experiment=quikstart", "did you mean 'quickstart'"),
        ("data.tsk=digits", "did you mean 'data.task'"),
        ("train.lrr=1", "did you mean 'train.lr'"),
        ("method.rnk=2", "did you mean 'method.rank'"),
        ("sed=1", "did you mean 'seed'"),
        ("metod=lora", "did you mean 'method'"),
        ("results_dri=x", "did you mean 'results_dir'"),
    ],
)
def test_a_wrong_name_gives_the_nearest_right_one(word: str, nearest: str) -> None:
    key, _, value = word.partition("=")
    words = [word] if key == "method" else ["method=glora", "train.epochs=1", word]
    with pytest.raises(BadInput) as refused:
        compose(words)
    message = str(refused.value)
    assert nearest in message
    assert (value if key in CONFIG_GROUPS else key) in message
    assert "\n" not in message


@pytest.mark.parametrize("word", ["method=lora,lorra", "seed=0,1", "method.rank=2,4"])
@pytest.mark.parametrize("wrong", ["backbone=vit_b61", "data.tsk=digits"])
def test_a_wrong_name_in_a_sweep_is_found_before_anything_runs(word: str, wrong: str) -> None:
    with pytest.raises(BadInput, match="did you mean"):
        expand([word, wrong], multirun=True)


@pytest.mark.parametrize("word", ["nonsense", "=1", "seed", "method.targets=[q", "a b=c"])
def test_words_that_are_no_overrides_are_refused_in_one_line(word: str) -> None:
    with pytest.raises(BadInput) as refused:
        expand([word], multirun=False)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("word", ["train.lr=interval(0,1)", "backbone.name=glob(*)"])
def test_a_sweep_that_cannot_be_listed_is_refused(word: str) -> None:
    with pytest.raises(BadInput, match=r"list the values|range"):
        expand([word], multirun=True)


def test_a_glob_is_every_option_of_a_group() -> None:
    jobs, _ = expand(["method=glob(*)", "seed=0,1"], multirun=True)
    assert jobs == [[f"method={name}", f"seed={seed}"] for name in options("method") for seed in (0, 1)]


def test_a_glob_without_a_match_is_refused() -> None:
    with pytest.raises(BadInput, match=r"method=glob\(zzz\*\)' matches nothing. Known: adapter_plus"):
        expand(["method=glob(zzz*)"], multirun=True)


def test_the_targets_of_a_method_follow_the_family_of_the_backbone() -> None:
    assert compose(["method=lora"])["method"]["targets"] == ["q", "v"]
    assert compose(["method=lora", "backbone=convnext_b"])["method"]["targets"] == ["fc1", "fc2"]
    assert compose(["method=lora", "backbone=convnext_b", "method.targets=[fc2]"])["method"]["targets"] == ["fc2"]


def test_a_family_without_targets_is_told_to_give_them() -> None:
    with pytest.raises(
        BadInput, match=r"config: method\.targets: none is given for backbones of family 'swin': give it on the "
    ):
        compose(["method=lora", "backbone.name=other", "backbone.family=swin"])


def test_a_value_that_refers_to_nothing_is_refused() -> None:
    with pytest.raises(BadInput, match=r"config: train\.lr: .*nowhere"):
        compose(["train.lr=${nowhere}"])


def test_a_missing_value_is_refused() -> None:
    with pytest.raises(BadInput, match=r"data\.task"):
        compose(["data.task=???"])


def test_the_rate_of_a_method_is_looked_up_by_its_name() -> None:
    assert compose(["method=linear"])["train"]["lr"] == compose([])["train"]["lr_of"]["linear"]
    assert compose(["method=linear", "train.lr=0.5"])["train"]["lr"] == 0.5


def test_the_configuration_can_live_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = Path(shutil.copytree(CONF, tmp_path / "conf"))
    (copied / "run.yaml").write_text((CONF / "run.yaml").read_text().replace("seed: 0", "seed: 77"))
    (copied / "method" / "mine.yaml").write_text((CONF / "method" / "lora.yaml").read_text())
    monkeypatch.setenv("GLORABENCH_CONF", str(copied))
    assert conf_dir() == copied
    assert compose(["method=mine"])["seed"] == 77
    assert "mine" in options("method")


def test_a_configuration_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLORABENCH_CONF", str(tmp_path))
    with pytest.raises(BadInput, match=f"no run.yaml in {tmp_path}"):
        compose([])


def test_the_same_words_are_the_same_run() -> None:
    words = ["method=glora", "method.rank=2", "data.task=dsprites_ori", "seed=1"]
    for order in (words, words[::-1], words[2:] + words[:2]):
        assert run_ids(order) == run_ids(words)


def test_a_default_said_aloud_is_the_same_run() -> None:
    assert run_ids(["method=lora", "seed=0", "method.rank=8"]) == run_ids([])


@pytest.mark.parametrize("word", ["results_dir=x", "cache_dir=x", "logger=none", "progress=none", "checkpoint_every=1"])
def test_where_a_run_puts_things_is_the_same_run(word: str) -> None:
    assert run_ids([word]) == run_ids([])


@pytest.mark.parametrize("word", ["seed=1", "train.lr=1", "method.rank=2", "selection.fit_on=train"])
def test_whatever_moves_numbers_is_another_run(word: str) -> None:
    assert run_ids([word]) != run_ids([])


def test_an_argument_that_an_object_does_not_take_is_named() -> None:
    with pytest.raises(BadInput, match=r"LoRA.*rnk"):
        make({**compose([])["method"], "rnk": 3}, METHOD)


def test_what_an_object_says_is_wrong_arrives_unchanged() -> None:
    with pytest.raises(BadInput, match=r"^method.rank must be a whole number of at least 1, got 0$"):
        make(compose(["method.rank=0"])["method"], METHOD)


def test_an_object_that_does_not_exist_is_named() -> None:
    with pytest.raises(BadInput, match=r"glorabench\.methods\.none"):
        make({"_target_": "glorabench.methods.none.None"}, METHOD)


def test_objects_are_made_of_plain_values() -> None:
    method = make(compose(["method.targets=[q,k]"])["method"], METHOD)
    assert (type(method).__name__, method.targets, method.rank) == ("LoRA", ("q", "k"), 8)
