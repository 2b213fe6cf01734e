"""Words that people mistype, and that nobody means: refused in one line before anything starts, or read as meant.

`LINES` are command lines of `run`; each must be refused. They are made from every key of a config and wrong values,
and from words that were tried in use. The short form takes a sample, `make test-all` all of them.
"""

from __future__ import annotations

import itertools
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from glorabench.cli import main

QUICK = ["logger=none", "progress=none", "train.epochs=1"]
NOT_WHOLE = ("true", "1.5", "two", "null", "[1]", "{a: 1}", "-1", "nan", "inf", "1e20", "${nowhere}", "''")
NOT_NUMBER = ("true", "high", "[1]", "{a: 1}", "-1", "nan", "inf", "-inf", "${nowhere}", "''")
WHOLE = (
    "train.epochs", "train.batch_size", "train.eval_batch_size", "seed", "checkpoint_every", "method.rank",
    "latency_rounds",
)  # fmt: skip
NUMBER = (
    "train.lr", "train.warmup_epochs", "train.min_lr", "train.weight_decay", "train.clip", "train.drop_path",
    "train.label_smoothing", "train.mixup", "train.cutmix", "method.dropout",
)  # fmt: skip
CHOICE = (
    "train.decay", "train.precision", "train.cache_features", "selection.fit_on", "selection.report_on",
    "selection.rule", "progress", "method.init", "method.dropout_on", "logger.mode", "backbone.last_block",
)  # fmt: skip
NOT_CHOICE = ("nonsense", "3", "[a]", "{a: 1}", "null", "''")
GROUP = ("method", "backbone", "data", "train", "logger")
NOT_GROUP = ("nonsense", "[lora,glora]", "{name: x}", "null", "3", "''", "../lora", "_base")
UNKNOWN = (
    "+train.new=1", "++train.new=1", "train.optimizer=sgd", "+train.optimizer=sgd", "+new.key=1", "++new.key=1",
    "new=1", "+method.rnk=2", "+selection.x=1", "+logger.x=1", "+data.x=1", "+backbone.x=1", "+search.x=1",
    "+_target_=os.system", "method.targets.x=1", "seed.x=1", "+names.task=3", "+names=3",
)  # fmt: skip
HOSTILE = tuple(
    f"{plus}{place}.{word}"
    for place in ("method", "backbone", "data")
    for plus, word in (
        ("", "_target_=os.system"), ("", "_target_=builtins.dict"), ("", "_target_=torch.load"), ("", "_target_=null"),
        ("", "_target_=[x]"), ("", "_target_=glorabench.files.write_text"), ("+", "_partial_=true"),
        ("+", "_args_=[ls]"), ("+", "_convert_=none"), ("+", "_recursive_=false"),
    )
)  # fmt: skip
OTHER = (
    "selection=null", "selection=train", "selection=[a]", "train=[mini]", "~method", "~seed", "~selection", "~logger",
    "~train", "~backbone", "~data", "~train.lr", "~results_dir", "data={a: 1}", "logger=[none,wandb]",
    "hydra.sweeper.params=3", "hydra.sweeper.params=[a]", "method.targets={q: 1}", "method.targets=[[q]]",
    "method.targets=q", "method.targets=[]", "method.targets=[nothing]", "method.targets=null", "method.targets=[1]",
    "backbone.preprocess=3", "backbone.preprocess={size: x}", "backbone.model=null", "backbone.model=[a]",
    "backbone.name=../x", "backbone.name=null", "backbone.name=[a]", "backbone.family=vitt", "backbone.family=[vit]",
    "backbone.weights_from=1", "backbone.weights_from=[a]", "backbone.weights_from={a: 1}", "backbone.sha256=3",
    "backbone.weights_from=/dev/zero", "backbone.weights_from=nowhere.pth", "+backbone.model_args.depth=-1",
    "+backbone.model_args.depth=two", "+backbone.model_args.pretrained=true", "+backbone.model_args=3",
    "+backbone.model_args.checkpoint_path=x.pth", "+backbone.model_args.nothing=3", "results_dir=null",
    "results_dir=[a]", "results_dir={a: 1}", "results_dir=true", "cache_dir=null", "cache_dir=[a]", "data.task=[a]",
    "data.task=null", "data.task=digit", "data.task=3", "seed=[0]", "seed=2020-01-01", "seed=4294967296",
    "selection.every=0", "selection.every=3", "selection.tuned_on=val", "compile=yes", "compile=[a]", "recipe=3",
    "+recipe.nonsense={lr: 1}", "method.alpha=0", "method.alpha=nan", "method.rank=500", "train.lr=0x10",
    "train.warmup_epochs=100", "search=nonsense", "search=[random]", "search={a: 1}", "experiment=nonsense",
    "experiment=[quickstart]", "seed=0,1", "method=lora,glora", "train.lr=interval(0,1)", "seed", "=1", "a b=c",
    "method.targets=[q", "seed=" + "[" * 2000, "'''", "method=glora method.product=x", "method=glora method.path=x",
    "method=glora method.path={A: x}", "method=peft method.config=X", "method=peft method.args=3",
    "method=peft 'method.args={megatron_core: evil_module}'", "method=vpt_deep method.prompts=0",
    "search=random method=lora", "search=random search.held_out=2", "search=random search.version=1",
    "search=random search.algorithm=null", "search=random search.algorithm.batch=true", "search=random search.on=x",
    "search=random search.algorithm._target_=os.system", "search=random search.max_params=-1",
    "search=random +search.algorithm._partial_=true", "search=random search.epochs=0",
    "+data.label='a\nb'", "+data.label=[a]", "backbone=llama_7b backbone.weights_from=null", "data=vtab1k data.task=x",
    "data=vtab1k data.root=/nowhere", "data=fewshot data.shots=3 data.root=/nowhere", "logger.project=[a]",
)  # fmt: skip

