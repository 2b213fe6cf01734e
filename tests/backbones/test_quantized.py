"""Quantised layers against the float formula on the numbers that they stand for, and what is counted of them."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from conftest import tiny_llama
from glorabench.backbones import bitsandbytes_library, quantized
from glorabench.backbones.llama import llama_backbone
from glorabench.backbones.quantized import (
    QuantizedLinear,
    check_scheme,
    dequantize_linears,
    frozen_bytes,
    numbers_of,
    quantize_linears,
    quantized_layers,
)
from glorabench.errors import BadInput

SCHEMES = [("nf4", True), ("nf4", False), ("int8", True)]
every_scheme = pytest.mark.parametrize(("scheme", "double_quant"), SCHEMES)
ROWS, COLS = 90, 40  # no multiple of 32 rows, and 40 numbers a row: a block of 64 ends within a row


def layer_of(scheme, double_quant, rows=ROWS, cols=COLS, dtype=torch.float32, bias=True):
    """A plain layer, and the same quantised."""
    torch.manual_seed(0)
    plain = nn.Linear(cols, rows, bias=bias, dtype=dtype).requires_grad_(False)
    net = nn.Sequential(copy.deepcopy(plain))
    quantize_linears(net, scheme, double_quant, skip=[])
    assert isinstance(net[0], QuantizedLinear)
    return plain, net[0]


def relative(found, exact):
    return float((found - exact).norm() / exact.norm())


@every_scheme
def test_the_numbers_are_near_the_weights_and_lie_on_few_levels(scheme, double_quant):
    plain, layer = layer_of(scheme, double_quant, 128, 256)
    numbers = layer.dequantize()
    assert numbers.shape == plain.weight.shape
    assert numbers.dtype == torch.float32
    error = relative(numbers, plain.weight)
    assert 0.001 < error < (0.12 if scheme == "nf4" else 0.01)
    if scheme == "nf4":
        block = numbers.flatten()[:64]
        assert len(block.unique()) <= 16
    else:
        row = plain.weight[3]
        assert torch.allclose(numbers[3], (row / row.abs().max() * 127).round() * row.abs().max() / 127, atol=1e-7)


@every_scheme
@pytest.mark.parametrize("tile", [2**24, 8 * COLS])
def test_product_and_its_gradient_are_those_of_the_numbers(scheme, double_quant, tile, monkeypatch):
    """Equal to a plain layer with the numbers, within 1e-6: the order of the sums differs."""
    monkeypatch.setattr(quantized, "TILE", tile)
    _, layer = layer_of(scheme, double_quant)
    plain = layer.plain()
    assert type(plain) is nn.Linear
    assert len(list(layer.tiles())) == (1 if tile > ROWS * COLS else -(-ROWS // 8))
    results = []
    for each in (layer, plain):
        x = torch.randn(2, 7, COLS, generator=torch.Generator().manual_seed(1)).requires_grad_()
        y = each(x)
        y.square().sum().backward()
        results.append((y.detach(), x.grad))
    for found, exact in zip(*results, strict=True):
        assert torch.allclose(found, exact, rtol=1e-6, atol=1e-6)


@every_scheme
def test_rows_are_read_anywhere(scheme, double_quant):
    _, layer = layer_of(scheme, double_quant)
    whole = layer.dequantize()
    for rows in (slice(0, 1), slice(3, 17), slice(89, 90), slice(8, 90), slice(None)):
        assert torch.equal(layer.dequantize(rows), whole[rows])


@every_scheme
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_weights_and_autocast(scheme, double_quant, dtype):
    _, layer = layer_of(scheme, double_quant, dtype=dtype)
    x = torch.randn(5, COLS, dtype=dtype)
    assert layer.dequantize().dtype == dtype
    assert torch.equal(layer(x), F.linear(x, layer.dequantize()) + layer.bias)
    _, layer = layer_of(scheme, double_quant)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x.float())
    assert y.dtype == torch.bfloat16
    assert relative(y.float(), layer(x.float())) < 0.02


def test_a_row_of_zeros_stays_zero():
    net = nn.Sequential(nn.Linear(8, 3, bias=False))
    with torch.no_grad():
        net[0].weight[1] = 0
    quantize_linears(net, "int8", True, skip=[])
    assert (net[0].dequantize()[1] == 0).all()
    assert net[0].dequantize().isfinite().all()


@every_scheme
def test_evaluation_changes_no_code(scheme, double_quant):
    """bitsandbytes' own layers repack their codes in the first evaluation (nf4 on CPUs with AVX512-BF16), after which
    no merge reads them right, or lose their scales when they are read (int8). Ours are read and used in any order."""
    for rows in (256, ROWS):
        _, layer = layer_of(scheme, double_quant, rows, 64)
        before, x = layer.dequantize(), torch.randn(4, 64)
        expected = layer.train()(x)
        layer.eval()
        with torch.no_grad():
            assert torch.equal(layer(x), expected)
        with torch.inference_mode():
            assert torch.equal(layer(x), expected)
        assert torch.equal(layer.dequantize(), before)
        assert torch.equal(layer.plain().weight, before)
        assert torch.equal(layer(x), expected)
        assert torch.equal(copy.deepcopy(layer)(x), expected)


BITS = {("nf4", True): 4 + 8 / 64 + 32 / (64 * 256), ("nf4", False): 4 + 32 / 64, ("int8", True): 8 + 32 / 4096}


@every_scheme
def test_bits_of_a_weight_on_the_meta_device_and_measured(scheme, double_quant):
    """4.127 and 4.5 bits of nf4 (QLoRA, section 3); the tables that decode it are 1 kB a layer, whatever its size."""
    with torch.device("meta"):
        net = nn.Sequential(nn.Linear(4096, 11008, bias=False))
        quantize_linears(net, scheme, double_quant, skip=[])
    net.requires_grad_(False)
    assert numbers_of(net, net.parameters()) == 4096 * 11008
    assert 8 * frozen_bytes(net) / (4096 * 11008) == pytest.approx(BITS[scheme, double_quant], abs=1e-6)
    _, layer = layer_of(scheme, double_quant, 512, 512, bias=False)
    with torch.device("meta"):
        shapes = nn.Sequential(nn.Linear(512, 512, bias=False))
        quantize_linears(shapes, scheme, double_quant, skip=[])
    tables = {("nf4", True): 64 + 1024 + 4, ("nf4", False): 64}.get((scheme, double_quant), 0)
    assert layer.stored_bytes() == shapes[0].stored_bytes() + tables


@pytest.mark.parametrize("shape", [(88, 32), (5, 96), (128, 256), (7, 10), (5, 7), (90, 40)])
@pytest.mark.parametrize("double_quant", [True, False])
def test_nf4_is_decoded_by_its_definition(shape, double_quant):
    """A level of the code times the scale of its block of 64. The library's own call is wrong for rows of 32 or 96."""
    _, layer = layer_of("nf4", double_quant, *shape)
    state, numbers = layer.weight.quant_state, layer.weight.data.view(-1)
    codes = torch.stack([numbers >> 4, numbers & 15], 1).view(-1)[: shape[0] * shape[1]].long()
    scales = state.absmax
    if double_quant:
        levels = state.state2.code[state.absmax.long()]
        scales = levels * state.state2.absmax.repeat_interleave(256)[: len(levels)] + state.offset
    exact = state.code[codes] * scales.repeat_interleave(64)[: len(codes)]
    assert torch.allclose(layer.dequantize(), exact.view(shape), rtol=1e-6, atol=1e-8)


