"""A table of roles from the user: patterns of names of modules, in place of the roles that were found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from glorabench.backbones.base import Places, Site
from glorabench.backbones.layer_kinds import out_width
from glorabench.errors import BadInput, nearest

PATTERN_ROLES = (
    *("q", "k", "v", "qkv", "o", "fc1", "fc2", "gate", "up", "down", "norm1", "norm2", "stem", "stem_norm", "norm"),
    *("dwconv", "downsample", "downsample_norm", "conv", "linear", "squeeze"),
)


def apply_patterns(net: nn.Module, places: Mapping[str, Places], patterns: Mapping[str, Any]) -> dict[str, Places]:
    """The places of each role, where a table of patterns has replaced those that were found.

    Args:
        net: the network.
        places: that were found.
        patterns: role -> a pattern such as `blocks.*.attn.qkv`, several of them, or None for a role that there is not.
            `*` is any text. Equal parts of the rows are chosen by `[0/3]` behind a pattern: q of a fused q, k and v.

    Raises:
        BadInput: an unknown role, or a pattern that matches no layer.
    """
    table = dict(places)
    known = {site.path: site for role in places.values() for site in role.sites}
    for role, role_patterns in patterns.items():
        if role not in PATTERN_ROLES:
            raise BadInput(f"backbone.roles.{role}: there is no role '{role}'{nearest(role, PATTERN_ROLES)}")
        table.pop(role, None)
        if role_patterns is None:
            continue
        sites: list[Site] = []
        for pattern in [role_patterns] if isinstance(role_patterns, str) else role_patterns:
            sites += _sites(net, role, str(pattern), known)
        table[role] = Places(tuple(sites))
    return table


def _sites(net: nn.Module, role: str, pattern: str, known: Mapping[str, Site]) -> list[Site]:
    """The layers that a pattern names, or a part of each."""
    text, part, parts = _split(role, pattern)
    layers = {path: module for path, module in net.named_modules() if path and hasattr(module, "weight")}
    sites = []
    for path in (path for path in layers if fnmatchcase(path, text)):
        width = out_width(layers[path])
        axis = 1 if isinstance(layers[path], nn.Conv2d) else -1
        layer = known.get(path)
        depth, takes_bias = (0, True) if layer is None else (layer.depth, layer.takes_bias)
        site = Site(path, role, depth, width, axis, takes_bias=takes_bias)
        if parts > 1:
            if width % parts:
                raise BadInput(f"backbone.roles.{role}: {path} has {width} outputs, which are no {parts} equal parts")
            step = width // parts
            site = replace(site, width=step, rows=slice(part * step, (part + 1) * step))
        sites.append(site)
    if not sites:
        first = ", ".join(list(layers)[:3])
        raise BadInput(
            f"backbone.roles.{role}: '{pattern}' matches no layer{nearest(text, layers)[:120]} Its layers are "
            f"{first} and {max(len(layers) - 3, 0)} more (`glorabench backbone NAME` lists them)"
        )
    return sites


def _split(role: str, pattern: str) -> tuple[str, int, int]:
    """A pattern, and which of how many parts it asks for: `*.qkv[0/3]` is the first of three."""
    text, bracket, rest = pattern.partition("[")
    if not bracket:
        return text, 0, 1
    numbers = rest.removesuffix("]").split("/")
    if (
        len(numbers) != 2
        or not all(number.isdecimal() for number in numbers)
        or not 0 <= int(numbers[0]) < int(numbers[1])
    ):
        raise BadInput(f"backbone.roles.{role}: '{pattern}' is no pattern: a part is written [0/3]")
    return text, int(numbers[0]), int(numbers[1])