TEXT = tuple(
    f"backbone=llama_mini data=mini_text train=mini_text {words}"
    for words in (
        "data.task=fact", "data.task=null", "data.task=[a]", "data.template=quest", "data.template=null",
        "data.template=[plain]", "data.max_length=0", "data.max_length=3", "data.max_length=20", "data.max_length=257",
        "data.max_length=1e20", "data.max_length=null", "data.max_length=two", "data.truncate=both", "data.truncate=3",
        "data.truncate=[left]", "data.loss_on=prompt", "data.loss_on=null", "data.max_new_tokens=0",
        "data.max_new_tokens=1.5", "data.max_new_tokens=true", "data.task=dialogue data.max_new_tokens=256",
        "data.pack=maybe", "data.pack=null", "data.pack=true method=vpt_shallow", "data.shots=3", "method=linear",
        "method=bitfit", "method=convpass", "method=fact_tk", "method=vpt_shallow method.blocks=[0]",
        "method=vpt_deep method.keys_only=false", "method=lora method.targets=[fc1]", "method.targets=[qkv]",
        "method=ssf method.targets=[norm1]", "backbone.tokenizer_from=/nowhere", "backbone.tokenizer_from=null "
        "backbone.weights_from=null", "backbone.tokenizer_from=3", "backbone.tokenizer_from=[a]", "backbone.dtype=int8",
        "backbone.weights_from=/nowhere", "backbone.model_args.vocab_size=64 backbone.weights_from=null",
        "backbone.model_args.vocab_size=0 backbone.weights_from=null", "backbone.image_size=96", "train.augment=x",
        "+data.root=/nowhere", "backbone=vit_mini", "data=mini", "selection.report_on=val", "train.accumulate=0",
    )
)  # fmt: skip


def lines() -> Iterator[str]:
    """Command lines that a run must refuse."""
    for keys, values in ((WHOLE, NOT_WHOLE), (NUMBER, NOT_NUMBER), (CHOICE, NOT_CHOICE), (GROUP, NOT_GROUP)):
        for key, value in itertools.product(keys, values):
            yield f'{key}="{value}"' if " " in value else f"{key}={value}"
    yield from UNKNOWN
    yield from HOSTILE
    yield from OTHER
    yield from TEXT


WHOLE_WORDS = ("'''",)  # what no shell would split
LINES = tuple(dict.fromkeys(lines()))


@pytest.fixture
def refuse(tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Give a command line; fails if it is not refused in one line, or leaves something behind."""
    from lightning.pytorch import Trainer

    def started(*_: object, **__: object) -> None:
        raise AssertionError("training started")

    monkeypatch.setattr(Trainer, "fit", started)
    monkeypatch.chdir(tmp_path)
    results = tmp_path / "results"

    def check(line: str) -> str:
        words = line.split(" ") if line in WHOLE_WORDS else shlex.split(line)
        where = [] if "results_dir" in line else [f"results_dir={results}"]
        shutil.rmtree(results, ignore_errors=True)
        code = main(["run", *QUICK, *where, *words])
        out = capsys.readouterr()
        assert code == 2, f"{line}: exit code {code}, {out.err[-300:]}"
        assert out.err.startswith("glorabench: "), line
        assert out.err.count("\n") == 1, line
        assert "Traceback" not in out.err + out.out, line
        left = {path.name for path in tmp_path.rglob("*")} - {"results"}
        assert not left, f"{line} left {left}"
        return out.err

    return check


@pytest.mark.parametrize("line", LINES[::7])
def test_nonsense_is_refused_in_one_line_before_anything_starts(refuse, line: str) -> None:
    refuse(line)


@pytest.mark.campaign
def test_campaign_of_bad_words(refuse, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = []
    for line in LINES:
        try:
            refuse(line)
        except AssertionError as error:
            wrong.append(str(error).splitlines()[0])
        except BaseException as error:
            wrong.append(f"{line}: {type(error).__name__}: {error}")
    with capsys.disabled():
        print(f"\n{len(LINES)} bad command lines: {len(wrong)} not refused in one line")
    assert not wrong, "\n".join(wrong)
    assert len(LINES) >= 400


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("+train.new=1", "no key 'train.new'."),
        ("train.lrr=1", "no key 'train.lrr'; did you mean 'train.lr'?"),
        ("+train.epoch=1", "no key 'train.epoch'; did you mean 'train.epochs'?"),
        ("train.optimizer=sgd", "no key 'train.optimizer'; did you mean 'optimizer'?"),
        ("lr=1", "no key 'lr'; did you mean 'train.lr'?"),
        ("train.lr=true", "train.lr must be a number of at least 0, got True"),
        ("train.lr=inf", "train.lr must be a number of at least 0, got inf"),
        ("train.batch_size=true", "train.batch_size must be a whole number of at least 1, got True"),
        ("seed=true", "seed must be a whole number from 0 to 4294967295, got True"),
        ("method=[lora,glora]", "method must be one name, got [lora,glora]; several: -m method=A,B"),
        ("~method", "'~method': a run needs a method: choose one with method=NAME"),
        ("selection=null", "selection must hold keys and values, got None"),
        ("results_dir=null", "results_dir must be the path of a folder, got None"),
        ("method._target_=os.system", "method._target_: 'os.system' is no method of glorabench"),
        ("+method._partial_=true", "method._partial_ is not a setting"),
        ("backbone.name=../x", "backbone.name must be letters, digits and ._+-, got '../x'"),
    ],
)
def test_the_line_names_key_value_and_what_is_allowed(refuse, line: str, said: str) -> None:
    assert said in refuse(line)
