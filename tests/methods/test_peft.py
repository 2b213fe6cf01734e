"""The bridge to Hugging Face peft: the table of docs/peft.md is what its tuners do here, and what users get wrong."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from conftest import tiny_convnext, tiny_vit
from glorabench.backbones.base import Backbone
from glorabench.cli import main
from glorabench.config.compose import compose
from glorabench.config.instantiate import METHOD, make
from glorabench.errors import BadInput
from glorabench.methods.peft import CONFIGS, Peft, PeftLayer
from glorabench.methods.reparam import Foldable, merge, merge_obstacle
from glorabench.training.measure import profiling
from test_methods import BACKBONES, batch, logits, train

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:peft.*")  # doubts that the table settles
DOC = Path(__file__).parents[2] / "docs" / "peft.md"
EXACT, SINGLE = 1e-10, 3e-6  # in double precision; where peft computes in single precision inside
COLUMNS = {  # of the table: the backbone and the roles
    "ViT": ("vit", ("qkv", "fc1")),
    "ConvNeXt": ("convnext", ("fc1", "fc2")),
    "Llama": ("llama", ("q", "v")),
    "stem": ("convnext", ("stem",)),
    "dwconv": ("convnext", ("dwconv",)),
}
ROLES = {"LNTuningConfig": {"ViT": ("norm2",), "ConvNeXt": ("norm2",), "Llama": ("norm2",)}}


def table() -> list[dict[str, str]]:
    """The rows of the document's table, by the names of its columns."""
    lines = [line for line in DOC.read_text().splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(head, row, strict=True)) for row in rows]


ROWS = table()


def injected(method: Peft, backbone: str, dtype: torch.dtype) -> Backbone:
    made = BACKBONES[backbone](dtype=dtype)
    torch.manual_seed(0)
    method.inject(made)
    made.net.double()
    return made


def off(one: torch.Tensor, two: torch.Tensor, wrong: str) -> set[str]:
    """What to say of a difference: nothing, fp32, or what is wrong."""
    size = float((one - two).abs().max())
    return set() if size <= EXACT else {"fp32"} if size <= SINGLE else {wrong}


def findings(config: str, args: dict[str, object], backbone: str, roles: tuple[str, ...]) -> set[str]:
    """The checks that a tuner does not pass, by the names that the document explains."""
    try:
        method = Peft(roles, config, args)
    except BadInput:
        return {"model"}
    found = set()
    try:
        made = injected(method, backbone, torch.float64)
    except BadInput:
        try:
            made = injected(method, backbone, torch.float32)
        except BadInput:
            return {"layers"}
        found.add("fp32")
    try:
        logits(made.net, backbone)
    except (ValueError, RuntimeError):
        return {"forward"}
    again = injected(method, backbone, torch.float32 if found else torch.float64)
    return found | trained(made, again, backbone) | counted(made, backbone, method) | merged(made, backbone)


def trained(made: Backbone, again: Backbone, backbone: str) -> set[str]:
    """Start, two steps of training, what they changed, and loading the result into a second injection."""
    net, plain = made.net, BACKBONES[backbone](dtype=torch.float64)
    head = {id(p) for p in made.head_parameters()}
    first = logits(net, backbone)
    found = off(first, logits(plain.net, backbone), "start")
    found |= set() if torch.equal(first, logits(net, backbone)) else {"eval"}
    pairs = zip(net.named_parameters(), again.net.parameters(), strict=True)
    found |= set() if all(torch.equal(one, two) for (_, one), two in pairs) else {"seed"}
    old = {id(p) for m in net.modules() if isinstance(m, PeftLayer) for p in m.layer.parameters()}
    names = {name for name, _ in plain.net.named_parameters()}
    old |= {id(p) for name, p in net.named_parameters() if name in names}
    training = {name: p for name, p in net.named_parameters() if p.requires_grad}
    found |= set() if {id(p) for p in training.values()} & old == head else {"trains"}
    before = {name: tensor.clone() for name, tensor in [*net.named_parameters(), *net.named_buffers()]}
    alive = set()
    for gradients in train(net, backbone, steps=2):
        alive |= {name for name, gradient in gradients.items() if gradient.abs().max() > 1e-12}
    found |= set() if alive == training.keys() else {"dead"}
    for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
        found |= set() if name in training or torch.equal(tensor, before[name]) else {"frozen"}
    again.net.load_state_dict(training, strict=False)
    found |= set() if torch.equal(logits(again.net, backbone), logits(net, backbone)) else {"load"}
    inputs, _ = batch(backbone, torch.float64)
    with torch.no_grad():
        alone = float((net(inputs[:1]) - net(inputs)[:1]).abs().max())
    return found | (set() if alone <= 1e-9 else {"batch"})  # after two steps adapters do little


