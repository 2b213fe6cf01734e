"""List the layers of a backbone and the roles of each; layers that repeat are one line."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from glorabench.backbones.base import Backbone
from glorabench.backbones.layer_kinds import is_norm, out_width

_SECOND = ("in1", "in2", "out1", "out2")  # roles of a place, which a layer has beside its own


@dataclass(frozen=True)
class LayerLine:
    """Layers that differ in their number alone.

    Args:
        path: their path, `*` for numbers.
        count: how many they are.
        kind: their class, or classes.
        shape: of their weights, the smallest to the largest; empty for a module without weights of its own.
        roles: of each; `q[0/3]` is the first third of the rows.
    """

    path: str
    count: int
    kind: str
    shape: str
    roles: str


def layer_lines(backbone: Backbone) -> list[LayerLine]:
    """The lines of a backbone, in the order of the network: every layer, and every other module with a role."""
    roles = _roles_of_paths(backbone)
    groups: dict[tuple[str, str], list[nn.Module]] = defaultdict(list)
    for path, module in backbone.net.named_modules():
        if path == backbone.head:
            roles[path] = ["the head"]
        if path in roles or isinstance(module, nn.Linear | nn.Conv2d) or is_norm(module):
            key = re.sub(r"(?<=\.)\d+(?=\.|$)", "*", path), ", ".join(roles.get(path, ["none"]))
            groups[key].append(module)
    return [
        LayerLine(path, len(modules), _kinds(modules), _shapes(modules), names)
        for (path, names), modules in groups.items()
    ]


def _roles_of_paths(backbone: Backbone) -> dict[str, list[str]]:
    """Path -> its roles, those of the whole layer first."""
    whole: dict[str, list[str]] = defaultdict(list)
    parts: dict[str, list[str]] = defaultdict(list)
    paths = [path for path, _ in backbone.net.named_modules()]
    for role in backbone.roles:
        if not backbone.paths_of(role, paths):
            continue
        for site in backbone.sites([role]):
            if site.rows is None:
                whole[site.path].append(role)
            else:
                rows = out_width(backbone.net.get_submodule(site.path))
                parts[site.path].append(f"{role}[{site.rows.start // site.width}/{rows // site.width}]")
    merged = {path: [*whole[path], *parts[path]] for path in {**whole, **parts}}
    return {path: sorted(names, key=lambda name: name in _SECOND) for path, names in merged.items()}


def _kinds(modules: Sequence[nn.Module]) -> str:
    return " or ".join(dict.fromkeys(type(module).__name__ for module in modules))


def _shapes(modules: Sequence[nn.Module]) -> str:
    weights = [getattr(module, "weight", None) for module in modules]
    shapes = sorted(
        {tuple(weight.shape) for weight in weights if weight is not None}, key=lambda shape: (len(shape), shape)
    )
    texts = [" x ".join(map(str, shape)) for shape in shapes]
    return "" if not texts else texts[0] if len(texts) == 1 else f"{texts[0]} to {texts[-1]}"
