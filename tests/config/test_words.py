"""Words as people type them: paths, numbers in any form, code of one's own; and what instantiation refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from glorabench.cli import main
from glorabench.config import instantiate, schema
from glorabench.config.compose import compose, expand
from glorabench.config.instantiate import BACKBONE, DATA, METHOD, NODE_KINDS, make
from glorabench.config.number_forms import NUMBER_FORMS, canonical
from glorabench.config.paths import options
from glorabench.config.words import quote_paths
from glorabench.errors import BadInput
from glorabench.records import record

ROOT = Path(__file__).parents[2]


def read(word: str) -> dict:
    jobs, _ = expand([word], multirun=False)
    return compose(quote_paths(jobs[0]))


@pytest.mark.parametrize(
    "path",
    [
        "~/my results", "/data/a#b", "/data/a & b", "/data/(1)", "/data/a=b", "/data/größe", "/data/日本", "a b", "1e3",
        "123", "/data/it's", "/data/back\\slash", "/data/end\\", "/data/a'b\\", 'say "hi"', "/data/a:b", "./x", "a;b",
        "/data/[1]", "-x", "a%b", "a@b", "x$y",
    ],
)  # fmt: skip
def test_a_path_is_read_as_it_is_typed(path: str) -> None:
    assert read(f"results_dir={path}")["results_dir"] == str(Path(path).expanduser())


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters=",$~"), min_size=1))
@example("a\\'b")
def test_any_path_without_a_comma_is_read_as_it_is_typed(text: str) -> None:
    assert read(f"results_dir=/x{text}")["results_dir"] == str(Path(f"/x{text}"))


def test_a_path_in_quotes_and_a_sweep_of_paths_stay_what_they_are() -> None:
    assert read("results_dir='/a b'")["results_dir"] == "/a b"
    jobs, _ = expand(["results_dir=/a,/b"], multirun=True)
    assert jobs == [["results_dir=/a"], ["results_dir=/b"]]


def test_a_word_that_cannot_be_read_says_how_to_quote_it() -> None:
    with pytest.raises(BadInput, match=r"""is quoted: "\+data.label='a & b'\""""):
        expand(["+data.label=a & b"], multirun=False)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["train.clip=1"], ["train.clip=1.0"]),
        (["train.lr=1"], ["train.lr=1.0"]),
        (["train.warmup_epochs=1.0"], ["train.warmup_epochs=1"]),
        (["method.alpha=4.0"], ["method.alpha=4"]),
        (["method.dropout=0"], []),
        (["train.mixup=1"], ["train.mixup=1.0"]),
        (["method=fact_tk", "method.scale=1"], ["method=fact_tk"]),
        (["method=glora", "method.rank=4.0"], ["method=glora"]),
    ],
)
def test_one_configuration_has_one_id(one: list[str], other: list[str]) -> None:
    assert record.run_id(compose(one)) == record.run_id(compose(other))


def test_every_committed_record_is_in_the_form_that_a_config_has_today() -> None:
    """So no id of a committed record moves: the forms of numbers are those that it was hashed with."""
    files = sorted((ROOT / "results").glob("**/runs/**/*.json"))
    assert len(files) > 1000
    for path in files[::40]:
        config = json.loads(path.read_text())["config"]
        names = config["names"]
        for group, forms in (("method", None), ("train", NUMBER_FORMS["train"])):
            if forms is None:
                forms = compose([f"method={names['method']}", f"backbone={names['backbone']}"])[group]
            assert json.dumps(canonical(config[group], forms)) == json.dumps(config[group]), path


def test_every_committed_record_has_the_id_of_its_config_and_targets_that_may_be_named() -> None:
    for path in sorted((ROOT / "results").glob("**/runs/**/*.json")):
        data = json.loads(path.read_text())
        assert data["run_id"] == record.run_id(data["config"], data["protocol"]), path
        schema.check_nodes(data["config"])


def test_every_target_of_conf_is_one_that_may_be_named_and_takes_what_conf_says() -> None:
    for group, kind in (("method", METHOD), ("backbone", BACKBONE), ("data", DATA)):
        for name in options(group):
            needs = {"timm": "resnet50", "hf_vision": "vit", "hf_text": "llama"}
            model = [f"backbone.model={needs[name]}", "backbone.weights_from=null"] if name in needs else []
            node = compose([f"{group}={name}", *model])[group]
            assert instantiate.check_address(node, kind)
            instantiate.check_arguments(node, kind)


