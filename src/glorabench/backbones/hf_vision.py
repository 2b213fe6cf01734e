"""Image models of Hugging Face's transformers (ViT, DINOv2, Swin, SigLIP and others): images in, logits out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForImageClassification, PretrainedConfig

from glorabench.backbones.base import Backbone
from glorabench.backbones.calls import record_calls
from glorabench.backbones.hf_folder import (
    RESAMPLING_ARGUMENT,
    checked_sha256,
    quiet_transformers,
    takes_resampling,
)
from glorabench.backbones.role_patterns import apply_patterns
from glorabench.backbones.structure import find_roles
from glorabench.backbones.weights import NO_CHOICE, UNDECIDED
from glorabench.backbones.wrapping import check_finite
from glorabench.errors import BadInput, first_line, nearest
from glorabench.inputs import Preprocess

HEAD = "classifier"
# of a checkpoint: the heads of its pretraining, and the half that reads text
_DROPPED = ("classifier.", "pooler.", "text_model.", "logit_", "vision_model.head.", "lm_head.", "decoder.")
_VISION_TOWER = {r"^(embeddings|encoder|post_layernorm|head)\.": r"vision_model.\1."}  # old name: new name
_DROPPED_ANYWHERE = (".pooler.", ".mask_token", ".head.")


class _ImageLogits:
    """What is put in front of a class of transformers: images alone are read, logits alone are given."""

    resamples_positions = False

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch x classes) of images (batch x 3 x side x side)."""
        more = {RESAMPLING_ARGUMENT: True} if self.resamples_positions else {}
        return super().forward(pixel_values=images, **more).logits  # type: ignore[misc]

    def reset_classifier(self, classes: int) -> None:
        """A fresh head, of which the model's config knows."""
        net = cast(Any, self)
        net.num_labels = net.config.num_labels = classes
        net.classifier = nn.Linear(net.classifier.in_features, classes)


