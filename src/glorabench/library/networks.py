"""See a network of yours as a backbone: its layers by role where its class is known, or by patterns of their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from torch import nn

from glorabench.backbones.base import Backbone, Role
from glorabench.errors import BadInput, nearest

_FAMILIES = {"VisionTransformer": "vit", "ConvNeXt": "convnext", "LlamaForCausalLM": "llama"}  # by the name of a class
_LAYERS = (nn.Linear, nn.Conv2d)


def family_of(net: nn.Module) -> str | None:
    """The family whose roles a network has; None where its class is not known."""
    names = [kind.__name__ for kind in type(net).__mro__]
    return next((_FAMILIES[name] for name in names if name in _FAMILIES), None)


def backbone_of(
    net: nn.Module, targets: Sequence[str] | None, heads: Sequence[str]
) -> tuple[Backbone, list[str] | None]:
    """The network as a backbone, and its targets as roles of it.

    Args:
        net: any network with linear layers or convolutions.
        targets: roles (`q`), or patterns of names of modules (`*.fc1`), or both; None leaves them to the method.
        heads: patterns of what is trained as it is, and so is no target.

    Raises:
        BadInput: a target is no role and matches no layer.
    """
    family = family_of(net)
    roles = dict(_roles(family))
    names = None
    if targets is not None:
        names = []
        for target in targets:
            if target in roles:
                names.append(target)
                continue
            paths = _matches(net, target, heads)
            if not paths:
                layers = [path for path, module in net.named_modules() if isinstance(module, _LAYERS)]
                layers_text = f"It has {', '.join(layers[:4])} ... ({len(layers)} layers)"
                raise BadInput(
                    f"targets: '{target}' matches no layer{nearest(target, [*roles, *layers])} {layers_text}"
                )
            roles |= {path: Role(path) for path in paths}
            names += [path for path in paths if path not in names]
    roles.setdefault("block", Role("(no block)"))
    name = type(net).__name__
    return Backbone(name=name, net=net, roles=roles, head=None, prefix_tokens=None, preprocess=None), names


def _matches(net: nn.Module, pattern: str, heads: Sequence[str]) -> list[str]:
    """The layers that a pattern names; `*` alone is all of them, without the heads."""
    paths = []
    for path, module in net.named_modules():
        is_layer = isinstance(module, _LAYERS) or (path == pattern and hasattr(module, "weight"))
        is_head = any(fnmatchcase(path, head) or path.startswith(f"{head}.") for head in heads)
        if is_layer and not is_head and fnmatchcase(path, pattern):
            paths.append(path)
    return paths


def _roles(family: str | None) -> Mapping[str, Role]:
    if family == "llama":
        from glorabench.backbones.llama import LLAMA

        return LLAMA
    if family is not None:
        from glorabench.backbones.vision import CONVNEXT, VIT

        return VIT if family == "vit" else CONVNEXT
    return {}
