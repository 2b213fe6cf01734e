"""Backbones of family `auto`: a method adapts by default the roles of its list that the network has. Light: no torch.

The other families are named in a table of roles, and `${by_family:...}` has a list for each of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from glorabench.config.instantiate import roles_of_backbone
from glorabench.errors import BadInput, UnsuitableBackbone

AUTO = "auto"
_OF_LAYERS = ("qkv", "o", "fc1", "fc2", "dwconv", "conv", "linear", "downsample")  # roles that any method could adapt
_OF_TEXT = ("q", "k", "v", "o", "gate", "up", "down")  # those of a language model


def roles_of_node(node: Mapping[str, Any]) -> tuple[str, ...]:
    """The roles of the backbone of a config of family `auto`; torch is imported, and nothing is computed.

    Raises:
        BadInput: it names no model, or the model cannot be built.
    """
    if not (node.get("model") or node.get("weights_from") not in (None, "undecided", "hub")):
        raise BadInput("this backbone needs a model: backbone.model=NAME, such as backbone.model=resnet50")
    neutral = {"sha256": None, "drop_path": 0.0}  # what roles do not depend on
    shape = {key: neutral.get(key, value) for key, value in node.items()}
    return _roles_of_text(json.dumps(shape, sort_keys=True))


@lru_cache(maxsize=64)  # the runs of a sweep share few
def _roles_of_text(node: str) -> tuple[str, ...]:
    return roles_of_backbone(json.loads(node))


def list_for_roles(lists: Mapping[str, Any], roles: Sequence[str]) -> list[str]:
    """The roles that a method adapts by default on a network.

    Args:
        lists: family -> roles, of the method: `llama` is taken for language models, `vit` for other networks with
            attention, `convnext` for others with feed-forward layers, `conv` for those with neither. What is adapted in
            the self-attention of a decoder is adapted in its cross-attention, too.
        roles: of the network.

    Raises:
        UnsuitableBackbone: the network has none of them.
    """
    is_text = {"q", "up", "down"} <= set(roles)
    family = "llama" if is_text else "vit" if "qkv" in roles else "convnext" if "fc1" in roles else "conv"
    defaults = [str(role) for role in lists.get(family) or []]
    defaults += [f"cross_{role}" for role in defaults if f"cross_{role}" in roles]
    layers = [role for role in roles if role in (_OF_TEXT if is_text else _OF_LAYERS)]
    advice = f"choose of what it has with method.targets=[{','.join(layers)}]"
    if absent := [role for role in defaults if role in ("q", "k", "v") and role not in roles]:
        raise UnsuitableBackbone(
            f"by default the method adapts {' and '.join(absent)}, which this network has in one layer, qkv, in an "
            f"order that is not known: {advice}"
        )
    if targets := [role for role in defaults if role in roles]:
        return targets
    if family in lists and not defaults:  # a list that is empty on purpose, such as inputs of (IA)3
        return []
    if defaults:
        raise UnsuitableBackbone(
            f"by default the method adapts {', '.join(defaults)}, and this network has none of them: {advice}"
        )
    lacks = "no attention and no feed-forward layers" if family == "conv" else "no attention"
    raise UnsuitableBackbone(f"the method names no layers for a network that has {lacks}: {advice}")
