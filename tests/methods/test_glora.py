"""GLoRA: every path against the formula written out in float64, and against Hugging Face peft."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from peft import GloraConfig, get_peft_model
from torch import nn

from glorabench.methods.glora import CHOICES, Supports
from glorabench.methods.reparam import LayerRows, Reparametrized, merge
from glorabench.search.space import PathSpace

PATHS = [dict(zip(CHOICES, picks, strict=True)) for picks in itertools.product(*CHOICES.values())]
SHAPES = {"square": (6, 6), "wide": (4, 9), "tall": (9, 4)}
CONVOLUTIONS = {
    "stem": {"in_channels": 2, "out_channels": 5, "kernel_size": 3, "stride": 3},
    "depth-wise": {"in_channels": 4, "out_channels": 4, "kernel_size": 3, "padding": 1, "groups": 4},
    "down-sample": {"in_channels": 4, "out_channels": 6, "kernel_size": 2, "stride": 2, "groups": 2},
}
WHOLE = slice(None)


def literal(layer, reparam):
    """(W', b') with every support spelled out, sharing only the stored tensors with the code under test."""
    W, b, path = layer.weight.flatten(1), layer.bias, reparam.path
    o, i = W.shape
    L = {n: s.left for n, s in reparam.supports.items()}
    R = {n: s.right for n, s in reparam.supports.items()}
    zero = torch.zeros(o, i, dtype=W.dtype)

    def grid(name, rows):
        return {
            "lora": lambda: torch.einsum("or,ri->oi", L[name], R[name]),
            "vector": lambda: L[name][:, 0].reshape(rows, 1).repeat(1, i),
            "scalar": lambda: L[name][0, 0] * torch.ones(rows, i, dtype=W.dtype),
            "none": lambda: torch.zeros(rows, i, dtype=W.dtype),
        }[path[name]]()

    if reparam.product == "hadamard":
        scaled = W * grid("A", o)
    elif path["A"] == "lora":
        scaled = torch.einsum("oi,ij->oj", W, grid("A", i))
    else:
        diagonal = L["A"][:, 0] if path["A"] == "vector" else grid("A", i)[:, 0]
        scaled = zero if path["A"] == "none" else torch.einsum("oi,ij->oj", W, torch.diag(diagonal))
    column = {"lora": lambda: (L["C"] @ R["C"])[:, 0], "vector": lambda: L["C"][:, 0]}
    shift = W @ column[path["C"]]() if path["C"] != "none" else torch.zeros(o, dtype=W.dtype)

    def row(name):
        choice = path[name]
        if choice == "none":
            return torch.zeros(o, dtype=W.dtype)
        return L[name][:, 0] if choice == "vector" else L[name][0, 0].repeat(o)

    bias = torch.zeros(o, dtype=W.dtype) if b is None else b + b * row("D")
    return W + scaled + grid("B", o), bias + row("E") + shift


def randomised(layer, rank, product, choices):
    """Supports of a frozen layer, none of them zero."""
    reparam = Supports(layer.requires_grad_(False).weight.flatten(1), rank, product, choices)
    with torch.no_grad():
        for parameter in reparam.parameters():
            parameter.normal_()
    return reparam


def layer_with(shape, bias, product, choices=CHOICES, rank=2):
    torch.manual_seed(0)
    o, i = shape
    layer = nn.Linear(i, o, bias=bias, dtype=torch.float64)
    return layer, randomised(layer, rank, product, choices), torch.randn(7, i, dtype=torch.float64, requires_grad=True)


def gradients(y, x, reparam):
    wanted = [x, *reparam.parameters()]
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape)
    found = torch.autograd.grad((y * weights).sum(), wanted, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for g, w in zip(found, wanted, strict=True)]


@pytest.mark.parametrize("product", ["hadamard", "matmul"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_path_computes_the_formula_and_its_gradients(shape, bias, product):
    layer, reparam, x = layer_with(SHAPES[shape], bias, product)
    for path in PATHS:
        reparam.path = path
        W, b = literal(layer, reparam)
        expected, through = torch.einsum("ti,oi->to", x, W) + b, reparam.through(x, LayerRows(layer, WHOLE))
        folded = F.linear(x, *reparam(layer.weight, layer.bias))
        assert torch.allclose(through, expected, rtol=0, atol=1e-10), path
        assert torch.allclose(folded, expected, rtol=0, atol=1e-10), path
        reference = gradients(expected, x, reparam)
        for way in (through, folded):
            for got, want in zip(gradients(way, x, reparam), reference, strict=True):
                assert torch.allclose(got, want, rtol=0, atol=1e-10), path


@pytest.mark.parametrize("product", ["hadamard", "matmul"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_every_path_computes_and_merges_the_formula_on_a_convolution(kind, bias, product):
    """The kernel is the matrix out x (in/groups kh kw)."""
    torch.manual_seed(0)
    layer = nn.Conv2d(**CONVOLUTIONS[kind], bias=bias, dtype=torch.float64)
    reparam, before = randomised(layer, 2, product, CHOICES), layer.state_dict()
    x = torch.randn(2, layer.in_channels, 6, 6, dtype=torch.float64, requires_grad=True)
    for path in PATHS[::5]:  # 5 divides no number of options: every two of them meet
        reparam.path = path
        W, b = literal(layer, reparam)
        expected = F.conv2d(x, W.view_as(layer.weight), b, layer.stride, layer.padding, groups=layer.groups)
        fresh = nn.Conv2d(**CONVOLUTIONS[kind], bias=bias, dtype=torch.float64)
        fresh.load_state_dict(before)
        net = nn.Sequential(Reparametrized(fresh, [(None, reparam)]))
        y = net(x)
        assert torch.allclose(y, expected, rtol=0, atol=1e-10), path
        for got, want in zip(gradients(y, x, reparam), gradients(expected, x, reparam), strict=True):
            assert torch.allclose(got, want, rtol=0, atol=1e-10), path
        assert type(merge(net)[0]) is nn.Conv2d
        assert torch.allclose(net(x), expected, rtol=0, atol=1e-10), path


@pytest.mark.parametrize("product", ["hadamard", "matmul"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_path_merges_exactly(shape, bias, product):
    layer, reparam, x = layer_with(SHAPES[shape], bias, product)
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    for path in PATHS:
        reparam.path = path
        fresh = nn.Linear(layer.in_features, layer.out_features, bias=bias, dtype=torch.float64)
        fresh.load_state_dict(before)
        net = nn.Sequential(Reparametrized(fresh, [(None, reparam)]))
        unmerged = net(x)
        merged = merge(net)
        assert type(merged[0]) is nn.Linear
        assert torch.allclose(merged(x), unmerged, rtol=0, atol=1e-10), path
        once = {key: value.clone() for key, value in merged.state_dict().items()}
        assert all(torch.equal(value, once[key]) for key, value in merge(net).state_dict().items())


def test_there_are_432_paths():
    assert len(PATHS) == len({tuple(path.items()) for path in PATHS}) == 432


def test_only_lora_in_a_pays_for_a_dense_weight_gradient():
    """FLOPs of a step relative to forward + input gradient: 1 for every path without A = lora, 1.5 with it."""
    from torch.utils.flop_counter import FlopCounterMode

    width, tokens = 768, 4096
    with torch.device("meta"):
        layer = nn.Linear(width, width).requires_grad_(False)
        reparam = Supports(layer.weight, 4, "hadamard", CHOICES)
        x = torch.randn(tokens, width, requires_grad=True)
    floor = 2 * (2 * tokens * width * width)
    for path in PATHS:
        reparam.path = path
        with FlopCounterMode(display=False) as counter:
            reparam.through(x, LayerRows(layer, WHOLE)).sum().backward()
        ratio = counter.get_total_flops() / floor
        if path["A"] == "lora":
            assert 1.5 <= ratio < 1.51, path
        else:
            assert 1.0 <= ratio < 1.02, path


def test_storage_is_shared_by_modes():
    _, reparam, _ = layer_with((5, 3), True, "hadamard")
    support = reparam.supports["A"]
    lora, vector, scalar = (support.value(mode) for mode in ("lora", "vector", "scalar"))
    assert torch.equal(lora, support.left @ support.right)
    assert torch.equal(vector, support.left[:, :1])
    assert torch.equal(scalar[0, 0], support.left[0, 0])
    assert support.value("none") is None


def test_a_fixed_path_stores_exactly_what_it_uses():
    for path in PATHS:
        _, reparam, _ = layer_with((5, 3), True, "hadamard", {name: (choice,) for name, choice in path.items()})
        assert sum(p.numel() for p in reparam.parameters()) == reparam.size(path), path


def test_starts_as_the_pretrained_layer_in_every_path():
    torch.manual_seed(0)
    layer = nn.Linear(6, 5, dtype=torch.float64)
    reparam = Supports(layer.weight.detach(), 2, "hadamard", CHOICES)
    x = torch.randn(3, 6, dtype=torch.float64)
    for path in PATHS:
        reparam.path = path
        assert torch.equal(reparam.through(x, LayerRows(layer, WHOLE)), layer(x)), path


def test_xavier_bounds_of_the_right_factors():
    torch.manual_seed(0)
    reparam = Supports(torch.zeros(64, 768), 4, "hadamard", CHOICES)
    for name, bound in {"A": (6 / 772) ** 0.5, "B": (6 / 772) ** 0.5, "C": (6 / 5) ** 0.5}.items():
        right = reparam.supports[name].right
        assert right.abs().max() <= bound
        assert right.abs().max() > 0.5 * bound


class OneLayer(nn.Module):
    """What Hugging Face peft needs to see: a named linear layer."""

    def __init__(self, bias):
        super().__init__()
        self.proj = nn.Linear(6, 5, bias=bias, dtype=torch.float64)

    def forward(self, x):
        return self.proj(x)


@pytest.mark.parametrize("c", ["lora", "vector", "none"])
@pytest.mark.parametrize("de", ["vector", "scalar", "none"])
@pytest.mark.parametrize("ab", ["lora", "vector", "scalar", "none"])
def test_glora_agrees_with_hugging_face_on_every_path_that_both_express(ab, c, de):
    torch.manual_seed(0)
    theirs_name = {"scalar": "constant"}
    config = GloraConfig(
        r=2,
        target_modules=["proj"],
        config_A_B=theirs_name.get(ab, ab),
        config_C=c,
        config_D_E=theirs_name.get(de, de),
        init_weights=False,
    )
    theirs = get_peft_model(OneLayer(bias=True), config).to(torch.float64)
    wrapped = theirs.base_model.model.proj
    path = {"A": ab, "B": ab, "C": c, "D": de, "E": de}
    base = wrapped.base_layer
    ours = Supports(base.weight.detach(), 2, "hadamard", {n: (choice,) for n, choice in path.items()})
    pairs = []
    for name, choice in path.items():
        source, support = getattr(wrapped, f"glora_{name}")["default"], ours.supports[name]
        if choice == "lora":
            pairs += [(support.left, source.Xd), (support.right, source.Xu)]
        elif choice != "none":
            pairs.append((support.left, source.X))
    with torch.no_grad():
        for mine, other in pairs:
            mine.copy_(other.normal_().reshape(mine.shape))
    x = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    y, expected = Reparametrized(base, [(None, ours)])(x), theirs(x)
    assert torch.allclose(y, expected, rtol=0, atol=1e-10)
    assert torch.allclose(y, base(x)) == (set(path.values()) == {"none"})
    got = torch.autograd.grad(y.square().sum(), [x, *(mine for mine, _ in pairs)])
    want = torch.autograd.grad(expected.square().sum(), [x, *(other for _, other in pairs)])
    for mine, other in zip(got, want, strict=True):
        assert torch.allclose(mine, other.reshape(mine.shape), rtol=0, atol=1e-10)


def test_paths_are_a_function_of_seed_and_step_and_uniform():
    reparams = [Supports(torch.zeros(4, 4), 2, "hadamard", CHOICES) for _ in range(48)]
    space = PathSpace(nn.ModuleList(reparams))
    assert space.is_supernet
    assert space.draw(3, 5) == space.draw(3, 5)
    assert space.draw(3, 5) != space.draw(3, 6) != space.draw(4, 6)
    drawn = [path for step in range(60) for path in space.paths(space.draw(0, step))]
    for name, options in CHOICES.items():
        for option in options:
            share = sum(path[name] == option for path in drawn) / len(drawn)
            assert abs(share - 1 / len(options)) < 5 * (0.25 / len(drawn)) ** 0.5


def test_forward_draws_nothing():
    layer, reparam, x = layer_with((6, 6), True, "hadamard")
    net = Reparametrized(layer, [(None, reparam)])
    for mode in (True, False):
        net.train(mode)
        assert torch.equal(net(x), net(x))
        assert reparam.path == {name: options[0] for name, options in CHOICES.items()}
