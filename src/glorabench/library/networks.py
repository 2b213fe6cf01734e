"""See a network of yours as a backbone: its layers by role, or by patterns of their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from torch import nn

from glorabench.backbones.base import Backbone, Places, Role
from glorabench.backbones.calls import record_calls
from glorabench.backbones.structure import find_roles
from glorabench.config.auto_family import AUTO
from glorabench.errors import BadInput, nearest

_FAMILIES = {"VisionTransformer": "vit", "ConvNeXt": "convnext", "LlamaForCausalLM": "llama"}  # by the name of a class
_LAYERS = (nn.Linear, nn.Conv2d)


def family_of(net: nn.Module) -> str | None:
    """The family whose roles a network has: `auto` for other networks of timm; None where nothing is known."""
    names = [kind.__name__ for kind in type(net).__mro__]
    family = next((_FAMILIES[name] for name in names if name in _FAMILIES), None)
    return family or (AUTO if _image_side(net) else None)


def _image_side(net: nn.Module) -> int | None:
    """Pixels of a side of the images of a network of timm."""
    config = getattr(net, "pretrained_cfg", None)
    size = config.get("input_size") if isinstance(config, Mapping) else None
    patches = getattr(getattr(net, "patch_embed", None), "img_size", None)
    side = patches or (size[1:] if size else None)
    return int(side[0]) if side else None


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
    roles = dict(_roles(net, heads))
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
        if is_layer and not _is_head(path, heads) and fnmatchcase(path, pattern):
            paths.append(path)
    return paths


def _is_head(path: str, heads: Sequence[str]) -> bool:
    return any(fnmatchcase(path, head) or path.startswith(f"{head}.") for head in heads)


def _roles(net: nn.Module, heads: Sequence[str]) -> Mapping[str, Role | Places]:
    family, side = family_of(net), _image_side(net)
    if family == "llama":
        from glorabench.backbones.llama import LLAMA

        return LLAMA
    if family == AUTO and side is not None:
        paths = {id(module): path for path, module in net.named_modules()}
        classifier = getattr(net, "get_classifier", lambda: None)()
        all_places = find_roles(net, record_calls(net, side), paths.get(id(classifier)))
        sites_of = {
            role: tuple(s for s in places.sites if not _is_head(s.path, heads)) for role, places in all_places.items()
        }
        return {role: Places(sites) for role, sites in sites_of.items() if sites}
    if family is not None:
        from glorabench.backbones.vision import CONVNEXT, VIT

        return VIT if family == "vit" else CONVNEXT
    return {}
