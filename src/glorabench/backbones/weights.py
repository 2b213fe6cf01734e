"""Load weights: embedded, from a file, or from timm's hub if the config asks for it. They are hashed, never guessed.

Files are .safetensors, .npz or .pth, as their authors wrote them (ViT's .npz of JAX, MAE, ConvNeXt, timm's own), fitted
to timm's networks.
"""

from __future__ import annotations

import hashlib
import math
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.lib.npyio import NpzFile
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from glorabench.backbones import wrapping
from glorabench.backbones.wrapping import Notes, check_finite, strip_prefix
from glorabench.checksum import ASSETS, expected_sha256, sha256_of
from glorabench.errors import BadInput, first_line
from glorabench.files import check_regular

PICKLED = (".pth", ".pt", ".bin", ".ckpt")

UNDECIDED = "undecided"  # weights_from of a backbone that is for many models
NO_CHOICE = (
    "backbone.weights_from is not chosen: backbone.weights_from=hub downloads what backbone.model names, "
    "backbone.weights_from=PATH reads it from a file, backbone.weights_from=null starts from random weights"
)
FIX = "give this backbone's own file with backbone.weights_from=PATH, or choose the backbone that made this one"
OLD_HEADS = ("head.", "pre_logits.", "head_dist.")  # what leads to the classes of the pretraining, in timm's names
_EMBEDDING, _POSITIONS = "embedding/kernel", "Transformer/posembed_input/pos_embedding"
_QUERY = re.compile(r"Transformer/encoderblock_0/MultiHeadDotProductAttention_\d/query/kernel")


def load_weights(
    net: nn.Module, head: str, name: str, model: str, source: str | None, sha256: str | None
) -> dict[str, str | None]:
    """Load the trunk of `net` from `source`. Return the provenance {"source", "sha256"} and what was changed.

    The `head` of the checkpoint (and the pre-logits layer of old ViTs) is dropped, because every run has a new head.
    On the meta device, where only shapes exist, nothing is read.

    Raises:
        BadInput: the file is missing or no regular one, has another sha256, cannot be read, does not fit the model, or
            holds numbers that are not finite.
    """
    if next(net.parameters()).is_meta:
        return {"source": "none (meta device)", "sha256": None}
    if source == UNDECIDED:
        raise BadInput(NO_CHOICE)
    if source is None:
        return {"source": "random initialisation", "sha256": None}
    if source == "hub":
        return _from_hub(net, head, model, sha256)
    path = ASSETS / f"{name}.safetensors" if source == "embedded" else Path(source).expanduser()
    if path.exists():
        check_regular(path)
    if not path.is_file():
        raise BadInput(
            f"backbone.weights_from: no file {path}. Put the checkpoint there, give another path with "
            "backbone.weights_from=PATH, or let timm download its own with backbone.weights_from=hub."
        )
    digest = sha256_of(path)
    sha256 = sha256 or expected_sha256(source, name)
    if sha256 is not None and digest != sha256:
        raise BadInput(
            f"{path} has sha256 {digest}, expected {sha256}: the file is altered, truncated or another "
            "checkpoint. Fetch it again, or set backbone.sha256 to the hash you trust."
        )
    if path.suffix == ".npz":
        notes = load_trunk_from_npz(net, head, path)
    else:
        state, notes = read_checkpoint(path)
        notes = notes | load_trunk(net, head, path, state)
    return {"source": "embedded" if source == "embedded" else path.name, "sha256": digest, **notes}


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, str | None]]:
    """The tensors of a .safetensors or a pickled checkpoint, and what was removed around them, for the record.

    Raises:
        BadInput: the suffix is unknown, or the file cannot be read or holds more than `wrapping.unpickle` reads.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path), {}
        if path.suffix in PICKLED:
            return wrapping.unwrap(wrapping.unpickle(path), path)
    except BadInput:
        raise
    except Exception as error:  # torch and safetensors say it in many ways
        raise BadInput(f"{path} cannot be read ({first_line(error)}): truncated or not such a file") from error
    raise BadInput(f"{path}: unknown suffix '{path.suffix}'; use .safetensors, .npz or .pth")


def _from_hub(net: nn.Module, head: str, model: str, sha256: str | None) -> dict[str, str | None]:
    """timm's own download of one tag; the bare name of an architecture means another checkpoint in every version."""
    if "." not in model:
        tags = timm.list_models(f"{model}.*", pretrained=True)
        hint = f"backbone.model={tags[0]}" if tags else "timm has none for it, give a file with weights_from=PATH"
        choices = f" (of {', '.join(tag.partition('.')[2] for tag in tags[:12])})" if len(tags) > 1 else ""
        raise BadInput(
            f"backbone.weights_from=hub: '{model}' is an architecture, not a checkpoint; add timm's tag: "
            f"{hint}{choices}"
        )
    try:
        state = timm.create_model(model, pretrained=True, num_classes=0).state_dict()
    except Exception as error:
        raise BadInput(
            f"timm's hub gave no weights for '{model}' ({first_line(error)}). Without network, give a local "
            "file: backbone.weights_from=PATH"
        ) from error
    digest = hashlib.sha256()
    for key, value in sorted(state.items()):
        digest.update(key.encode() + value.numpy().tobytes())
    if sha256 not in (None, digest.hexdigest()):
        raise BadInput(f"timm's hub gave weights of '{model}' with sha256 {digest.hexdigest()}, expected {sha256}")
    notes = load_trunk(net, head, f"timm hub: {model}", state)
    return {"source": f"timm hub: {model}", "sha256": digest.hexdigest(), **notes}


