"""Any model of timm with linear layers or convolutions: its roles are found by what it calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
from timm.layers.attention import Attention
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from glorabench.backbones import vit_attention, weights
from glorabench.backbones.base import Backbone
from glorabench.backbones.calls import record_calls
from glorabench.backbones.role_patterns import apply_patterns
from glorabench.backbones.structure import find_roles
from glorabench.backbones.vision import check_model, preprocess_of
from glorabench.errors import BadInput, first_line


def timm_backbone(
    name: str,
    model: str | None,
    family: str,  # noqa: ARG001 (read by configs: `by_family`)
    weights_from: str | None,
    sha256: str | None,
    drop_path: float,
    image_size: int | None = None,
    preprocess: Mapping[str, Any] | None = None,
    model_args: Mapping[str, Any] | None = None,
    roles: Mapping[str, Any] | None = None,
) -> Backbone:
    """Build a model of timm with a placeholder head of one class, load its trunk, and find the roles of its layers.

    Args:
        name: its name in tables.
        model: timm's name of the architecture; with `weights_from=hub` also the tag of the checkpoint.
        family: `auto`: methods adapt by default what their lists name and the model has.
        weights_from: `hub`, a local file, or None for random initialisation.
        sha256: expected hash of the weights file; None accepts any and records it.
        drop_path: rate of the last block, growing linearly from 0.
        image_size: side of the images in pixels; None is that of the checkpoint. Positions are resampled.
        preprocess: mean, std and interpolation; a missing value is that of the checkpoint.
        model_args: further arguments of the timm model.
        roles: role -> patterns of names of modules (see `role_patterns.apply_patterns`); they replace what is found.

    Raises:
        BadInput: an unknown model, one without a linear head or with two heads, a value that it does not take, patterns
            that match nothing, or weights that are missing, altered or of another shape.
    """
    model = _known_model(model)
    args = dict(model_args or {})
    image_size = image_size or args.get("img_size")
    net = _build(model, drop_path, image_size, args)
    head = _head_of(net, model)
    images = preprocess_of(net, {**({"size": image_size} if image_size else {}), **(preprocess or {})})
    provenance = weights.load_weights(net, head, name, model, weights_from, sha256)
    places = find_roles(net, record_calls(net, images.size), head)
    backbone = Backbone(
        name=name,
        net=net,
        roles=apply_patterns(net, places, roles or {}),
        head=head,
        prefix_tokens=getattr(net, "num_prefix_tokens", None),
        preprocess=images,
        weights=provenance,
        attend=vit_attention.attend if _has_plain_attention(net) else None,
        is_standard=False,
    )
    backbone.set_training(True)
    return backbone


def _known_model(model: str | None) -> str:
    """The name of a model, checked.

    Raises:
        BadInput: none is given, or timm has no such model or checkpoint.
    """
    if not model:
        raise BadInput("backbone=timm needs the name of a model: backbone.model=swin_tiny_patch4_window7_224")
    check_model(model)
    return model


def _build(model: str, drop_path: float, image_size: int | None, args: Mapping[str, Any]) -> nn.Module:
    """The network; an image size becomes an argument of those models that are built for one size.

    Raises:
        BadInput: the model does not take an argument or its value.
    """
    args = {"drop_path_rate": drop_path or None, **args}  # timm leaves out what is None
    if image_size:
        args |= {"img_size": image_size, "pretrained_cfg_overlay": {"input_size": (3, image_size, image_size)}}
    try:
        try:
            return timm.create_model(model, num_classes=1, **args)
        except TypeError as error:
            if not image_size or "img_size" not in str(error):
                raise
            return timm.create_model(model, num_classes=1, **{**args, "img_size": None})  # it takes images of any size
    except Exception as error:  # of timm's code: an argument that it lacks, a size that does not divide
        hint = "; train.drop_path=0 gives it none" if "drop_path" in str(error) else ""
        raise BadInput(
            f"backbone.model={model} cannot be built with these values ({first_line(error)}){hint}"
        ) from error


def _head_of(net: nn.Module, model: str) -> str:
    """The path of the classifier of a network.

    Raises:
        BadInput: it has none, several, or one that is no linear layer.
    """
    get_classifier: Any = getattr(net, "get_classifier", None)
    head: Any = get_classifier() if callable(get_classifier) else None
    advice = "choose a model with one linear head, such as vit_base_patch16_224"
    if isinstance(head, tuple | list | nn.ModuleList):
        raise BadInput(f"backbone.model={model} has {len(head)} heads, and a run trains one: {advice}")
    if not isinstance(head, nn.Module):
        raise BadInput(f"backbone.model={model} has no head: {advice}")
    paths = {id(module): path for path, module in net.named_modules()}
    linear = [module for module in head.modules() if isinstance(module, nn.Linear) and module.out_features == 1]
    if len(linear) != 1 or id(linear[0]) not in paths:
        raise BadInput(f"backbone.model={model} has a head of kind {type(head).__name__}, no linear layer: {advice}")
    return paths[id(linear[0])]


def _has_plain_attention(net: nn.Module) -> bool:
    """Whether prompts can be tokens: a plain ViT, whose tokens have no positions relative to each other."""
    return type(net) is VisionTransformer and all(
        type(getattr(block, "attn", None)) is Attention for block in net.blocks
    )
