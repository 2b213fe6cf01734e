"""Low-rank products and the paths of GLoRA built on them: exact gradients, and what is kept for backward."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from glorabench.backbones.precision import tokens_of
from glorabench.methods.glora import CHOICES, Supports
from glorabench.methods.low_rank_products import rescaled_linear, widen
from glorabench.methods.reparam import LayerRows, Reparam, Reparametrized

PATHS = [dict(zip(CHOICES, picks, strict=True)) for picks in itertools.product(*CHOICES.values())]
WITHOUT_BIAS_TERMS = {"C": "none", "D": "none", "E": "none"}
REPRESENTATIVE = [  # every choice of A with another one of the rest
    {"A": "lora", "B": "lora", "C": "lora", "D": "vector", "E": "vector"},
    {"A": "vector", "B": "scalar", "C": "none", "D": "vector", "E": "scalar"},
    {"A": "scalar", "B": "vector", "C": "vector", "D": "scalar", "E": "none"},
    {"A": "none", "B": "lora", "C": "vector", "D": "none", "E": "scalar"},
]
TOKENS, WIDE, NARROW, RANK = 7, 6, 4, 2


def random(*shape, **kwargs):
    return torch.randn(*shape, dtype=torch.float64, **kwargs)


def supports(o, i, product="hadamard", dtype=torch.float64, bias=True):
    """A frozen layer and its supports, none of them zero."""
    torch.manual_seed(0)
    layer = nn.Linear(i, o, bias=bias, dtype=dtype).requires_grad_(False)
    reparam = Supports(layer.weight, RANK, product, CHOICES)
    with torch.no_grad():
        for parameter in reparam.parameters():
            parameter.normal_()
    return layer, reparam


def in_one(weight):
    """How a plain weight is read: in one piece."""
    return lambda: [(slice(0, len(weight)), weight)]


def gradients(y, weights, wanted):
    found = torch.autograd.grad((y * weights).sum(), wanted, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for g, w in zip(found, wanted, strict=True)]


def equal_to_the_formula(x, reparam, view):
    """The cheap way against the formula on plain autograd: output and gradients of x and of every support."""
    wanted = [*([x] if x.requires_grad else []), *reparam.parameters()]
    ways = [reparam.through(x, view), Reparam.through(reparam, x, view)]
    weights = random(*ways[0].shape)
    assert torch.allclose(*ways, rtol=0, atol=1e-10)
    for got, want in zip(*(gradients(y, weights, wanted) for y in ways), strict=True):
        assert torch.allclose(got, want, rtol=0, atol=1e-10)


def test_widen_and_both_its_gradients():
    torch.manual_seed(0)
    hidden, left = random(TOKENS, RANK, requires_grad=True), random(WIDE, RANK, requires_grad=True)
    onto = random(TOKENS, WIDE, requires_grad=True)
    dy = random(TOKENS, WIDE)
    for base in (None, onto):
        y = widen(hidden, left, None if base is None else base.clone())
        expected = torch.einsum("tr,or->to", hidden, left) + (0 if base is None else base)
        assert torch.allclose(y, expected, rtol=0, atol=1e-12)
        got = torch.autograd.grad((y * dy).sum(), [hidden, left, *([] if base is None else [base])])
        wanted = [torch.einsum("to,or->tr", dy, left), torch.einsum("to,tr->or", dy, hidden), dy]
        for mine, other in zip(got, wanted, strict=False):
            assert torch.allclose(mine, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("choice", CHOICES["B"])
def test_rescaled_passes_gradcheck(choice, bias):
    _, reparam = supports(WIDE, NARROW)
    weight, x = random(WIDE, NARROW), random(TOKENS, NARROW, requires_grad=True)
    shift = random(WIDE, requires_grad=True) if bias else None

    def product(x, shift, *_):
        added = None if choice == "none" else reparam.supports["B"].factors(choice)
        return rescaled_linear(x, in_one(weight), shift, reparam.supports["A"].factors("lora"), added)

    assert torch.autograd.gradcheck(product, (x, shift, *reparam.parameters()))


def test_rescaled_is_the_formula_written_out():
    torch.manual_seed(0)
    x, weight, bias = random(TOKENS, NARROW), random(WIDE, NARROW), random(WIDE)
    a, b = ((random(WIDE, RANK), random(RANK, NARROW)) for _ in "AB")
    W = weight + weight * torch.einsum("or,ri->oi", *a) + torch.einsum("or,ri->oi", *b)
    assert torch.allclose(
        rescaled_linear(x, in_one(weight), bias, a, b), torch.einsum("ti,oi->to", x, W) + bias, rtol=0, atol=1e-12
    )


def test_rescaled_has_no_second_derivative_to_be_wrong():
    x = random(TOKENS, NARROW, requires_grad=True)
    a = random(WIDE, RANK, requires_grad=True), random(RANK, NARROW, requires_grad=True)
    (dx,) = torch.autograd.grad(
        rescaled_linear(x, in_one(random(WIDE, NARROW)), None, a, None).square().sum(), x, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        dx.sum().backward()


@pytest.mark.parametrize("product", ["hadamard", "matmul"])
@pytest.mark.parametrize("path", REPRESENTATIVE, ids=lambda path: "-".join(path.values()))
@pytest.mark.parametrize("lead", [(), (1,), (2, 3), (2, 1, 3)], ids=str)
def test_any_leading_shape(lead, path, product):
    layer, reparam = supports(WIDE, NARROW, product)
    reparam.path = path
    x = random(*lead, NARROW, requires_grad=True)
    equal_to_the_formula(x, reparam, LayerRows(layer, slice(None)))
    transposed = random(NARROW, *lead).movedim(0, -1)  # an input that is not contiguous
    equal_to_the_formula(transposed, reparam, LayerRows(layer, slice(None)))


@pytest.mark.parametrize("path", REPRESENTATIVE, ids=lambda path: "-".join(path.values()))
def test_rows_of_a_fused_layer(path):
    layer, _ = supports(3 * WIDE, NARROW)
    _, reparam = supports(WIDE, NARROW)
    reparam.path, view = path, LayerRows(layer, slice(WIDE, 2 * WIDE))
    x = random(2, 3, NARROW, requires_grad=True)
    equal_to_the_formula(x, reparam, view)
    whole = Reparametrized(layer, [(view.rows, reparam)])(x)
    assert torch.allclose(whole[..., view.rows], reparam.through(x, view), rtol=0, atol=1e-12)
    assert torch.allclose(whole[..., :WIDE], layer(x)[..., :WIDE], rtol=0, atol=1e-12)


@pytest.mark.parametrize("path", REPRESENTATIVE, ids=lambda path: "-".join(path.values()))
def test_supports_that_are_used_twice_add_their_gradients(path):
    layer, reparam = supports(NARROW, NARROW)
    reparam.path, view = path, LayerRows(layer, slice(None))
    x, weights, wanted = random(TOKENS, NARROW), random(TOKENS, NARROW), [*reparam.parameters()]
    got = gradients(reparam.through(reparam.through(x, view), view), weights, wanted)
    W, b = reparam(layer.weight, layer.bias)
    expected = gradients(F.linear(F.linear(x, W, b), W, b), weights, wanted)
    for mine, other in zip(got, expected, strict=True):
        assert torch.allclose(mine, other, rtol=0, atol=1e-9)


@pytest.mark.parametrize("path", REPRESENTATIVE, ids=lambda path: "-".join(path.values()))
def test_an_input_without_gradient_costs_no_product(path):
    """The first layer: the product with the transposed weight is left out, T i o multiply-adds."""
    tokens, width, counted = 4096, 64, {}
    with torch.device("meta"):
        layer, reparam = supports(width, width, dtype=torch.float32)
        reparam.path = path
        for wants in (True, False):
            x = torch.randn(tokens, width, requires_grad=wants)
            with FlopCounterMode(display=False) as counter:
                reparam.through(x, LayerRows(layer, slice(None))).sum().backward()
            counted[wants] = counter.get_total_flops()
    saved = counted[True] - counted[False]
    assert 1 <= saved / (2 * tokens * width * width) < 1.1


def kept(run, *known):
    """Storages that autograd keeps until backward, without those of `known`: {address: bytes}."""
    found, own = {}, {tensor.untyped_storage().data_ptr() for tensor in known}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = (storage.nbytes(), tensor)  # the tensor, so that no address is used again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(size for size, _ in found.values()), max((size for size, _ in found.values()), default=0)


@pytest.mark.parametrize("product", ["hadamard", "matmul"])
def test_no_path_keeps_a_matrix_of_the_size_of_the_weight(product):
    """Two tokens, so that activations are far smaller than W0."""
    layer, reparam = supports(48, 40, product, torch.float32)
    x = torch.randn(2, 40, requires_grad=True)
    for path in PATHS:
        reparam.path = path
        _, largest = kept(
            lambda: reparam.through(x, LayerRows(layer, slice(None))), layer.weight, *reparam.parameters()
        )
        assert largest < layer.weight.nbytes / 4, path


def test_what_each_choice_of_a_keeps():
    """With B none: nothing, the input, the narrower of input and output, and the frozen output."""
    tokens, known = 512, {"lora": NARROW, "none": 0, "scalar": NARROW, "vector": WIDE}
    layer, reparam = supports(WIDE, NARROW)
    for choice, width in known.items():
        reparam.path = {"A": choice, "B": "none", **WITHOUT_BIAS_TERMS}
        x = random(tokens, NARROW, requires_grad=True)
        total, _ = kept(
            lambda x=x: reparam.through(x, LayerRows(layer, slice(None))), layer.weight, *reparam.parameters()
        )
        small = 8 * (WIDE + NARROW)
        assert 8 * tokens * width <= total <= 8 * tokens * width + small, choice


def test_vectors_add_one_number_a_token_to_what_is_kept():
    tokens = 512
    layer, reparam = supports(WIDE, NARROW)
    reparam.path = {"A": "none", "B": "vector", **WITHOUT_BIAS_TERMS}
    x = random(tokens, NARROW, requires_grad=True)
    total, _ = kept(lambda: reparam.through(x, LayerRows(layer, slice(None))), layer.weight, *reparam.parameters())
    assert 8 * tokens <= total <= 8 * (tokens + WIDE + NARROW)


@pytest.mark.parametrize("product", ["hadamard", "matmul"])
def test_autocast_computes_in_bfloat16_and_keeps_parameters_exact(product):
    """Against float64, within bf16's 8 bits of the largest entry; gradients keep the dtype of their tensors."""
    layer, reparam = supports(32, 24, product, torch.float32)
    exact_layer, exact = supports(32, 24, product)
    exact_layer.load_state_dict(layer.state_dict())
    exact.load_state_dict(reparam.state_dict())
    x = torch.randn(64, 24, requires_grad=True)
    weights = torch.randn(64, 32)
    view, exact_view = LayerRows(layer, slice(None)), LayerRows(exact_layer, slice(None))
    for path in PATHS[::7]:  # 7 divides no number of options: every two of them meet
        reparam.path = exact.path = path
        with torch.autocast("cpu", torch.bfloat16):
            y = reparam.through(x, view)
            inside = gradients(y.float(), weights, [x, *reparam.parameters()])  # backward under autocast as well
            outside = reparam.through(x, view)
        outside = gradients(outside.float(), weights, [x, *reparam.parameters()])
        assert y.dtype == torch.bfloat16
        x64 = x.detach().double().requires_grad_()
        expected = Reparam.through(exact, x64, exact_view)
        wanted = gradients(expected, weights.double(), [x64, *exact.parameters()])
        for got, want in [(y, expected), *zip(inside, wanted, strict=True), *zip(outside, wanted, strict=True)]:
            assert (got.double() - want).abs().max() <= 0.04 * want.abs().max().clamp(min=1e-6), path
        assert {g.dtype for g in [*inside, *outside]} == {torch.float32}


def test_tokens_are_cast_once_for_all_products():
    x = torch.randn(2, 3, 4)
    assert tokens_of(x).shape == (6, 4)
    assert tokens_of(x).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert tokens_of(x).dtype == torch.bfloat16


@pytest.mark.parametrize("path", REPRESENTATIVE, ids=lambda path: "-".join(path.values()))
def test_a_fixed_path_compiles_to_one_graph(path):
    layer, reparam = supports(WIDE, NARROW)
    reparam.path = path
    net = Reparametrized(layer, [(None, reparam)])
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    x, weights = random(2, 3, NARROW, requires_grad=True), random(2, 3, WIDE)
    ways = [net(x), compiled(x)]
    assert torch.allclose(*ways, rtol=0, atol=1e-12)
    wanted = [x, *reparam.parameters()]
    for got, want in zip(*(gradients(y, weights, wanted) for y in ways), strict=True):
        assert torch.allclose(got, want, rtol=0, atol=1e-12)
