"""Translate a trained method into the tensors of Hugging Face peft's config classes; peft itself is not needed.

Several parts of a fused layer (q and v of qkv) become one adapter of the layer. Low-rank parts are stacked, with B in
blocks, so that ranks add up and the scale stays the same. Rows that no part covers do not change.

peft's GLoRA has one mode for A and B of all layers, one for C, one for D and E. Each is the largest choice that occurs,
and smaller ones are written in its form: a vector v as v 1^T, a scalar as a vector, none as zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from glorabench.backbones.quantized import QuantizedLinear
from glorabench.methods.dora import Decomposed
from glorabench.methods.glora import Support, Supports
from glorabench.methods.ia3 import LearnedScale
from glorabench.methods.lora import LowRank
from glorabench.methods.reparam import Foldable, LayerRows, Reparametrized

NONE, SCALAR, VECTOR, FACTORS = CHOICES_BY_SIZE = (
    "none",
    "scalar",
    "vector",
    "lora",
)  # each is a special case of the next
Layers = Mapping[str, Reparametrized]


class PeftAdapter(NamedTuple):
    """An adapter in peft's terms.

    Args:
        config: name of the config class.
        args: its arguments, without those that name modules.
        tensors: its tensors by layer and name; shapes may lack axes of length one.
        modules: arguments that name modules -> layers.
    """

    config: str
    args: dict[str, Any]
    tensors: dict[str, dict[str, Tensor]]
    modules: dict[str, list[str]]


class NotExpressible(Exception):
    """Why peft's format has no place for something."""


def to_peft_adapter(layers: Mapping[str, Foldable]) -> PeftAdapter:
    """The adapter that computes the same as these layers of the trained network.

    Raises:
        Inexpressible: the format has no place for it.
    """
    reparams = {path: layer for path, layer in layers.items() if isinstance(layer, Reparametrized)}
    kinds = {type(part) for layer in reparams.values() for _, part in layer.parts()}
    kinds |= {type(layer) for path, layer in layers.items() if path not in reparams}
    if len(kinds) != 1 or not kinds <= CONVERTERS.keys():
        raise NotExpressible("the format has LoRA, DoRA, (IA)3, GLoRA and what method=peft trains, not this method")
    return CONVERTERS[kinds.pop()](reparams)


def _low_rank(layers: Layers) -> PeftAdapter:
    """LoRA and DoRA: A stacked, B in blocks, alpha such that alpha / rank is the scale of the parts."""
    tensors: dict[str, dict[str, Tensor]] = {}
    ranks, alphas, dora = {}, {}, False
    for path, layer in layers.items():
        if getattr(layer.layer, "groups", 1) != 1:
            raise NotExpressible(f"{path} is a convolution in groups, of which peft has another low-rank form")
        parts = [(rows, part, _low_rank_of(part)) for rows, part in layer.parts()]
        A = torch.cat([low.down for _, _, low in parts])
        B, start = A.new_zeros(layer.out_features, len(A)), 0
        magnitude = LayerRows(layer.layer, slice(None)).weight.norm(dim=1)
        for rows, part, low in parts:
            B[rows, start : start + len(low.down)] = low.up
            start += len(low.down)
            if isinstance(part, Decomposed):
                magnitude[rows], dora = part.magnitude, True
        ranks[path], alphas[path] = len(A), parts[0][2].scale * len(A)
        tensors[path] = {"lora_A.default.weight": A, "lora_B.default.weight": B}
        if dora:
            tensors[path]["lora_magnitude_vector.default.weight"] = magnitude
    rank, alpha = max(ranks.values()), max(alphas.values(), key=abs)
    args = {
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {path: r for path, r in ranks.items() if r != rank},
        "alpha_pattern": {path: a for path, a in alphas.items() if a != alpha},
        "use_dora": dora,
    }
    return PeftAdapter("LoraConfig", args, tensors, {})


def _low_rank_of(part: nn.Module) -> LowRank:
    return cast(LowRank, part.low_rank if isinstance(part, Decomposed) else part)