def hf_vision_backbone(
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
    """Build an image classifier of transformers with a placeholder head of one class, and find the roles of its layers.

    Args:
        name: its name in tables.
        model: a type such as `vit`, whose fields `model_args` gives, or the name of a checkpoint of the hub.
        family: `auto`: methods adapt by default what their lists name and the model has.
        weights_from: a folder with `config.json` and `*.safetensors`, `hub`, or None for random initialisation.
        sha256: expected hash of the folder (see `checksum.sha256_of`); None accepts any and records it.
        drop_path: rate of the last block, growing linearly from 0, of models that have it.
        image_size: side of the images in pixels; None is that of the checkpoint. Positions are resampled.
        preprocess: size, mean, std and interpolation; missing ones are 0.5, 0.5 and bicubic, and the size of the model.
        model_args: fields of the model's config.
        roles: role -> patterns of names of modules (see `role_patterns.apply_patterns`); they replace what is found.

    Raises:
        BadInput: an unknown model, one that classifies no images, a value that it does not take, patterns that match
            nothing, or weights that are missing, altered or of another shape.
    """
    config = _config(model, weights_from, dict(model_args or {}), drop_path)
    own_size = _own_size(config)
    values = dict(preprocess or {})
    images = Preprocess(
        size=int(image_size or values.get("size") or own_size or 224),
        mean=tuple(values.get("mean") or (0.5, 0.5, 0.5)),
        std=tuple(values.get("std") or (0.5, 0.5, 0.5)),
        interpolation=str(values.get("interpolation") or "bicubic"),
    )
    net, provenance = _network(config, model, weights_from, sha256)
    if own_size not in (None, images.size) and takes_resampling(type(net).__bases__[1]):
        net.resamples_positions = True
        provenance["resampled"] = f"positions, of each image, from {own_size} to {images.size} pixels a side"
    places = find_roles(net, record_calls(net, images.size), HEAD)
    return Backbone(
        name=name,
        net=net,
        roles=apply_patterns(net, places, roles or {}),
        head=HEAD,
        prefix_tokens=None,
        preprocess=images,
        weights=provenance,
        is_standard=False,
    )


def _config(model: str | None, weights_from: str | None, fields: dict[str, Any], drop_path: float) -> PretrainedConfig:
    """The config of a model, with one class.

    Raises:
        BadInput: there is no such model, or it has no such field or value.
    """
    if not model:
        raise BadInput("backbone=hf_vision needs a model: backbone.model=FOLDER, or a type such as vit or dinov2")
    if model == "siglip_vision_model" or (model == "siglip" and "vision_config" not in fields):
        model, fields = "siglip", {"vision_config": fields}
    try:
        if model in CONFIG_MAPPING:
            config = CONFIG_MAPPING[model](**fields)
        else:
            config = AutoConfig.from_pretrained(model, local_files_only=weights_from != "hub", **fields)
        config.num_labels = 1
        if hasattr(config, "drop_path_rate"):
            config.drop_path_rate = drop_path
        elif drop_path:
            raise BadInput(f"backbone.model={model} has no drop-path: train.drop_path=0")
    except BadInput:
        raise
    except Exception as error:  # of transformers' code: no such name, a value of another type
        raise BadInput(
            f"backbone.model={model} is no folder, no type of transformers and no checkpoint that is here "
            f"({first_line(error)}){nearest(model, CONFIG_MAPPING)} A hub's name needs backbone.weights_from=hub"
        ) from error
    return config


def _own_size(config: PretrainedConfig) -> int | None:
    """Pixels of a side of the images that a model is made for."""
    size = getattr(getattr(config, "vision_config", config), "image_size", None)
    return int(size[0] if isinstance(size, list | tuple) else size) if size else None


def _network(
    config: PretrainedConfig, model: str | None, weights_from: str | None, sha256: str | None
) -> tuple[Any, dict[str, str | None]]:
    """The network and the provenance of its weights.

    Raises:
        BadInput: it classifies no images, its head is no linear layer, or its weights are not what they should be.
    """
    mapping = AutoModelForImageClassification._model_mapping
    if type(config) not in mapping:
        raise BadInput(
            f"backbone.model={model} is a {type(config).__name__}, of which transformers has no image classifier"
        )
    base: Any = mapping[type(config)]
    kind: Any = type(base.__name__, (_ImageLogits, base), {"__module__": base.__module__})
    if torch.get_default_device().type == "meta":
        net, provenance = kind(config), {"source": "none (meta device)", "sha256": None}
    elif weights_from is None:
        net, provenance = kind(config), {"source": "random initialisation", "sha256": None}
    elif weights_from == UNDECIDED:
        raise BadInput(NO_CHOICE)
    else:
        net, provenance = _load(kind, config, model if weights_from == "hub" else weights_from, weights_from, sha256)
    if not isinstance(getattr(net, HEAD, None), nn.Linear):
        raise BadInput(f"backbone.model={model} has no linear layer named {HEAD}: choose another model")
    return net.eval(), provenance


def _load(
    kind: Any, config: PretrainedConfig, place: str | None, source: str, sha256: str | None
) -> tuple[Any, dict[str, str | None]]:
    """A network with the weights of a folder, or of the hub where that is asked for."""
    folder = Path(str(place)).expanduser()
    digest = None
    if source != "hub":
        if not any(folder.glob("*.safetensors")):
            raise BadInput(f"backbone.weights_from: no *.safetensors in {folder}: give a folder of save_pretrained")
        digest = checked_sha256(folder, sha256)
    try:
        with quiet_transformers():
            net, info = kind.from_pretrained(
                place if source == "hub" else folder,
                config=config,
                local_files_only=source != "hub",
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **({"key_mapping": _VISION_TOWER} if _is_bare_tower(folder, config) else {}),
            )
    except Exception as error:  # whatever transformers meets in a folder that is none of its models
        raise BadInput(f"{place} holds no {kind.__name__} that can be read ({first_line(error)})") from error
    net.__dict__.pop("_weight_conversions", None)  # else an export would go back to the names of the file
    absent = [key for key in info["missing_keys"] if not key.startswith(f"{HEAD}.")]
    misshapen = [entry[0] for entry in info["mismatched_keys"] if not entry[0].startswith(f"{HEAD}.")]
    unknown = [key for key in info["unexpected_keys"] if not _is_dropped(key)]
    if faults := [*misshapen, *absent, *unknown]:
        raise BadInput(
            f"{place} holds another architecture than a {kind.__name__} of these sizes ({len(misshapen)} tensors of "
            f"another shape, {len(absent)} missing, {len(unknown)} unknown; first: {faults[0]})"
        )
    check_finite(dict(net.named_parameters()), str(place))
    unused = [key for key in info["unexpected_keys"] if _is_dropped(key)]
    notes = {"dropped": f"{len(unused)} tensors, such as {unused[0]}"} if unused else {}
    return net, {"source": f"hub: {place}" if source == "hub" else folder.name, "sha256": digest, **notes}


def _is_bare_tower(folder: Path, config: PretrainedConfig) -> bool:
    """Whether a folder holds the image tower of a SigLIP by itself, whose names lack a prefix."""
    if not hasattr(config, "vision_config"):
        return False
    names: list[str] = []
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            names += file.keys()
    return bool(names) and not any(name.startswith("vision_model.") for name in names)


def _is_dropped(key: str) -> bool:
    return key.startswith(_DROPPED) or any(part in f".{key}" for part in _DROPPED_ANYWHERE)
