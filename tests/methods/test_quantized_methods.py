"""Methods on quantised weights: outputs and gradients of the float formula on the numbers that these stand for."""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from conftest import tiny_llama
from glorabench.backbones import quantized
from glorabench.backbones.quantized import dequantize_linears, quantize_linears, quantized_layers
from glorabench.config.compose import compose
from glorabench.config.instantiate import METHOD, make
from glorabench.config.paths import options
from glorabench.errors import BadInput
from glorabench.methods.glora import CHOICES, Supports
from glorabench.methods.reparam import LayerRows, merge, merge_obstacle
from glorabench.training.measure.profiling import flops, parameters

SCHEMES = ("nf4", "int8")
PATHS = [dict(zip(CHOICES, picks, strict=True)) for picks in itertools.product(*CHOICES.values())]
REFUSED = {"full", "linear", "bitfit", "vpt_shallow", "convpass", "peft"}  # on a Llama, or on quantised weights
HOSTED = [name for name in options("method") if name not in REFUSED]
ALL = "method.targets=[q,k,v,o,gate,up,down]"
CASES = {name: f"method={name}" for name in HOSTED} | {
    "lora everywhere": f"method=lora {ALL}",
    "dora everywhere": f"method=dora {ALL} method.alpha=3",
    "glora everywhere": f"method=glora {ALL} method.path={{A:lora,B:lora,C:lora,D:none,E:vector}}",
    "glora matmul": f"method=glora {ALL} method.path={{A:lora,B:vector,C:vector,D:none,E:none}} method.product=matmul",
    "glora supernet": "method=glora method.path=supernet",
}
BOUND = 2e-5  # of float32, relative to the largest number; the norms of a Llama are computed in float32 in any case


def quantised_llama(scheme, dtype=torch.float32):
    """A tiny Llama with quantised layers, and the plain one with the numbers that these stand for."""
    made, twin = tiny_llama(dtype=dtype), tiny_llama(dtype=dtype)
    quantize_linears(made.net, scheme, True, skip=["lm_head"])
    twin.net = dequantized(made.net)
    return made, twin


def dequantized(net):
    net = copy.deepcopy(net)
    dequantize_linears(net)
    return net


def inject(words, *backbones, rank=4):
    node = compose([*words.split(), "backbone=llama_7b"])["method"]
    node |= {"rank": min(node["rank"], rank)} if "rank" in node else {}
    for backbone in backbones:
        torch.manual_seed(0)
        make(copy.deepcopy(node), METHOD).inject(backbone)