@every_scheme
def test_a_llama_keeps_its_head_and_its_counts(scheme, double_quant):
    made = tiny_llama()
    plain = sum(p.numel() for p in made.net.parameters())
    kinds = {path for path, m in made.net.named_modules() if type(m) is nn.Linear}
    quantize_linears(made.net, scheme, double_quant, skip=["lm_head"])
    layers = {path for path, m in made.net.named_modules() if isinstance(m, QuantizedLinear)}
    assert kinds - layers == {"lm_head"}
    assert numbers_of(made.net, made.net.parameters()) == plain
    made.net.requires_grad_(False)
    assert frozen_bytes(made.net) < 4 * plain / 2
    tokens = torch.randint(60, (2, 6))
    logits = made.net(tokens)
    dequantize_linears(made.net)
    assert not quantized_layers(made.net)
    assert torch.allclose(made.net(tokens), logits, atol=1e-5)


def llama(**values):
    sizes = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 88, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4}
    return llama_backbone("tiny", "llama", None, None, "float32", {**sizes, **heads}, **values)


def test_the_builder_quantises_and_says_so():
    made = llama(quantize="nf4", double_quant=False)
    assert len(quantized_layers(made.net)) == 7
    assert made.weights["quantized"] == "nf4, blocks of 64, scales in float32; all linear layers but the head"
    assert [site.width for site in made.sites(["q", "down"])] == [32, 32]
    assert "quantized" not in llama().weights


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"quantize": "nf5"}, r"backbone.quantize 'nf5'.*nf4"),
        (
            {"quantize": "int8", "double_quant": False},
            "double_quant=false is for .*=nf4, here it is int8",
        ),
        ({"double_quant": False}, "double_quant=false is for .*=nf4, here it is null"),
    ],
)
def test_what_cannot_be_is_refused(values, reason):
    with pytest.raises(BadInput, match=reason):
        llama(**values)


def test_without_bitsandbytes_the_message_names_the_extra(monkeypatch):
    def absent():
        raise ModuleNotFoundError("No module named 'bitsandbytes'")

    monkeypatch.setattr(bitsandbytes_library, "_import", absent)
    with pytest.raises(BadInput, match=r"nf4 needs the package bitsandbytes: .*pip install 'glorabench\[quant\]'"):
        check_scheme("nf4", True)
    check_scheme("int8", True)  # needs no package
