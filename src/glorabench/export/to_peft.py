"""Export to Hugging Face peft: the same function in the files of `save_pretrained`, for `PeftModel.from_pretrained`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel, get_peft_model
from torch import nn

from glorabench.backbones.base import Backbone
from glorabench.backbones.quantized import QuantizedLinear
from glorabench.errors import BadInput
from glorabench.export.peft_adapters import NotExpressible, PeftAdapter, to_peft_adapter
from glorabench.export.to_merged import PlainNet
from glorabench.methods.base import Method
from glorabench.methods.peft import CONFIGS, Peft, peft_module_names
from glorabench.methods.reparam import Foldable, merge_obstacle, merging_adds_bias


def write_peft(backbone: Backbone, method: Method, plain: PlainNet, folder: Path) -> None:
    """Save the trained tensors of `method` into `folder`, as peft's `save_pretrained` does.

    Raises:
        BadInput: peft's format cannot express it, with the reason and what can.
    """
    try:
        model = _peft_model(backbone, method, plain())
    except NotExpressible as reason:
        merges = merge_obstacle(backbone.net) is None and not merging_adds_bias(backbone.net)
        instead = "to=merged gives a plain checkpoint" if merges else "to=adapter keeps it"
        raise BadInput(f"to=peft: {reason}; {instead}") from reason
    model.save_pretrained(str(folder), save_embedding_layers=False)


def read_peft(plain: PlainNet, folder: Path) -> nn.Module:
    """The plain network with the adapter of `folder`, by peft's own loader, in evaluation mode."""
    return PeftModel.from_pretrained(cast(Any, plain()), str(folder)).eval()


@torch.no_grad()
def _peft_model(backbone: Backbone, method: Method, net: nn.Module) -> PeftModel:
    """Peft's model on the plain network `net`, with the trained tensors in it."""
    layers = {path: module for path, module in backbone.net.named_modules() if isinstance(module, Foldable)}
    _check_trained(backbone, layers)
    adapter = _own_adapter(backbone, method, layers) if isinstance(method, Peft) else to_peft_adapter(layers)
    paths = [path for path, _ in net.named_modules()]
    modules = {name: peft_module_names(paths, targets) for name, targets in adapter.modules.items()}
    modules |= {"target_modules": peft_module_names(paths, list(adapter.tensors))}
    if backbone.head is not None:
        modules["modules_to_save"] = [backbone.head]
    args = {**adapter.args, **modules}
    model = get_peft_model(cast(Any, net), CONFIGS[adapter.config](**args))
    for path, tensors in adapter.tensors.items():
        parameters = net.get_submodule(path).state_dict(keep_vars=True)
        for name, value in tensors.items():
            parameters[name].copy_(value.reshape(parameters[name].shape))
    if backbone.head is not None and backbone.classifier is not None:
        wrapper = cast(Any, net.get_submodule(backbone.head))
        wrapper.modules_to_save["default"].load_state_dict(backbone.classifier.state_dict())
    return cast(PeftModel, model)


def _check_trained(backbone: Backbone, layers: Mapping[str, Foldable]) -> None:
    """Refuse parameters that are trained outside of adapted layers and the head."""
    allowed_ids = {id(p) for layer in layers.values() for p in layer.parameters()}
    allowed_ids |= {id(p) for p in backbone.head_parameters()}
    for name, parameter in backbone.net.named_parameters():
        if parameter.requires_grad and id(parameter) not in allowed_ids:
            raise NotExpressible(f"the method trains {name}, for which peft's adapters of layers have no place")
    if not layers:
        raise NotExpressible("the method adapts no layer, it trains the head alone")


def _own_adapter(backbone: Backbone, method: Peft, layers: Mapping[str, Any]) -> PeftAdapter:
    """peft's own layers with their whole state, also of the layer inside, which some tuners change when they start.

    The codes of a quantised layer inside are left out: no tuner changes them, and the plain network has the numbers.
    """
    tensors = {}
    for path, layer in layers.items():
        is_quantized = isinstance(layer.layer, QuantizedLinear)
        state = layer.tuned.state_dict().items()
        tensors[path] = {name: t for name, t in state if not (is_quantized and name.startswith("base_layer."))}
    args: dict[str, Any] = {}
    modules: dict[str, list[str]] = {}
    for name, value in method.args.items():
        if not name.endswith("_modules"):
            args[name] = value
            continue
        modules[name] = []
        for role in [value] if isinstance(value, str) else value or []:
            modules[name] += backbone.paths_of(role, layers)
    return PeftAdapter(method.config, args, tensors, modules)