def load_trunk(net: nn.Module, head: str, path: Path | str, state: dict[str, Tensor]) -> Notes:
    """Load the trunk of `net` from tensors with the names of timm or of the authors, perhaps behind a common prefix.

    Returns:
        What was changed, for the record: {} or a "prefix" that was removed, "resampled" positions, "dropped" tensors of
        the pretraining.

    Raises:
        BadInput: they are those of another network, or not finite.
    """
    plain_state, prefix = strip_prefix(state, net.state_dict(), (f"{head}.", *OLD_HEADS))
    # timm knows some files by their prefix
    attempts = [(state, {}), (plain_state, prefix)] if prefix else [(state, {})]
    for tensors, prefix_note in attempts:
        try:
            trunk, notes = _match(net, head, path, tensors)
        except BadInput:
            if tensors is attempts[-1][0]:
                raise
            continue
        check_finite(trunk, path)
        net.load_state_dict(trunk, strict=False)
        return prefix_note | notes
    raise AssertionError("the last attempt raises or returns")


def _match(net: nn.Module, head: str, path: Path | str, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], Notes]:
    """Exactly the tensors of the trunk, by the names of `net`, and what was changed."""
    notes: Notes = {}
    names = list(state)
    shapes_in_file = {key: tensor.shape for key, tensor in state.items()}
    _check_patches(net, path, state)
    if isinstance(net, VisionTransformer):
        notes |= _resampling_note(net, state["pos_embed"].shape, "bicubic") if "pos_embed" in state else {}
        decoder = [key for key in state if key.startswith("decoder_")]
        if decoder:  # MAE's files come with and without the half that only pretraining uses
            state = {key: value for key, value in state.items() if key not in {*decoder, "mask_token"}}
            notes["dropped"] = f"MAE's decoder, {len(decoder)} tensors"
    convert = getattr(sys.modules[type(net).__module__], "checkpoint_filter_fn", None)
    if convert is not None:
        try:
            with warnings.catch_warnings():  # on how timm resamples
                warnings.simplefilter("ignore", UserWarning)
                state = convert(state, net)  # the authors' own key names, known to timm
        except Exception as error:  # whatever timm's code meets in a file that is none of its models
            raise BadInput(
                f"{path} holds another architecture ({first_line(error)}; its names: {_first_names(names)}); {FIX}"
            ) from error
    shapes = {k: v.shape for k, v in net.state_dict().items() if not k.startswith(f"{head}.")}
    state = {k: v for k, v in state.items() if k in shapes or not k.startswith((f"{head}.", *OLD_HEADS))}
    misshapen = sorted(k for k, v in state.items() if k in shapes and v.shape != shapes[k])
    absent, unknown = sorted(shapes.keys() - state.keys()), sorted(state.keys() - shapes.keys())
    if misshapen or absent or unknown:
        counts = {"tensors of another shape": misshapen, "missing": absent, "unknown": unknown}
        faults = [f"{len(keys)} {fault}{f' ({keys[0]})' if keys else ''}" for fault, keys in counts.items()]
        sizes = (
            f"; {misshapen[0]} is {tuple(state[misshapen[0]].shape)}, the model's {tuple(shapes[misshapen[0]])}"
            if misshapen
            else ""
        )
        raise BadInput(
            f"{path} holds another architecture: {', '.join(faults)}{sizes}; its names: {_first_names(names)}; {FIX}"
        )
    if "resampled" not in notes:
        notes |= _changed_sizes(shapes_in_file, state)
    return state, notes


