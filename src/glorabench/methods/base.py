"""Method: the interface of a fine-tuning method, and how it is put into a backbone.

A method has hyper-parameters and says what happens at each site. Freezing the backbone and marking what is trained are
the same for all methods and are done here, by the identity of parameters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from itertools import groupby, pairwise
from typing import Any, final

from torch import Tensor, nn

from glorabench.backbones.base import Backbone, Site
from glorabench.backbones.layer_kinds import starts_with
from glorabench.backbones.precision import at_least_single
from glorabench.backbones.quantized import quantized_layers
from glorabench.errors import BadInput, check_whole_number
from glorabench.methods.reparam import LayerRows, Reparam, Reparametrized
from glorabench.methods.trial import try_forward


@dataclass(frozen=True)
class Method:
    """A fine-tuning method; the fields of a subclass are its hyper-parameters.

    Args:
        targets: the roles it adapts; empty for methods that train what is there already.
        blocks: indices of the blocks that it adapts and trains in, from 0; None is the whole network.
    """

    targets: tuple[str, ...]
    blocks: tuple[int, ...] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if isinstance(self.targets, str):
            raise BadInput(f"method.targets is a list of roles: method.targets=[{self.targets}]")
        if not self.targets and type(self).adapt is not Method.adapt:
            raise BadInput("method.targets is empty, so the method would train the head alone: name roles")
        object.__setattr__(self, "targets", tuple(self.targets))
        if self.blocks is not None:
            object.__setattr__(self, "blocks", _indices(self.blocks))
        for name, kind, value in ((f.name, f.type, getattr(self, f.name)) for f in fields(self)):
            if kind in (int, "int"):
                check_whole_number(f"method.{name}", value)
            if kind in (bool, "bool") and type(value) is not bool:
                raise BadInput(f"method.{name} must be true or false, got {value!r}")
            if kind in (float, "float") and not (type(value) in (int, float) and math.isfinite(value)):
                raise BadInput(f"method.{name} must be a number, got {value!r}")
            if name in ("dropout", "drop_path") and not 0 <= value < 1:
                raise BadInput(f"method.{name} must be a number from 0 to below 1, got {value!r}")
            if name in ("scale", "alpha") and value == 0:
                raise BadInput(f"method.{name}=0 leaves the method without effect: give another number")

    def sites(self, backbone: Backbone, roles: Iterable[str]) -> list[Site]:
        """The sites of these roles inside the blocks that the method adapts.

        Raises:
            BadInput: as `Backbone.sites`; or the backbone has no such block.
        """
        sites = backbone.sites(roles)
        if self.blocks is None:
            return sites
        blocks = self.block_paths(backbone)
        return [site for site in sites if any(starts_with(site.path, block) for block in blocks)]

    def block_paths(self, backbone: Backbone) -> list[str]:
        """The paths of the blocks that the method adapts, in the order of the network.

        Raises:
            BadInput: the backbone has no such block.
        """
        paths = backbone.paths_of("block", [path for path, _ in backbone.net.named_modules()])
        if self.blocks is None:
            return paths
        if not paths:
            raise BadInput(f"method.blocks: the blocks of {backbone.name} are not known: leave it null")
        if self.blocks[-1] >= len(paths):
            raise BadInput(f"method.blocks={list(self.blocks)}: {backbone.name} has the blocks 0 to {len(paths) - 1}")
        return [paths[index] for index in self.blocks]

    def _check_blocks(self, backbone: Backbone, sites: Sequence[Site]) -> None:
        """Refuse blocks that hold nothing of what the method adapts."""
        if self.blocks is not None and not sites:
            raise BadInput(
                f"method.blocks={list(self.blocks)}: {type(self).__name__} adapts nothing inside these blocks of "
                f"{backbone.name}: leave it null"
            )

    def _inside(self, backbone: Backbone, parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
        """Those of the parameters that lie in the blocks which the method adapts."""
        if self.blocks is None:
            return list(parameters)
        blocks = [backbone.net.get_submodule(path) for path in self.block_paths(backbone)]
        ids = {id(parameter) for block in blocks for parameter in block.parameters()}
        return [parameter for parameter in parameters if id(parameter) in ids]

    def adapted_roles(self, backbone: Backbone) -> tuple[str, ...]:
        """The roles whose layers `adapt` is given: the targets, unless a method acts at other places for a target."""
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
        """Freeze `backbone`, adapt its sites, and mark what is trained.

        Trained are exactly the parameters that are new (and do not refuse a gradient), those that `unfreeze` names, and
        the head.

        Raises:
            BadInput: no site matches, or nothing is trained, or the network does not use what was put in.
        """
        existing_ids = {id(p) for p in backbone.net.parameters()}
        roles = self.adapted_roles(backbone)
        if self.blocks is not None and roles:
            self._check_blocks(backbone, self.sites(backbone, roles))
        backbone.net.requires_grad_(False)
        shared = self.setup(backbone)
        unfrozen = self._inside(backbone, self.unfreeze(backbone))
        _check_quantized(backbone, unfrozen, type(self).__name__)
        sites = self.sites(backbone, roles)
        if not (sites or unfrozen):
            self._check_blocks(backbone, ())
        for outer, inner in pairwise(sites):
            if inner.path.startswith(f"{outer.path}."):
                raise BadInput(
                    f"targets: '{inner.role}' ({inner.path}) is inside '{outer.role}' ({outer.path}); name one of them"
                )
        for path, group in groupby(sites, key=lambda site: site.path):
            layer = backbone.net.get_submodule(path)
            parts = [(site, self.adapt(site, layer, shared)) for site in group]
            backbone.replace(path, _assemble(layer, parts))
        trainable = [p for p in backbone.net.parameters() if id(p) not in existing_ids and p.requires_grad]
        trainable += [*unfrozen, *backbone.head_parameters()]
        for parameter in trainable:
            parameter.requires_grad_(True)
        if not trainable:
            raise BadInput(f"{type(self).__name__} trains nothing on {backbone.name}: it has no head")
        if not backbone.is_standard:
            try_forward(backbone, dict.fromkeys(site.path for site in sites), type(self).__name__)


def _check_quantized(backbone: Backbone, parameters: Iterable[nn.Parameter], method_name: str) -> None:
    """Refuse to train weights of which only codes are there."""
    codes = {id(layer.weight) for layer in quantized_layers(backbone.net)}
    if any(id(parameter) in codes for parameter in parameters):
        raise BadInput(
            f"{method_name} trains the weights of {backbone.name} themselves, and quantised ones cannot be trained: "
            "choose another method, or backbone.quantize=null"
        )


def _indices(blocks: Any) -> tuple[int, ...]:
    """Indices of blocks.

    Raises:
        BadInput: they are none, or not in order: one configuration has one form.
    """
    is_list = isinstance(blocks, list | tuple) and len(blocks) > 0
    if not (is_list and all(type(n) is int and n >= 0 for n in blocks) and list(blocks) == sorted(set(blocks))):
        raise BadInput(
            f"method.blocks must be null or a list of indices from 0, in order, such as [10,11], got {blocks!r}"
        )
    return tuple(blocks)


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
    """The pretrained weight that a Reparam of `site` acts on, as a matrix (see `LayerRows`): o the rows of the site.

    It is in float32 where the network is of half precision, so that tensors made like it are.

    Raises:
        BadInput: the layer is of none of the `kinds`.
    """
    if not isinstance(layer, kinds):
        kinds_text = " or ".join(
            {nn.Linear: "linear layer", nn.Conv2d: "convolution"}.get(k, k.__name__) for k in kinds
        )
        kind = type(layer).__name__
        raise BadInput(
            f"role '{site.role}' ({site.path}) is a {kind}, this method needs a {kinds_text}: take it out of targets"
        )
    return at_least_single(LayerRows(layer, site.rows or slice(None)).weight.detach())


def like_of(backbone: Backbone) -> Tensor:
    """An empty tensor on the device of a backbone, in the dtype of what a method adds to it: float32 or better."""
    return at_least_single(next(backbone.net.parameters()).detach()[:0])


def fill_normal(matrix: Tensor, init: str, std: float) -> None:
    """Draw a matrix by `init`: `normal` is N(0, std²) cut at two std, `normal_uncut` cut at -2 and 2, as timm does."""
    bound = 2 * std if init == "normal" else 2.0
    nn.init.trunc_normal_(matrix, std=std, a=-bound, b=bound)


def check_bias(site: Site) -> None:
    """Refuse to change the bias of a layer whose weight alone the network reads.

    Raises:
        BadInput: naming the role.
    """
    if not site.takes_bias:
        raise BadInput(
            f"the method changes the bias of {site.path}, of which the network reads the weight alone, with a bias of "
            f"its own: take '{site.role}' out of targets"
        )


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