def counted(made: Backbone, backbone: str, method: Peft) -> set[str]:
    """What `glorabench count` does: the same number of parameters without weights."""
    plain = BACKBONES[backbone]()
    plain.net.to("meta")
    try:
        with torch.device("meta"):
            method.inject(plain)
    except BadInput:
        return {"count"}
    return set() if profiling.parameters(plain)["method"] == profiling.parameters(made)["method"] else {"count"}


def merged(made: Backbone, backbone: str) -> set[str]:
    """Merging a trained network: each layer on what it reads, the logits, the keys, and merging once more."""
    if merge_obstacle(made.net) is not None:
        return {"merge"}
    seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def record(path: str) -> object:
        return lambda module, args, output: seen.update({path: (args[0], output)})

    wrappers = [(path, module) for path, module in made.net.named_modules() if isinstance(module, PeftLayer)]
    for path, module in wrappers:
        module.register_forward_hook(record(path))
    before, found = logits(made.net, backbone), set()
    half = copy.deepcopy(made.net).to(torch.bfloat16)
    net = merge(made.net)
    with torch.no_grad():
        for path, _ in wrappers:
            x, y = seen[path]
            found |= off(net.get_submodule(path)(x), y, "wrong")
    if float((logits(net, backbone) - before).abs().max()) > SINGLE:  # a Llama's norms round to single precision
        found.add("wrong")
    plain = BACKBONES[backbone]().net
    tidy = list(net.state_dict()) == list(plain.state_dict())
    tidy &= not any(isinstance(module, Foldable) for module in net.modules())
    once = {key: value.clone() for key, value in net.state_dict().items()}
    tidy &= all(torch.equal(value, once[key]) for key, value in merge(net).state_dict().items())
    tidy &= {p.dtype for p in merge(half).parameters()} == {torch.bfloat16}
    return found | (set() if tidy else {"keys"})


def test_the_document_names_every_config_class() -> None:
    assert {row["config class"] for row in ROWS} == CONFIGS.keys()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['config class']} {row['args']}".strip())
def test_what_the_document_says_of_a_tuner_is_what_it_does(row: dict[str, str]) -> None:
    """After an upgrade of peft: put into the document what fails here."""
    config, args = row["config class"], yaml.safe_load(f"{{{row['args']}}}")
    cells = {}
    for column, (backbone, roles) in COLUMNS.items():
        found = findings(config, args, backbone, ROLES.get(config, {}).get(column, roles))
        cells[column] = ", ".join(sorted(found)) or "yes"
    assert {column: row[column] for column in COLUMNS} == cells
    passes = [column for column, cell in cells.items() if not {"model", "layers", "forward"} & {*cell.split(", ")}]
    merges = [column for column in passes if "merge" not in cells[column]]
    if not passes:
        assert row["merges"] == ""
    else:
        assert row["merges"] == ("yes" if merges == passes else ", ".join(merges) or "no")
    assert row["why"] or set(cells.values()) <= {"yes", "layers"}


def adapted(backbone: Backbone, words: str) -> set[str]:
    make(compose(["method=peft", *words.split()])["method"], METHOD).inject(backbone)
    return {path for path, module in backbone.net.named_modules() if isinstance(module, PeftLayer)}


def test_roles_reach_exactly_their_layers() -> None:
    """Ends of names would reach the identity at attn.norm too."""
    assert adapted(tiny_vit(), "method.targets=[norm] method.config=LNTuningConfig method.args={}") == {"norm"}
    qkv = {f"blocks.{i}.attn.qkv" for i in (0, 1)}
    assert adapted(tiny_vit(), "") == qkv
    more = "method.config=IA3Config method.args={feedforward_modules:[fc2]} method.targets=[qkv,fc2]"
    made = tiny_vit()
    assert adapted(made, more) == qkv | {f"blocks.{i}.mlp.fc2" for i in (0, 1)}
    sizes = {name: len(p.flatten()) for name, p in made.net.named_parameters() if "ia3" in name and ".0." in name}
    assert sorted(sizes.values()) == [96, 128]  # outputs of qkv, inputs of fc2