@pytest.mark.parametrize("kind", NODE_KINDS, ids=lambda kind: kind.key)
@pytest.mark.parametrize(
    "address",
    ["os.system", "builtins.eval", "torch.load", "glorabench.files.write_text", "glorabench.cli.main", "x", "a.b;c", 3],
)
def test_what_is_on_no_list_is_refused_before_it_is_imported(kind: instantiate.NodeKind, address: object) -> None:
    before = set(sys.modules)
    with pytest.raises(BadInput, match=r"_target_"):
        make({"_target_": address}, kind)
    assert set(sys.modules) == before


def test_a_function_or_another_class_in_a_methods_module_is_no_method() -> None:
    for name in ("Reparam", "LowRank", "widen", "check_rank", "Method"):
        with pytest.raises(BadInput, match=r"is no method|there is no"):
            make({"_target_": f"glorabench.methods.lora.{name}"}, METHOD)


@pytest.mark.parametrize("word", ["_partial_", "_args_", "_convert_", "_recursive_", "_mode_"])
def test_instructions_are_refused_at_any_depth(word: str) -> None:
    for node in (
        {word: True},
        {"targets": {word: True}},
        {"targets": [{word: True}]},
        {"targets": [{"_target_": "x"}]},
    ):
        with pytest.raises(BadInput, match=r"is not a setting"):
            make({**compose([])["method"], **node}, METHOD)


@pytest.fixture
def own_code(tmp_path: Path) -> Path:
    """A folder with a package of the user's own that holds a method."""
    source = (
        "from dataclasses import dataclass\n"
        "from glorabench.methods.lora import LoRA\n\n\n"
        "@dataclass(frozen=True)\n"
        "class Mine(LoRA):\n"
        "    '''LoRA under another name.'''\n\n\n"
        "def run(**_):\n"
        "    raise SystemExit('ran')\n"
    )
    (tmp_path / "my_code.py").write_text(source)
    return tmp_path


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    quick = ["logger=none", "progress=none", "train.epochs=1", "latency_rounds=1", "results_dir=out"]
    quick += ["trainer.limit_train_batches=2"]
    environment = {**os.environ, "GLORABENCH_CACHE": str(folder / "cache")}
    line = [sys.executable, "-m", "glorabench.cli", "run", *quick, *words]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_method_of_ones_own_needs_a_word_on_the_command_line(own_code: Path) -> None:
    refused = command(own_code, "method._target_=my_code.Mine")
    assert refused.returncode == 2
    assert "add --allow my_code to the command" in refused.stderr
    done = command(own_code, "--allow", "my_code", "method._target_=my_code.Mine")
    assert done.returncode == 0, done.stderr
    (path,) = (own_code / "out").glob("runs/*/*.json")
    assert json.loads(path.read_text())["provenance"]["allowed"] == ["my_code"]


def test_a_record_cannot_ask_for_it(own_code: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.syspath_prepend(str(own_code))
    source = next((ROOT / "results" / "runs" / "mini").glob("lora-vit_mini-digits-s0-*.json"))
    data = json.loads(source.read_text())
    data["config"]["method"]["_target_"] = "my_code.Mine"
    data["provenance"]["allowed"] = ["my_code"]
    data["config"]["allow"] = ["my_code"]
    data["run_id"] = record.run_id(data["config"])
    folder = own_code / "runs" / "mini"
    folder.mkdir(parents=True)
    (folder / f"x-{data['run_id']}.json").write_text(json.dumps(data))
    assert main(["export", f"run={data['run_id']}", "to=merged", f"results_dir={own_code}"]) == 2
    assert "is no method of glorabench" in capsys.readouterr().err
    assert "my_code" not in sys.modules


@pytest.mark.parametrize("name", ["glorabench", "a.b", "", "../x", "os;"])
def test_allow_takes_the_name_of_a_package(name: str) -> None:
    with pytest.raises(BadInput, match=r"--allow"), instantiate.allow_packages([name]):
        pass
