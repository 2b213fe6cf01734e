"""`method.blocks`: every method adapts and trains inside the chosen blocks alone, and the rest stays as it was."""

from __future__ import annotations

import pytest
import torch

from conftest import images, tiny_convnext, tiny_vit
from glorabench.config.instantiate import METHOD, make
from glorabench.config.paths import options
from glorabench.errors import BadInput
from glorabench.methods.reparam import merge, merge_obstacle
from glorabench.records import record
from test_methods import CASES, RANK, compose

ON_VIT = [name for name in options("method") if name != "linear"] + ["glora supernet", "vpt_deep as tokens"]


def method_of(case: str, blocks: str, backbone: str = "vit_mini"):
    node = compose([f"backbone={backbone}", *CASES[case].split(), f"method.blocks={blocks}"])["method"]
    if type(node.get("rank")) is int:
        node["rank"] = min(node["rank"], RANK)
    return make(node, METHOD)


def trained(net: torch.nn.Module) -> set[str]:
    return {name for name, p in net.named_parameters() if p.requires_grad and not name.startswith("head")}


@pytest.mark.parametrize("case", ON_VIT)
def test_only_what_is_in_the_chosen_blocks_is_trained(case: str) -> None:
    torch.manual_seed(0)
    backbone = tiny_vit(depth=3)
    method_of(case, "[1]").inject(backbone)
    names = trained(backbone.net)
    assert names
    assert all(name.startswith("blocks.1.") for name in names), sorted(names)
    loss = backbone.net.train()(images(2)).square().sum()
    loss.backward()
    assert all(p.grad is None for p in backbone.net.blocks[0].parameters())


@pytest.mark.parametrize("case", ON_VIT)
def test_all_blocks_by_name_are_the_method_without_blocks(case: str) -> None:
    """But for what lies outside every block, which such a list leaves out."""
    inside, whole = tiny_vit(depth=2), tiny_vit(depth=2)
    for backbone, blocks in ((inside, "[0,1]"), (whole, "null")):
        torch.manual_seed(0)
        method_of(case, blocks).inject(backbone)
    expected = {name: p for name, p in whole.net.named_parameters() if name in trained(whole.net)}
    expected = {name: p for name, p in expected.items() if name.startswith("blocks.")}
    assert trained(inside.net) == expected.keys()
    parameters = dict(inside.net.named_parameters())
    assert {name: parameters[name].shape for name in expected} == {name: p.shape for name, p in expected.items()}
    if trained(whole.net) == expected.keys():  # else draws for the stem come before those of the blocks
        assert all(torch.equal(parameters[name], p) for name, p in expected.items())


@pytest.mark.parametrize("case", ["lora", "ssf", "glora", "repadapter", "fact_tk", "peft"])
def test_what_is_trained_in_some_blocks_merges_exactly(case: str) -> None:
    torch.manual_seed(0)
    backbone = tiny_vit(depth=3, dtype=torch.float64)
    method_of(case, "[0,2]").inject(backbone)
    with torch.no_grad():
        for parameter in backbone.net.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    net, x = backbone.net.eval(), images(3, dtype=torch.float64)
    assert not merge_obstacle(net)
    before = net(x)
    assert torch.allclose(merge(net)(x), before, atol=1e-10)


def test_shallow_prompts_enter_the_first_chosen_block_and_leave_after_the_last() -> None:
    backbone = tiny_vit(depth=4)
    tokens = {}
    method_of("vpt_shallow", "[1,2]").inject(backbone)
    for index, block in enumerate(backbone.net.blocks):
        block.register_forward_hook(lambda _, __, y, index=index: tokens.update({index: y.shape[1]}))
    backbone.net(images(1))
    assert [tokens[index] - tokens[0] for index in range(4)] == [0, 10, 0, 0]


def test_blocks_of_a_convnext_are_counted_over_its_stages() -> None:
    backbone = tiny_convnext()
    method_of("lora", "[3]", "convnext_b").inject(backbone)
    names = trained(backbone.net) - {name for name, _ in backbone.net.named_parameters() if name.startswith("head.fc")}
    assert {name.partition(".blocks.")[0] for name in names} == {"stages.3"}


@pytest.mark.parametrize(
    ("case", "blocks", "message"),
    [
        ("lora", "[2]", r"method.blocks=\[2\]: tiny_vit has the blocks 0 to 1"),
        ("full", "[5]", r"tiny_vit has the blocks 0 to 1"),
        ("linear", "[0]", r"method.blocks=\[0\]: Linear adapts nothing inside these blocks of tiny_vit"),
        (
            "lora",
            "[]",
            r"method.blocks must be null or a list of indices from 0, in order, such as \[10,11\], got \[\]",
        ),
        ("lora", "[1,0]", "in order"),
        ("lora", "[0,0]", "in order"),
        ("lora", "[-1]", "indices from 0"),
        ("lora", "[true]", "indices from 0"),
        ("lora", "1", "a list"),
        ("lora", "all", "a list"),
    ],
)
def test_what_names_no_block_is_one_line_with_key_value_and_what_is_allowed(case, blocks, message) -> None:
    with pytest.raises(BadInput, match=message):
        method_of(case, blocks).inject(tiny_vit())


def test_a_target_outside_of_all_blocks_is_refused() -> None:
    method = make(compose(["method=lora", "method.targets=[stem]", "method.blocks=[0]"])["method"], METHOD)
    with pytest.raises(BadInput, match="adapts nothing inside these blocks"):
        method.inject(tiny_vit())


def test_blocks_are_part_of_the_id_and_null_is_as_before() -> None:
    plain, null, some = (record.run_id(compose(words)) for words in ([], ["method.blocks=null"], ["method.blocks=[1]"]))
    assert plain == null != some