def move(net):
    """Every trained tensor off its start."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


def loss(net):
    tokens = torch.randint(60, (3, 8), generator=torch.Generator().manual_seed(1))
    return F.cross_entropy(net(tokens[:, :-1]).flatten(0, -2), tokens[:, 1:].flatten())


def outcome(net):
    """Logits, and the gradient of every trained tensor."""
    torch.manual_seed(5)  # dropout
    net.zero_grad()
    loss(net).backward()
    with torch.no_grad():
        logits = net(torch.arange(24).view(3, 8))
    return {"logits": logits} | {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


def near(found, exact, floor=1e-3):
    """Within the bound of the largest number, or of `floor`: a sum of many numbers may be small by chance."""
    return float((found - exact).detach().abs().max()) <= BOUND * max(float(exact.detach().abs().max()), floor)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("case", CASES)
def test_a_method_computes_the_same_on_quantised_weights(case, scheme, monkeypatch):
    monkeypatch.setattr(quantized, "TILE", 1024)  # several pieces for every layer
    made, twin = quantised_llama(scheme)
    inject(CASES[case], made, twin)
    for backbone in (made, twin):
        backbone.net.train()
        move(backbone.net)
    found, exact = outcome(made.net), outcome(twin.net)
    assert found.keys() == exact.keys()
    assert len(found) > 1
    for name, value in found.items():
        assert near(value, exact[name]), name
    counts = [parameters(backbone) for backbone in (made, twin)]
    assert counts[0].pop("base_bytes") < counts[1].pop("base_bytes")
    assert counts[0] == counts[1]


@pytest.mark.parametrize("product", ["hadamard", "matmul"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_path_of_glora_is_that_of_the_formula(scheme, product, monkeypatch):
    """All 432 paths of a layer with a bias, against float64: output, gradient of the input and of every support."""
    monkeypatch.setattr(quantized, "TILE", 200)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(20, 28).requires_grad_(False))
    quantize_linears(net, scheme, True, skip=[])
    layer, plain = net[0], net[0].plain().double()
    reparam = Supports(plain.weight.float(), 3, product, CHOICES)
    for parameter in reparam.parameters():
        nn.init.normal_(parameter)
    exact = copy.deepcopy(reparam).double()
    x, weights = torch.randn(2, 5, 20, requires_grad=True), torch.randn(2, 5, 28)
    z = x.detach().double().requires_grad_()
    for path in PATHS:
        reparam.path = exact.path = path
        y = reparam.through(x, LayerRows(layer, slice(0, 28)))
        found = [y, *torch.autograd.grad((y * weights).sum(), [x, *reparam.parameters()], allow_unused=True)]
        y = F.linear(z, *exact(plain.weight, plain.bias))
        wanted = [y, *torch.autograd.grad((y * weights).sum(), [z, *exact.parameters()], allow_unused=True)]
        for got, want in zip(found, wanted, strict=True):
            assert (got is None) == (want is None), path
            assert got is None or near(got, want, floor=1.0), path


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("case", ["lora everywhere", "glora everywhere", "dora everywhere", "ia3", "ssf", "repadapter"])
def test_a_merge_after_an_evaluation_is_exact_and_plain(case, scheme):
    """bitsandbytes' layer would have changed its codes in the evaluation: then the merged weights are others."""
    made, _ = quantised_llama(scheme)
    inject(CASES[case], made)
    move(made.net)
    tokens = torch.arange(24).view(3, 8)
    with torch.inference_mode():
        logits = made.net.eval()(tokens)
    assert merge_obstacle(made.net) is None
    merged = merge(copy.deepcopy(made.net))
    adapted = {path for path, m in made.net.named_modules() if hasattr(m, "reparams")}
    assert adapted
    for path in adapted:
        layer = merged.get_submodule(path)
        assert isinstance(layer, nn.Linear) or "norm" in path
        assert layer.weight.dtype == torch.float32
    with torch.inference_mode():
        assert near(merged(tokens), logits)
        assert near(dequantized(merged)(tokens), logits)
        assert torch.equal(made.net(tokens), logits)


def shapes_kept(net):
    """Shapes of the numbers that are kept for the backward pass."""
    shapes = set()

    def note(tensor):
        shapes.add(tuple(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        net_loss = loss(net)
    net_loss.backward()
    return shapes


def test_nothing_dequantised_is_kept_for_the_backward_pass():
    made, twin = quantised_llama("nf4")
    inject(CASES["lora everywhere"], made, twin)
    shapes = {(layer.out_features, layer.in_features) for layer in quantized_layers(made.net)}
    assert not shapes & shapes_kept(made.net)
    assert {shape[::-1] for shape in shapes} & shapes_kept(twin.net)  # of a plain layer W0 itself, transposed


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_operations_counted_are_those_of_plain_weights(scheme):
    counts = []
    for backbone in quantised_llama(scheme):
        inject(CASES["glora everywhere"], backbone)
        counts.append(flops(lambda net=backbone.net: loss(net)))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_methods_that_train_the_weights_themselves_are_refused(scheme):
    made, _ = quantised_llama(scheme)
    with pytest.raises(BadInput, match=r"Full trains the weights of tiny_llama themselves, .* backbone.quantize=null"):
        inject("method=full", made)
    inject("method=houlsby", quantised_llama(scheme)[0])  # trains norms, which are plain
