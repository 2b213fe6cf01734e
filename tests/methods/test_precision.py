"""Methods on a network in bfloat16: what they train is float32, and they compute what they compute elsewhere."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conftest import tiny_llama
from glorabench.backbones.base import Backbone
from glorabench.backbones.precision import products_like
from glorabench.config.instantiate import METHOD, make
from glorabench.export.to_merged import read_merged, write_merged
from glorabench.export.to_peft import read_peft, write_peft
from glorabench.methods.reparam import Reparametrized, merge
from glorabench.training.measure.profiling import parameters
from test_methods import BACKBONES, MATRIX, TRAINED, batch, config_of, logits, loss, method_of

HALF = torch.bfloat16
CASES = [pair for pair in MATRIX if pair[1] == "llama"]
CASES += [pair for pair in MATRIX if pair[0] in ("lora on patches", "ssf", "convpass", "vpt_deep", "glora all lora")]
LINEARS = "method.targets=[q,k,v,o,gate,up,down]"


def adapted(case: str, backbone: str, dtype: torch.dtype) -> Backbone:
    """A method, moved a little, on a network whose weights are numbers of bfloat16, whatever its dtype is."""
    made = BACKBONES[backbone](dtype=HALF)
    made.net.to(dtype)
    torch.manual_seed(0)
    make(copy.deepcopy(config_of(case, backbone)), METHOD).inject(made)
    with torch.no_grad():
        for p in made.net.parameters():
            if p.requires_grad:
                p.copy_((p + 0.02 * torch.randn(p.shape)).to(HALF))
    made.net.eval()
    return made


@pytest.mark.parametrize(("case", "backbone"), CASES)
def test_what_is_new_is_float32_and_what_was_there_keeps_its_dtype(case: str, backbone: str) -> None:
    made = BACKBONES[backbone](dtype=HALF)
    old = {id(p) for p in made.net.parameters()}
    make(copy.deepcopy(config_of(case, backbone)), METHOD).inject(made)
    new = {p.dtype for p in made.net.parameters() if id(p) not in old}
    assert new == (set() if case == "full" else {torch.float32})
    assert {p.dtype for p in made.net.parameters() if id(p) in old} == {HALF}


@pytest.mark.parametrize(("case", "backbone"), CASES)
@pytest.mark.parametrize("autocast", [False, True])
def test_logits_and_gradients_are_those_in_double_precision(case: str, backbone: str, autocast: bool) -> None:
    """Up to the rounding of bfloat16, from parameters that differ by no more than float32 from the others."""
    made, exact = adapted(case, backbone, HALF), adapted(case, backbone, torch.float32)
    exact.net.double()
    values, gradients = [], []
    for net, on in ((made.net, autocast), (exact.net, False)):
        inputs, labels = batch(backbone, next(net.parameters()).dtype)
        with torch.autocast("cpu", HALF, enabled=on):
            logits = net(inputs)
        value = F.cross_entropy(logits.double().flatten(0, -2), labels.flatten())
        value.backward()
        values.append(value.item())
        grads = (p.grad for p in net.parameters() if p.grad is not None)
        gradients.append(torch.cat([grad.double().flatten() for grad in grads]))
    assert values[0] == pytest.approx(values[1], rel=0.02)
    ours, theirs = gradients
    assert torch.cosine_similarity(ours, theirs, dim=0) > 0.999
    assert float(ours.norm()) == pytest.approx(float(theirs.norm()), rel=0.01)


def test_initial_values_are_those_over_a_float32_network() -> None:
    for words in ("method=lora", "method=dora", "method=pfeiffer", "method=glora method.path=supernet method.rank=4"):
        half, single = (tiny_llama(dtype=dtype) for dtype in (HALF, HALF))
        single.net.float()
        for made in (half, single):
            torch.manual_seed(0)
            method_of(words, "llama").inject(made)
        for (name, ours), theirs in zip(half.net.named_parameters(), single.net.parameters(), strict=True):
            assert torch.equal(ours.float(), theirs), name


def test_a_step_too_small_for_bfloat16_is_taken() -> None:
    made = tiny_llama(dtype=HALF)
    method_of("method=ia3", "llama").inject(made)
    vectors = [p for p in made.net.parameters() if p.requires_grad]
    loss(made.net, "llama").backward()
    torch.optim.Adam(vectors, lr=1e-4).step()
    assert all(bool((p != 1).any()) for p in vectors)
    assert all(bool((p.to(HALF) == 1).all()) for p in vectors)


MERGEABLE = ("method=lora", f"method=glora {LINEARS} method.path={{A:lora,B:lora,C:none,D:none,E:none}} method.rank=4")


def moved(words: str) -> tuple[Backbone, Backbone]:
    """A network in bfloat16 with a method whose tensors were trained, and the network without it."""
    made, plain = tiny_llama(dtype=HALF), tiny_llama(dtype=HALF)
    torch.manual_seed(0)
    method = method_of(words, "llama")
    method.inject(made)
    with torch.no_grad():
        for p in made.net.parameters():
            if p.requires_grad:
                p.add_(0.05 * torch.randn_like(p))
    return made, plain


@pytest.mark.parametrize("words", [*MERGEABLE, "method=peft"])
def test_merging_computes_in_float32_and_rounds_once(words: str) -> None:
    made, plain = moved(words)
    before = logits(made.net, "llama").float()
    folds = {path: m.fold()[0] for path, m in made.net.named_modules() if isinstance(m, Reparametrized)}
    assert all(weight.dtype == torch.float32 for weight in folds.values())
    merge(made.net)
    for path, weight in folds.items():
        assert torch.equal(made.net.get_submodule(path).get_parameter("weight"), weight.to(HALF))
    assert {p.dtype for p in made.net.parameters()} == {HALF}
    after, untouched = logits(made.net, "llama").float(), logits(plain.net, "llama").float()
    assert (after - before).abs().max() < 0.2 * (before - untouched).abs().max()


def difference(net: nn.Module, expected: Tensor) -> float:
    with torch.no_grad():
        logits = net(batch("llama")[0])
    return float((getattr(logits, "logits", logits).float() - expected).abs().max())


@pytest.mark.parametrize("words", MERGEABLE)
def test_exports_compute_what_was_trained(words: str, tmp_path: Path) -> None:
    made, plain = moved(words)
    expected = logits(made.net, "llama").float()
    bound = 0.2 * difference(plain.net, expected)
    write_peft(made, method_of(words, "llama"), lambda: tiny_llama(dtype=HALF).net, tmp_path / "peft")
    assert difference(read_peft(lambda: tiny_llama(dtype=HALF).net, tmp_path / "peft"), expected) < bound
    write_merged(made, lambda: tiny_llama(dtype=HALF).net, tmp_path / "merged")
    merged = read_merged(tmp_path / "merged")
    assert {p.dtype for p in merged.parameters()} == {HALF}
    assert difference(merged, expected) < bound


def test_the_adapter_is_counted_with_four_bytes_a_number() -> None:
    for case in ("lora", "houlsby"):
        made = adapted(case, "llama", HALF)
        sizes = [(p.numel(), p.element_size()) for p in made.net.parameters() if p.requires_grad]
        assert parameters(made)["stored_bytes"] == sum(count * width for count, width in sizes)
        assert case not in TRAINED or {width for _, width in sizes} == {2, 4}


def test_float32_and_an_outer_autocast_are_left_alone() -> None:
    x = torch.ones(2)
    with products_like(x):
        assert not torch.is_autocast_enabled("cpu")
    with products_like(x.to(HALF)):
        assert torch.get_autocast_dtype("cpu") == HALF
        assert torch.is_autocast_enabled("cpu")
    with torch.autocast("cpu", torch.float16), products_like(x.to(HALF)):
        assert torch.get_autocast_dtype("cpu") == torch.float16
