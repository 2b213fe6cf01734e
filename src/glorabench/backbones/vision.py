"""timm's ViT and ConvNeXt: two role tables and one builder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import timm
import torch
from timm.data.config import resolve_data_config
from timm.layers.attention import Attention
from timm.models.convnext import ConvNeXt
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn

from glorabench.backbones import vit_attention, vit_mini, weights
from glorabench.backbones.base import Backbone, Role
from glorabench.errors import BadInput, nearest, one_of
from glorabench.inputs import Preprocess

VIT = {
    "stem": Role("patch_embed.proj", stem=True, axis=1),
    "block": Role("blocks.*"),
    "norm1": Role("blocks.*.norm1"),
    "in1": Role("blocks.*.norm1"),
    "attn": Role("blocks.*.attn"),
    "qkv": Role("blocks.*.attn.qkv"),
    "q": Role("blocks.*.attn.qkv", 0, 3),
    "k": Role("blocks.*.attn.qkv", 1, 3),
    "v": Role("blocks.*.attn.qkv", 2, 3),
    "o": Role("blocks.*.attn.proj"),
    "out1": Role("blocks.*.drop_path1"),
    "norm2": Role("blocks.*.norm2"),
    "in2": Role("blocks.*.norm2"),
    "mlp": Role("blocks.*.mlp"),
    "fc1": Role("blocks.*.mlp.fc1"),
    "fc2": Role("blocks.*.mlp.fc2"),
    "out2": Role("blocks.*.drop_path2"),
    "norm": Role("norm"),
}
CONVNEXT = {
    "stem": Role("stem.0", stem=True, axis=1),
    "stem_norm": Role("stem.1", stem=True, axis=1),
    "block": Role("stages.*.blocks.*", axis=1),
    "dwconv": Role("stages.*.blocks.*.conv_dw", axis=1),
    "norm2": Role("stages.*.blocks.*.norm"),
    "in2": Role("stages.*.blocks.*.norm"),
    "mlp": Role("stages.*.blocks.*.mlp"),
    "fc1": Role("stages.*.blocks.*.mlp.fc1"),
    "fc2": Role("stages.*.blocks.*.mlp.fc2"),
    "out2": Role("stages.*.blocks.*.mlp"),
    "downsample_norm": Role("stages.*.downsample.0", axis=1),
    "downsample": Role("stages.*.downsample.1", axis=1),
    "norm": Role("head.norm", axis=1),
}
FAMILIES: Mapping[str, tuple[Mapping[str, Role], str]] = {
    "vit": (VIT, "head"),
    "convnext": (CONVNEXT, "head.fc"),
}
LAST_BLOCK = ("class_token", "all")
_ = vit_mini.vit_mini  # importing the module registers the model with timm


def vision_backbone(
    name: str,
    model: str,
    family: str,
    weights_from: str | None,
    sha256: str | None,
    drop_path: float,
    preprocess: Mapping[str, Any] | None,
    last_block: str = "all",
    model_args: Mapping[str, Any] | None = None,
) -> Backbone:
    """Build a timm model with a placeholder head of one class and load its trunk.

    Args:
        name: its name in tables.
        model: timm's name of the architecture; with `weights_from=hub` also the tag of the checkpoint. A name alone
            never selects weights.
        family: `vit` or `convnext`, the role table.
        weights_from: `embedded`, `hub`, a local file, or None for random initialisation.
        sha256: expected hash of the weights file; None accepts any and records it.
        drop_path: rate of the last block, growing linearly from 0.
        preprocess: size, mean, std and interpolation of the checkpoint; a missing value is timm's for the model.
        last_block: `class_token` computes the last block of a ViT only for the token that its head reads (exact);
            `all` computes it for every token.
        model_args: further arguments of the timm model.

    Raises:
        BadInput: unknown model or family, a model that is not of the family, or weights that are missing, altered or of
            another shape.
    """
    if family not in FAMILIES:
        raise BadInput(f"backbone.family '{family}' is unknown{nearest(family, FAMILIES)}")
    one_of("backbone.last_block", last_block, LAST_BLOCK)
    check_model(model)
    net = timm.create_model(model, num_classes=1, drop_path_rate=drop_path, **dict(model_args or {}))
    head = FAMILIES[family][1]
    roles = _roles(net, model, family)
    images = preprocess_of(net, dict(preprocess or {}))
    provenance = weights.load_weights(net, head, name, model, weights_from, sha256)
    is_standard = _is_standard(net)
    class_token_only = last_block == "class_token" and vit_attention.compute_class_token_only(net)
    return Backbone(
        name=name,
        net=net,
        roles=roles,
        head=head,
        prefix_tokens=getattr(net, "num_prefix_tokens", None),
        preprocess=images,
        weights=provenance,
        shortcuts={"last_block": "class_token" if class_token_only else "all"} if family == "vit" else {},
        attend=vit_attention.attend if isinstance(net, VisionTransformer) else None,
        is_standard=is_standard,
    )


def _roles(net: nn.Module, model: str, family: str) -> Mapping[str, Role]:
    """The roles of a network of the family.

    Raises:
        BadInput: it has no such blocks, or its head is no linear layer.
    """
    roles, head = FAMILIES[family]
    layers = dict(net.named_modules())
    if not roles["block"].find(layers):
        fault = f"no blocks named {roles['block'].pattern}"
    elif not isinstance(layers.get(head), nn.Linear):
        fault = f"no linear layer named {head}"
    else:
        fault = ""
    if fault:
        raise BadInput(
            f"backbone.model={model} is a {type(net).__name__} with {fault}, so it is none of the family '{family}' "
            f"(backbone.family): choose a model of timm's that is, such as vit_base_patch16_224 or convnext_base"
        )
    if any(getattr(module, "use_conv_mlp", False) for module in layers.values()):
        roles = {name: replace(role, axis=1) for name, role in roles.items()}  # a ConvNeXt that stays channels-first
    if isinstance(layers.get("norm"), nn.Identity) and isinstance(layers.get("fc_norm"), nn.LayerNorm):
        roles = {**roles, "norm": Role("fc_norm")}  # a ViT that averages its tokens normalises the average
    return roles


def _is_standard(net: nn.Module) -> bool:
    """Whether a network is of a class that the role tables were written for, down to its blocks."""
    if type(net) is VisionTransformer:
        return all(type(block) is Block and type(block.attn) is Attention for block in net.blocks)
    return type(net) is ConvNeXt


def check_model(model: str) -> None:
    """Refuse a model or a tag that timm does not have. Only a download needs a tag.

    Raises:
        BadInput: naming the nearest one.
    """
    architecture, _, tag = model.partition(".")
    if not timm.is_model(architecture):
        names = timm.list_models(f"*{architecture.split('_')[0]}*") or timm.list_models()
        raise BadInput(f"timm has no model '{architecture}'{nearest(architecture, names)[:300]}")
    tags = [name.partition(".")[2] for name in timm.list_models(f"{architecture}.*", pretrained=True)]
    if tag and tag not in tags:
        raise BadInput(f"timm's {architecture} has no checkpoint '{tag}'{nearest(tag, tags)}")


def preprocess_of(net: torch.nn.Module, overrides: dict[str, Any]) -> Preprocess:
    """How images are prepared for a network: as its checkpoint wants it, where `overrides` says nothing else.

    Raises:
        BadInput: the network is built for images of another size.
    """
    config = resolve_data_config({}, model=net)
    preprocess = Preprocess(
        size=int(overrides.get("size") or config["input_size"][-1]),
        mean=tuple(overrides.get("mean") or config["mean"]),
        std=tuple(overrides.get("std") or config["std"]),
        interpolation=str(overrides.get("interpolation") or config["interpolation"]),
    )
    patches: Any = getattr(net, "patch_embed", None)
    if getattr(patches, "strict_img_size", False) and patches.img_size != (preprocess.size, preprocess.size):
        raise BadInput(
            f"backbone.preprocess.size is {preprocess.size}, but the network takes "
            f"{' x '.join(map(str, patches.img_size))}: set it and backbone.model_args.img_size to the same"
        )
    return preprocess
