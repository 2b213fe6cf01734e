"""Backbone: a network and the roles of its layers. Methods name roles, and so never an architecture."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from glorabench.backbones.layer_kinds import out_width
from glorabench.errors import BadInput, nearest
from glorabench.inputs import Preprocess, TextInputs

_NO_PATH = "its blocks have no feed-forward path that is a part of its own"
_NO_ATTENTION = "its blocks have no attention that is a part of its own"
ABSENT = {  # why a network may lack a role
    **dict.fromkeys(("mlp", "in2", "out2"), _NO_PATH),
    **dict.fromkeys(("attn", "in1", "out1"), _NO_ATTENTION),
    "norm1": "no norm stands at its attention",
    "norm2": "no norm stands at a feed-forward path",
    "block": "it has no blocks that repeat and give one tensor",
    **dict.fromkeys(
        ("q", "k", "v"), "it has no attention whose queries, keys and values are known rows (qkv is the whole)"
    ),
}


@dataclass(frozen=True)
class Site:
    """One place that a method can adapt.

    `rows` selects output rows if the role is a part of a fused layer (timm's qkv); None is the whole layer.
    `depth` is the index of the block that holds the layer or that comes next after it: -1 for the stem, the number of
    blocks for layers after the last one. The output has `width` features along its `axis`. `takes_bias` is False if the
    network reads the weight and adds a bias of its own, so that a bias of the layer would have no effect.
    """

    path: str
    role: str
    depth: int
    width: int
    axis: int = -1
    rows: slice | None = None
    takes_bias: bool = True


@dataclass(frozen=True)
class Role:
    """Where a role lives.

    Args:
        pattern: module path with `*` for indices; several paths with `|` between them.
        part: which part of a fused layer it is, of how many `parts`; None is the whole layer.
        stem: it comes before the first block.
        axis: where the features are in its output: -1, or 1 for images.
    """

    pattern: str
    part: int | None = None
    parts: int = 1
    stem: bool = False
    axis: int = -1

    def find(self, paths: Iterable[str]) -> list[str]:
        """Every path that this role names."""
        patterns = (re.escape(pattern).replace(r"\*", r"\d+") for pattern in self.pattern.split("|"))
        regex = re.compile("|".join(patterns))
        return [path for path in paths if regex.fullmatch(path)]


@dataclass(frozen=True)
class Places:
    """Where a role lives in one network: its sites in order, for a network that no table of patterns is written for."""

    sites: tuple[Site, ...]


@dataclass
class Backbone:
    """A network, the roles of its layers, and the facts a run needs about it.

    Args:
        name: its name in tables.
        net: maps a batch of inputs to logits.
        roles: role -> where it lives, by a pattern or site by site.
        head: path of the task classifier, an `nn.Linear`; None for a model that is trained as it is.
        prefix_tokens: tokens before the first patch token; None when the network has no class token.
        preprocess: derived from the checkpoint, overridable, recorded; None for a model that reads tokens.
        weights: provenance of the weights: {"source", "sha256"}.
        shortcuts: exact shortcuts that the network takes, for the record.
        attend: attention of the network's own modules for fewer queries or more keys, if it has such a form.
        prepend: the network's trunk with prompts in front of all tokens, if it has such a form.
        prompt_tokens: how many positions of every text the prompts of a method take.
        tokenizer: of a model that reads tokens, as transformers has it; None where none is at hand.
        text: how a language model reads prompts; None for other models.
        is_standard: the network is of the class that the roles were written for; with another class, one forward pass
            tests whether a method fits.
    """

    name: str
    net: nn.Module
    roles: Mapping[str, Role | Places]
    head: str | None
    prefix_tokens: int | None
    preprocess: Preprocess | None
    weights: dict[str, str | None] = field(default_factory=dict)
    shortcuts: dict[str, str] = field(default_factory=dict)
    attend: Callable[..., Any] | None = None
    prepend: Callable[..., Any] | None = None
    prompt_tokens: int = 0
    is_standard: bool = True
    tokenizer: Any = None
    text: TextInputs | None = None

    @property
    def reads(self) -> str:
        """What the network reads: images or tokens."""
        return "tokens" if self.preprocess is None else "images"

    def sites(self, targets: Iterable[str]) -> list[Site]:
        """Every site of these roles, in the order of the network.

        Raises:
            BadInput: a role is unknown to this backbone or names nothing in it, or two roles share rows.
        """
        paths = [path for path, _ in self.net.named_modules()]
        sites: list[Site] = []
        for target in targets:
            if target not in self.roles:
                reason = f": {ABSENT[target]}" if target in ABSENT else nearest(target, self.roles)
                raise BadInput(f"backbone {self.name} has no role '{target}'{reason}")
            role = self.roles[target]
            matches = role.sites if isinstance(role, Places) else self._sites_of(target, role, paths)
            if not matches:
                raise BadInput(f"targets: role '{target}' matches no layer of {self.name}")
            sites += matches
        order = {path: i for i, path in enumerate(paths)}
        sites.sort(key=lambda site: (order[site.path], site.rows.start if site.rows else 0))
        for first, second in pairwise(sites):
            if first.path == second.path and (
                first.rows is None or second.rows is None or second.rows.start < first.rows.stop
            ):
                raise BadInput(f"targets: '{first.role}' and '{second.role}' overlap in {first.path}; name it once")
        return sites

    def _sites_of(self, name: str, role: Role, paths: Sequence[str]) -> list[Site]:
        """The sites of a role that a pattern describes."""
        depths, sites = self._depths(paths), []
        for path in role.find(paths):
            rows, depth = self._rows(path, role), -1 if role.stem else depths[path]
            sites.append(Site(path, name, depth, self._width(path, rows, depth, depths), role.axis, rows))
        return sites

    def _depths(self, paths: Sequence[str]) -> dict[str, int]:
        """How many blocks end before each path begins."""
        blocks = set(self.paths_of("block", paths))
        depth, current, depths = 0, None, {}
        for path in paths:
            if current is not None and not path.startswith(f"{current}."):
                depth, current = depth + 1, None
            if path in blocks:
                current = path
            depths[path] = depth
        return depths

    def paths_of(self, name: str, paths: Iterable[str]) -> list[str]:
        """Those of `paths` that have a role; none where the network lacks the role."""
        role = self.roles.get(name)
        if role is None:
            return []
        if isinstance(role, Role):
            return role.find(paths)
        places = {site.path for site in role.sites}
        return [path for path in paths if path in places]

    def _rows(self, path: str, role: Role) -> slice | None:
        if role.part is None:
            return None
        step = out_width(self.net.get_submodule(path)) // role.parts
        return slice(role.part * step, (role.part + 1) * step)

    def _width(self, path: str, rows: slice | None, depth: int, depths: Mapping[str, int]) -> int:
        """The output features of a layer; for a block or a part of one, the features of the stream that it adds to."""
        if rows is not None:
            return rows.stop - rows.start
        layer = self.net.get_submodule(path)
        if isinstance(getattr(layer, "weight", None), Tensor):
            return out_width(layer)
        norms = [p for p in self.paths_of("norm2", depths) if depths[p] == depth]
        weight = getattr(self.net.get_submodule(norms[0]), "weight", None) if norms else None
        if not isinstance(weight, Tensor):
            kind = type(self.net.get_submodule(path)).__name__
            raise BadInput(f"targets: {path} of {self.name} is a {kind}, which has no weights to adapt: leave it out")
        return len(weight)

    def set_training(self, training: bool) -> None:
        """Training or evaluation mode. Batch norms keep the statistics of the pretraining, for no run saves others."""
        self.net.train(training)
        for module in self.net.modules():
            if isinstance(module, _BatchNorm):
                module.eval()

    def replace(self, path: str, module: nn.Module) -> None:
        """Put `module` at `path`."""
        parent, _, name = path.rpartition(".")
        setattr(self.net.get_submodule(parent), name, module)

    @property
    def classifier(self) -> nn.Linear | None:
        """The task head."""
        if self.head is None:
            return None
        head = self.net.get_submodule(self.head)
        assert isinstance(head, nn.Linear)
        return head

    def set_head(self, classes: int) -> None:
        """A fresh linear head for `classes` classes: weight N(0, 0.02²), bias 0 (the ViT convention).

        Raises:
            BadInput: the model is trained as it is.
        """
        old = self.classifier
        if old is None or self.head is None:
            raise BadInput(f"backbone {self.name} has no classification head: choose vit_mini, vit_b16 or convnext_b")
        head = nn.Linear(old.in_features, classes, device=old.weight.device, dtype=old.weight.dtype)
        nn.init.trunc_normal_(head.weight, std=0.02)
        nn.init.zeros_(head.bias)
        self.replace(self.head, head)

    def head_parameters(self) -> list[nn.Parameter]:
        """The parameters of the task head; none if there is no such head."""
        return [] if self.classifier is None else list(self.classifier.parameters())

    def features(self, x: Tensor) -> Tensor:
        """The input of the head: batch x head.in_features."""
        inputs: list[Tensor] = []
        assert self.classifier is not None
        hook = self.classifier.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
        try:
            self.net(x)
        finally:
            hook.remove()
        return inputs[0]

    def trunk_is_frozen(self) -> bool:
        """True when nothing outside the head is trainable, so that features are constants."""
        head = {id(p) for p in self.head_parameters()}
        return not any(p.requires_grad and id(p) not in head for p in self.net.parameters())