def test_layers_that_share_tensors_share_them() -> None:
    made = tiny_vit(depth=3)
    adapted(made, "method.config=VBLoRAConfig method.args={r:2,num_vectors:16,vector_length:8}")
    banks = [p for name, p in made.net.named_parameters() if "vector_bank" in name]
    assert [bank.shape for bank in banks] == [(16, 8)]
    copied = copy.deepcopy(made.net)
    assert len([name for name, _ in copied.named_parameters() if "vector_bank" in name]) == 1


@pytest.mark.parametrize("words", ["", "method.config=LoHaConfig method.args={r:2} method.targets=[fc1,stem]"])
def test_merging_bf16_weights_rounds_once(words: str) -> None:
    made = tiny_vit()
    torch.manual_seed(0)
    adapted(made, words)
    for _ in train(made.net, "vit"):
        pass
    made.net.to(torch.bfloat16)
    exact = merge(copy.deepcopy(made.net).double())
    for (name, got), want in zip(merge(made.net).named_parameters(), exact.parameters(), strict=True):
        assert ((got.double() - want).abs() <= want.abs() * 2**-8 + 1e-6).all(), name


def test_what_peft_does_not_merge_has_its_reason() -> None:
    made = tiny_vit()
    adapted(made, "method.config=LilyConfig method.args={r:2}")
    assert merge_obstacle(made.net) == "peft does not merge such a layer: This method is not supported for Lily."
    with pytest.raises(BadInput, match="not supported for Lily"):
        merge(made.net)


def test_no_layer_but_peft_s_is_left_around_a_plain_one() -> None:
    made = tiny_vit()
    adapted(made, "")
    assert isinstance(merge(made.net).get_submodule("blocks.0.attn.qkv"), nn.Linear)
    assert not hasattr(made.net, "peft_config")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("method.config=Loraconfig", "peft has no config class 'Loraconfig'; did you mean 'LoraConfig'"),
        ("method.args={rr:2}", "peft's LoraConfig has no argument 'rr'; did you mean 'r'"),
        ("method.args=2", "'method.args={r: 8}', got 2"),
        ("method.args={r:0}", "cannot adapt role 'qkv' (blocks.0.attn.qkv): `r` should be a positive integer"),
        ("method.args={target_modules:[q]}", "method.args.target_modules is not yours to set"),
        ("method.args={modules_to_save:[head]}", "method.args.modules_to_save is not yours to set"),
        ("method.args={inference_mode:true}", "method.args.inference_mode is not yours to set"),
        ("method.args={init_lora_weights:eva}", "needs steps outside of training"),
        ("method.args={exclude_modules:[o]}", "method.args.exclude_modules names 'o', which is not in method.targets"),
        ("method.args={layers_to_transform:[1]}", "'layers_to_transform': [1]"),
        ("method.args={use_dora:true,layer_replication:3}", "peft's LoraConfig"),
        ("method.config=IA3Config method.args={}", "Please specify `feedforward_modules`"),
        ("method.targets=[q]", "role 'q' is a part of blocks.0.attn.qkv: name the whole (qkv)"),
        ("method.targets=[mlp]", "cannot adapt role 'mlp' (blocks.0.mlp): Target module Mlp("),
        ("method.targets=[qkvv]", "has no role 'qkvv'; did you mean 'qkv'"),
        ("method.config=OSFConfig method.args={} method.targets=[stem]", "does not adapt what method.targets says"),
        ("method.config=PrefixTuningConfig method.args={}", "on no layer that a role could name"),
        ("method.config=AdaLoraConfig method.args={}", "takes part in every forward pass"),
    ],
)
def test_a_wrong_word_is_one_line(words: str, said: str) -> None:
    made = tiny_vit()
    with pytest.raises(BadInput) as error:
        adapted(made, words)
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_depthwise_convolution_is_refused_with_pefts_reason() -> None:
    with pytest.raises(BadInput, match=r"role 'dwconv' \(stages.\d.blocks.0.conv_dw\): .*groups"):
        adapted(tiny_convnext(), "method.targets=[dwconv]")


def test_the_command_refuses_before_it_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["method=peft", "method.config=Loraconfig", f"results_dir={tmp_path / 'results'}", "logger=none"]
    assert main(["run", *words]) == 2
    assert "did you mean 'LoraConfig'" in capsys.readouterr().err
    assert not (tmp_path / "results" / "runs").exists()