def _changed_sizes(before: Mapping[str, torch.Size], state: Mapping[str, Tensor]) -> Notes:
    """A note on tensors that timm resampled for another image size, such as biases of relative positions."""
    changed = [key for key, shape in before.items() if key in state and state[key].numel() != shape.numel()]
    if not changed:
        return {}
    sizes = (" x ".join(map(str, shape)) for shape in (before[changed[0]], state[changed[0]].shape))
    more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    return {"resampled": "{}, from {} to {}{}".format(changed[0], *sizes, more)}


def _first_names(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "none"


def load_trunk_from_npz(net: nn.Module, head: str, path: Path) -> Notes:
    """Load the trunk of `net` from an original JAX checkpoint (ViT, AugReg).

    Returns:
        What was changed, for the record: {} or "resampled" positions.

    Raises:
        BadInput: it is truncated, no such checkpoint, that of another network, or not finite.
    """
    if not isinstance(net, VisionTransformer):
        raise BadInput(f"{path} does not fit: an .npz belongs to a ViT, this is a {type(net).__name__}; {FIX}")
    arrays = _arrays(path)
    if _EMBEDDING not in arrays or _POSITIONS not in arrays:
        first = f", first: {min(arrays)}" if arrays else ""
        raise BadInput(f"{path} holds no ViT in its authors' names ({len(arrays)} arrays{first}); {FIX}")
    try:
        check_finite({name: torch.from_numpy(array) for name, array in arrays.items()}, path)
        file_size, net_size = _size_of_file(arrays), _size_of_net(net, head)
        if file_size != net_size:
            kinds = [kind for kind in file_size if file_size[kind] != net_size[kind]]
            texts = (
                ", ".join(f"{size[kind]} {kind}" for kind in kinds[:-1] or kinds) for size in (file_size, net_size)
            )
            raise BadInput("{} does not fit this ViT: the file has {}, the model {}; {}".format(path, *texts, FIX))
        _assign(net, head, path)
    except BadInput:
        raise
    except Exception as error:  # whatever timm's code meets in a file with some tensors of another name or shape
        raise BadInput(f"{path} does not fit this ViT ({first_line(error)}); {FIX}") from error
    return _resampling_note(net, arrays[_POSITIONS].shape, "bilinear")


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of the trunk in an .npz, their names without a prefix."""
    fix = "truncated or altered: fetch it again"
    try:
        file: Any = np.load(path, allow_pickle=False)
        if not isinstance(file, NpzFile):
            raise BadInput(f"{path} is not an .npz archive: {fix}")
        with file:
            anchor = next((name for name in file.files if name.endswith(f"/{_EMBEDDING}")), _EMBEDDING)
            prefix = anchor.removesuffix(_EMBEDDING)  # opt/target/ where the optimiser was saved too
            names = {name.removeprefix(prefix): name for name in file.files if name.startswith(prefix)}
            return {k: file[name] for k, name in names.items() if not k.startswith(("head/", "pre_logits/"))}
    except BadInput:
        raise
    except Exception as error:  # zipfile, zlib, numpy: each says it in its own class
        with path.open("rb") as raw:
            is_zip = raw.read(2) == b"PK"
        problem = f"cannot be read ({first_line(error)}): it is" if is_zip else "is not an .npz archive:"
        raise BadInput(f"{path} {problem} {fix}") from error


def _size_of_file(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    blocks = {name.split("/")[1] for name in arrays if name.startswith("Transformer/encoderblock_")}
    heads = [array.shape[1] for name, array in arrays.items() if _QUERY.fullmatch(name)]
    high, wide, _, features = arrays[_EMBEDDING].shape
    return {
        "blocks": len(blocks),
        "features": features,
        "heads": sum(heads),
        "pixels a patch": f"{high} x {wide}",
        "numbers in its trunk": sum(array.size for name, array in arrays.items() if name != _POSITIONS),
    }


def _size_of_net(net: VisionTransformer, head: str) -> dict[str, Any]:
    high, wide = net.patch_embed.proj.weight.shape[-2:]  # type: ignore[union-attr]
    trunk = {k: p for k, p in net.named_parameters() if k != "pos_embed" and not k.startswith(f"{head}.")}
    return {
        "blocks": len(net.blocks),
        "features": net.embed_dim,
        "heads": net.blocks[0].attn.num_heads,  # type: ignore[union-attr]
        "pixels a patch": f"{high} x {wide}",
        "numbers in its trunk": sum(p.numel() for p in trunk.values()),
    }


@torch.no_grad()
def _assign(net: VisionTransformer, head: str, path: Path) -> None:
    """Let timm assign the trunk, keep the head, and check that every tensor of the trunk was assigned."""
    trunk = {name: p for name, p in net.named_parameters() if not name.startswith(f"{head}.")}
    other_tensors = {name: p.clone() for name, p in net.named_parameters() if name not in trunk}
    for parameter in trunk.values():
        parameter.fill_(math.nan)
    net.load_pretrained(str(path))
    net.load_state_dict(other_tensors, strict=False)
    if absent := [name for name, p in trunk.items() if p.isnan().any()]:
        raise BadInput(f"{path} does not fit this ViT: it has no whole {absent[0]} (of {len(absent)} tensors); {FIX}")


def _check_patches(net: nn.Module, path: Path | str, state: dict[str, Tensor]) -> None:
    """timm would stretch the kernels of another patch size, which is another model."""
    name = "patch_embed.proj.weight"
    kernel, own = state.get(name), dict(net.named_parameters()).get(name)
    if kernel is not None and own is not None and kernel.ndim == 4 and kernel.shape[-2:] != own.shape[-2:]:
        sizes = ("{} x {}".format(*tensor.shape[-2:]) for tensor in (kernel, own))
        raise BadInput(
            "{} holds another architecture: patches of {} pixels, the model's {}; {}".format(path, *sizes, FIX)
        )


def _resampling_note(net: VisionTransformer, shape: tuple[int, ...], method: str) -> Notes:
    """A note that timm resampled the positions for another image size: this is how papers change the resolution."""
    if net.pos_embed is None or len(shape) != 3 or shape[1] == net.pos_embed.shape[1]:
        return {}
    side = math.isqrt(max(0, shape[1] - (0 if net.no_embed_class else net.num_prefix_tokens)))
    high, wide = net.patch_embed.grid_size  # type: ignore[union-attr]
    return {"resampled": f"position embedding, from {side} x {side} to {high} x {wide} patches ({method})"}
