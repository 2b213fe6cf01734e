"""Adapt a network of yours with any method of conf/method, merge it, and count, save and load what was trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from glorabench.backbones.quantized import numbers_of
from glorabench.config.instantiate import METHOD, make
from glorabench.config.method_defaults import default_method_node
from glorabench.errors import BadInput, first_line
from glorabench.files import whole_file
from glorabench.library.networks import backbone_of, family_of
from glorabench.methods.reparam import merge as merge_network
from glorabench.search.space import PathSpace

_ATTRIBUTE = "glorabench_adaptation"  # of an adapted network: how it was adapted
_FORMAT = "glorabench adapter 1"


@dataclass(frozen=True)
class Adaptation:
    """How a network was adapted.

    Args:
        method: its name, as in conf/method.
        targets: roles or patterns, as they were given; None is what the method gives the family of the network.
        heads: patterns of the modules that are trained as they are.
        values: of hyper-parameters, as they were given.
    """

    method: str
    targets: tuple[str, ...] | None = None
    heads: tuple[str, ...] = ()
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Counts:
    """Exact numbers of parameters.

    Args:
        trained: without the heads; for a supernet those of its present path.
        heads: of the modules that are trained as they are.
        total: of the network.
        supernet: trained ones over all paths; None where there is one path alone.
    """

    trained: int
    heads: int
    total: int
    supernet: int | None


def adapt(
    model: nn.Module,
    method: str,
    *,
    targets: str | Sequence[str] | None = None,
    heads: str | Sequence[str] = (),
    **values: Any,
) -> nn.Module:
    """Freeze a network and put a method into it, in place.

    Args:
        model: any network with linear layers or convolutions.
        method: `lora`, `glora`, ... (`glorabench count` lists them).
        targets: roles (`q`, `v`, `fc1`) of a network of timm or a Llama of transformers, or patterns of names of layers
            (`*.fc1`; `*` is every linear layer and convolution).
        heads: patterns of the modules that are trained as they are, such as `head`.
        values: hyper-parameters, such as `rank=4`; the others are those of conf/method.

    Returns:
        The network itself. Its parameters with `requires_grad` are those to train.

    Raises:
        BadInput: no such method, value or layer, or the network cannot host the method.
    """
    if hasattr(model, _ATTRIBUTE):
        raise BadInput("this network is adapted already: merge it first, or take a fresh one")
    targets = (targets,) if isinstance(targets, str) else None if targets is None else tuple(targets)
    heads = (heads,) if isinstance(heads, str) else tuple(heads)
    adaptation = Adaptation(method, targets, heads, dict(values))
    backbone, names = backbone_of(model, targets, heads)
    node = default_method_node(method, family_of(model), names, values, list(backbone.roles))
    trained_heads = _head_parameters(model, heads)
    make(node, METHOD).inject(backbone)
    for parameter in trained_heads:
        parameter.requires_grad_(True)
    setattr(model, _ATTRIBUTE, adaptation)
    return model


def _head_parameters(model: nn.Module, heads: Sequence[str]) -> list[nn.Parameter]:
    parameters: dict[int, nn.Parameter] = {}
    for pattern in heads:
        modules = [module for path, module in model.named_modules() if path and fnmatchcase(path, pattern)]
        if not modules:
            raise BadInput(f"heads: '{pattern}' matches no module of {type(model).__name__}")
        parameters |= {id(p): p for module in modules for p in module.parameters()}
    return list(parameters.values())


def adaptation_of(model: nn.Module) -> Adaptation:
    """How a network was adapted.

    Raises:
        BadInput: it was not.
    """
    adaptation = getattr(model, _ATTRIBUTE, None)
    if not isinstance(adaptation, Adaptation):
        raise BadInput("this network is not adapted: call glorabench.adapt(model, METHOD) first")
    return adaptation


def merge(model: nn.Module) -> nn.Module:
    """Fold what was trained into the weights of the network, in place: it is then a plain network again.

    Raises:
        BadInput: it is not adapted, or a part of the method is no weight, with the reason.
    """
    adaptation_of(model)
    merge_network(model)
    delattr(model, _ATTRIBUTE)
    return model


def count(model: nn.Module) -> Counts:
    """How many parameters an adapted network trains.

    Raises:
        BadInput: it is not adapted.
    """
    heads = {id(p) for p in _head_parameters(model, adaptation_of(model).heads)}
    trainable = [p for p in model.parameters() if p.requires_grad]
    allocated_size = sum(p.numel() for p in trainable if id(p) not in heads)
    space = PathSpace(model)
    is_supernet = space.is_supernet
    return Counts(
        trained=space.size(space.genome(space.current())) if is_supernet else allocated_size,
        heads=sum(p.numel() for p in trainable if id(p) in heads),
        total=numbers_of(model, model.parameters()),
        supernet=allocated_size if is_supernet else None,
    )


def save_adapter(model: nn.Module, path: str | Path) -> None:
    """Write what was trained, and how the network was adapted, into one file (safetensors).

    Raises:
        BadInput: the network is not adapted, or the file cannot be written.
    """
    adaptation = adaptation_of(model)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items() if name in trained}
    space = PathSpace(model)
    notes = asdict(adaptation)
    if space.layers and not space.is_supernet:  # a path that was drawn is that path from here on
        notes["values"]["path"] = space.current()
    notes["paths"] = space.current() if space.is_supernet else []
    metadata = {"format": _FORMAT, "adaptation": json.dumps(notes)}
    with whole_file(Path(path), "give another path") as draft:
        save_file(tensors, draft, metadata)


def load_adapter(model: nn.Module, path: str | Path) -> nn.Module:
    """Adapt a fresh network as the one that was saved, with what that one had learned, in place.

    Raises:
        BadInput: there is no such file, it is no adapter, or it does not fit this network.
    """
    path = Path(path).expanduser()
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
        if metadata.get("format") != _FORMAT:
            raise BadInput(f"{path} is no adapter that save_adapter wrote")
        notes = json.loads(metadata["adaptation"])
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{path} cannot be read as an adapter ({first_line(error)})") from error
    paths = notes.pop("paths")
    adapt(model, notes["method"], targets=notes["targets"], heads=notes["heads"], **notes["values"])
    space = PathSpace(model)
    if paths:
        space.set(space.genome(paths))
    shapes = {name: p.shape for name, p in model.named_parameters() if p.requires_grad}
    file_shapes = {name: t.shape for name, t in tensors.items()}
    if differences := [
        name for name in sorted(shapes.keys() | file_shapes.keys()) if shapes.get(name) != file_shapes.get(name)
    ]:
        raise BadInput(f"{path} does not fit this network: {differences[0]} differs (and {len(differences) - 1} more)")
    model.load_state_dict(tensors, strict=False)
    return model