def _scales(layers: Layers) -> PeftAdapter:
    """(IA)3: ones for rows that no part scales."""
    tensors, inputs = {}, []
    for path, layer in layers.items():
        for rows, part in layer.parts():
            scale = cast(LearnedScale, part).scale
            if part.of_input:
                if rows != slice(0, layer.out_features):
                    raise NotExpressible(f"peft scales the input of all of {path}, not for some of its outputs")
                inputs.append(path)
                vector = scale
            else:
                vector = tensors.get(path, {"ia3_l.default": scale.new_ones(layer.out_features)})["ia3_l.default"]
                vector[rows] = scale
            tensors[path] = {"ia3_l.default": vector}
    return PeftAdapter("IA3Config", {}, tensors, {"feedforward_modules": inputs})


def _supports(layers: Layers) -> PeftAdapter:
    """GLoRA of the official code (Hadamard) on whole linear layers; peft's C and E need a bias to act on."""
    parts = {path: _support_of(path, layer) for path, layer in layers.items()}

    def largest(names: str) -> str:
        return max((part.path[name] for part in parts.values() for name in names), key=CHOICES_BY_SIZE.index)

    forms = {name: largest(group) for group in ("AB", "C", "DE") for name in group}
    for name in "ABDE":  # for none peft keeps zeros of the size of the layer, for a scalar one number
        forms[name] = SCALAR if forms[name] == NONE else forms[name]
    tensors: dict[str, dict[str, Tensor]] = {}
    for path, part in parts.items():
        weight, bias = LayerRows(layers[path].layer, slice(None)).weight, getattr(layers[path].layer, "bias", None)
        layer_tensors = {
            f"glora_{name}.default.{end}": tensor
            for name, form in forms.items()
            if bias is not None or name in "AB"
            for end, tensor in _in_form(cast(Support, part.supports[name]), part.path[name], form, weight).items()
        }
        tensors[path] = layer_tensors
    modes = {SCALAR: "constant"}  # peft's name
    config = {f"config_{'_'.join(group)}": modes.get(forms[group[0]], forms[group[0]]) for group in ("AB", "C", "DE")}
    rank = max(cast(Support, part.supports["A"]).rank for part in parts.values())
    return PeftAdapter("GloraConfig", {"r": rank, **config}, tensors, {})


def _support_of(path: str, layer: Reparametrized) -> Supports:
    """The only part of a layer, where peft can express it."""
    (rows, part), *_ = layer.parts()
    assert isinstance(part, Supports)
    if rows != slice(0, layer.out_features):
        raise NotExpressible(f"peft's GLoRA adapts whole layers, here it is on a part of {path}")
    if type(layer.layer) is not nn.Linear and not isinstance(layer.layer, QuantizedLinear):
        raise NotExpressible(f"peft's GLoRA is for linear layers, {path} is none")
    if part.product != "hadamard":
        raise NotExpressible("peft's GLoRA multiplies element by element (product: hadamard), this run did not")
    if layer.layer.bias is None and {part.path["C"], part.path["E"]} != {NONE}:
        raise NotExpressible(f"C or E gives {path} a bias, which it lacks, and peft's GLoRA adds none")
    return part


def _in_form(support: Support, choice: str, form: str, like: Tensor) -> dict[str, Tensor]:
    """The support in its `choice`, written in another form at least as large: peft's tensors by the ends of names."""
    value = support.value(choice)
    if form == NONE:
        return {}
    if form != FACTORS:
        X = like.new_zeros(support.rows if form == VECTOR else 1)
        return {"X": X if value is None else X + value[:, 0]}
    if choice == FACTORS:
        return {"Xd": cast(Tensor, support.left), "Xu": cast(Tensor, support.right)}
    Xd, Xu = like.new_zeros(support.rows, support.rank), like.new_zeros(support.rank, support.cols)
    if value is not None:
        Xd[:, :1], Xu[0] = value, 1
    return {"Xd": Xd, "Xu": Xu}


CONVERTERS: Mapping[type[nn.Module], Callable[[Layers], PeftAdapter]] = {
    LowRank: _low_rank,
    Decomposed: _low_rank,
    LearnedScale: _scales,
    Supports: _supports,
}
