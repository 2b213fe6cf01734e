"""Export to Hugging Face peft: the same function in the files of `save_pretrained`, for `PeftModel.from_pretrained`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel, get_peft_model
from torch import nn

from glorabench.backbones.base import Backbone
from glorabench.errors import BadInput
from glorabench.export.peft_adapters import Adapter, Inexpressible, expressed
from glorabench.export.to_merged import Plain
from glorabench.methods.base import Method
from glorabench.methods.peft import CONFIGS, Peft
from glorabench.methods.reparam import Foldable, grows, obstacle


def write(trained: Backbone, method: Method, plain: Plain, folder: Path) -> None:
    """Save what `method` learned into `folder`, as peft's `save_pretrained` does.

    Raises:
        BadInput: peft's format cannot express it, with the reason and what can.
    """
    try:
        model = _model(trained, method, plain())
    except Inexpressible as reason:
        merges = obstacle(trained.net) is None and not grows(trained.net)
        instead = "to=merged gives a plain checkpoint" if merges else "to=adapter keeps it"
        raise BadInput(f"to=peft: {reason}; {instead}") from reason
    model.save_pretrained(str(folder), save_embedding_layers=False)


def read(plain: Plain, folder: Path) -> nn.Module:
    """The plain network with the adapter of `folder`, by peft's own loader, in evaluation mode."""
    return PeftModel.from_pretrained(cast(Any, plain()), str(folder)).eval()


@torch.no_grad()
def _model(trained: Backbone, method: Method, net: nn.Module) -> PeftModel:
    """Peft's model on the plain network `net`, with what was learned in it."""
    layers = {path: module for path, module in trained.net.named_modules() if isinstance(module, Foldable)}
    _check_trained(trained, layers)
    found = _theirs(trained, method, layers) if isinstance(method, Peft) else expressed(layers)
    paths = [path for path, _ in net.named_modules()]
    modules = {name: _names(paths, wanted) for name, wanted in found.modules.items()}
    modules |= {"target_modules": _names(paths, list(found.tensors))}
    if trained.head is not None:
        modules["modules_to_save"] = [trained.head]
    args = {**found.args, **modules}
    model = get_peft_model(cast(Any, net), CONFIGS[found.config](**args))
    for path, tensors in found.tensors.items():
        own = net.get_submodule(path).state_dict(keep_vars=True)
        for name, value in tensors.items():
            own[name].copy_(value.reshape(own[name].shape))
    if trained.head is not None and trained.classifier is not None:
        wrapper = cast(Any, net.get_submodule(trained.head))
        wrapper.modules_to_save["default"].load_state_dict(trained.classifier.state_dict())
    return cast(PeftModel, model)


def _check_trained(trained: Backbone, layers: Mapping[str, Foldable]) -> None:
    """Refuse what is trained outside of adapted layers and head."""
    within = {id(p) for layer in layers.values() for p in layer.parameters()}
    within |= {id(p) for p in trained.head_parameters()}
    for name, parameter in trained.net.named_parameters():
        if parameter.requires_grad and id(parameter) not in within:
            raise Inexpressible(f"the method trains {name}, for which peft's adapters of layers have no place")
    if not layers:
        raise Inexpressible("the method adapts no layer, it trains the head alone")


def _names(paths: list[str], wanted: list[str]) -> list[str] | str:
    """Ends of names (attn.qkv) where they match no other layer, else an expression for the whole names."""
    ends = sorted({re.split(r"(?:^|\.)\d+\.", path)[-1] for path in wanted})
    matched = [path for path in paths if any(path == end or path.endswith(f".{end}") for end in ends)]
    return ends if sorted(matched) == sorted(wanted) else "|".join(map(re.escape, wanted))


def _theirs(trained: Backbone, method: Peft, layers: Mapping[str, Any]) -> Adapter:
    """peft's own layers: their whole state, also of the layer below, which some tuners change when they start."""
    tensors = {path: layer.tuned.state_dict() for path, layer in layers.items()}
    modules = {name: roles for name, roles in method.args.items() if name.endswith("_modules")}
    args = {name: value for name, value in method.args.items() if name not in modules}
    paths = {
        name: [
            path
            for role in ([roles] if isinstance(roles, str) else roles or [])
            for path in trained.roles[role].find(layers)
        ]
        for name, roles in modules.items()
    }
    return Adapter(method.config, args, tensors, paths)
