"""Method: hyper-parameters, and what happens at each site; freezing and marking are done here, by identity."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from itertools import groupby, pairwise
from typing import Any, final

from torch import Tensor, nn

from glorabench.backbones.base import Backbone, Site
from glorabench.errors import BadInput, whole
from glorabench.methods.reparam import Reparam, Reparametrized, View
from glorabench.methods.trial import trial


@dataclass(frozen=True)
class Method:
    """A fine-tuning method; the fields of a subclass are its hyper-parameters.

    Args:
        targets: the roles it adapts; empty for methods that train what is there already.
    """

    targets: tuple[str, ...]

    def __post_init__(self) -> None:
        if isinstance(self.targets, str):
            raise BadInput(f"method.targets is a list of roles: method.targets=[{self.targets}]")
        if not self.targets and type(self).adapt is not Method.adapt:
            raise BadInput("method.targets is empty, so the method would train the head alone: name roles")
        object.__setattr__(self, "targets", tuple(self.targets))
        for name, kind, value in ((f.name, f.type, getattr(self, f.name)) for f in fields(self)):
            if kind in (int, "int"):
                whole(f"method.{name}", value)
            if kind in (bool, "bool") and type(value) is not bool:
                raise BadInput(f"method.{name} must be true or false, got {value!r}")
            if kind in (float, "float") and not (type(value) in (int, float) and math.isfinite(value)):
                raise BadInput(f"method.{name} must be a number, got {value!r}")
            if name in ("dropout", "drop_path") and not 0 <= value < 1:
                raise BadInput(f"method.{name} must be a number from 0 to below 1, got {value!r}")
            if name in ("scale", "alpha") and value == 0:
                raise BadInput(f"method.{name}=0 leaves the method without effect: give another number")

    def replaced(self) -> tuple[str, ...]:
        """The roles whose layers `adapt` is given: the targets, unless a target is served by other places."""
        return self.targets

    def setup(self, backbone: Backbone) -> Any:
        """What the layers share, passed to every `adapt`; nothing by default."""
        return None

    def adapt(self, site: Site, layer: nn.Module, shared: Any) -> nn.Module:
        """The Reparam (or a module that replaces the layer) for one site."""
        raise NotImplementedError(f"{type(self).__name__} has targets but no adapt()")

    def unfreeze(self, backbone: Backbone) -> Iterable[nn.Parameter]:
        """Parameters of the backbone itself that the method trains; none by default."""
        return ()

    @final
    def inject(self, backbone: Backbone) -> None:
        """Freeze `backbone`, adapt its sites, and mark as trainable exactly: what did not exist before (and does
        not refuse a gradient), what `unfreeze` names, and the head.

        Raises:
            BadInput: nothing matched, or nothing became trainable, or the network does not use what was put in.
        """
        before = {id(p) for p in backbone.net.parameters()}
        backbone.net.requires_grad_(False)
        shared = self.setup(backbone)
        named = list(self.unfreeze(backbone))
        sites = backbone.sites(self.replaced())
        for one, two in pairwise(sites):
            if two.path.startswith(f"{one.path}."):
                raise BadInput(
                    f"targets: '{two.role}' ({two.path}) is inside '{one.role}' ({one.path}); name one of them"
                )
        for path, group in groupby(sites, key=lambda site: site.path):
            layer = backbone.net.get_submodule(path)
            parts = [(site, self.adapt(site, layer, shared)) for site in group]
            backbone.replace(path, _assemble(layer, parts))
        trained = [p for p in backbone.net.parameters() if id(p) not in before and p.requires_grad]
        trained += [*named, *backbone.head_parameters()]
        for parameter in trained:
            parameter.requires_grad_(True)
        if not trained:
            raise BadInput(f"{type(self).__name__} trains nothing on {backbone.name}: it has no head")
        if not backbone.usual:
            trial(backbone, dict.fromkeys(site.path for site in sites), type(self).__name__)


def _assemble(layer: nn.Module, parts: list[tuple[Site, nn.Module]]) -> nn.Module:
    """One module for all the sites of a layer: Reparams share a wrapper, a module replaces the layer."""
    reparams = [(site.rows, module) for site, module in parts if isinstance(module, Reparam)]
    if len(reparams) == len(parts):
        return Reparametrized(layer, reparams)
    (site, module), *_ = parts
    if site.rows is not None:
        raise BadInput(
            f"{type(module).__name__} takes the place of a whole layer, role '{site.role}' is a part of {site.path}: "
            "name the whole (qkv)"
        )
    return module


def weight_of(site: Site, layer: nn.Module, kinds: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv2d)) -> Tensor:
    """The pretrained weight that a Reparam of `site` acts on, as a matrix (see `View`): o the rows of the site.

    Raises:
        BadInput: the layer is of none of the `kinds`.
    """
    if not isinstance(layer, kinds):
        known = " or ".join({nn.Linear: "linear layer", nn.Conv2d: "convolution"}.get(k, k.__name__) for k in kinds)
        kind = type(layer).__name__
        raise BadInput(
            f"role '{site.role}' ({site.path}) is a {kind}, this method needs a {known}: take it out of targets"
        )
    return View(layer, site.rows or slice(None)).weight.detach()


def fill_normal(matrix: Tensor, init: str, std: float) -> None:
    """Draw a matrix by `init`: `normal` is N(0, std²) cut at two std, `normal_uncut` cut at -2 and 2, as timm does."""
    bound = 2 * std if init == "normal" else 2.0
    nn.init.trunc_normal_(matrix, std=std, a=-bound, b=bound)


def check_rank(rank: int, site: Site, weight: Tensor) -> None:
    """Refuse a rank that no matrix of this shape can have.

    Raises:
        BadInput: with the largest one that it can.
    """
    o, i = weight.shape
    if rank > min(o, i):
        raise BadInput(
            f"method.rank={rank} is larger than role '{site.role}' ({site.path}) allows: its weight is {o} x {i}, "
            f"so at most {min(o, i)}"
        )
