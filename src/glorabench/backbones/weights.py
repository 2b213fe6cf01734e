"""Weights from a file: embedded, local (.safetensors, .npz, .pth) or timm's hub when asked; hashed, never guessed."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from glorabench.checksum import ASSETS, expected, sha256_of
from glorabench.errors import BadInput, first_line

_FIX = "choose the backbone that made the file"


def load(
    net: nn.Module, head: str, name: str, model: str, source: str | None, sha256: str | None
) -> dict[str, str | None]:
    """Load the trunk of `net` from `source` and return its provenance {"source", "sha256"}.

    The checkpoint's own `head` (and the pre-logits layer of old ViTs) is dropped: every run puts a fresh one.
    On the meta device, where only shapes exist, nothing is read.

    Raises:
        BadInput: the file is missing, has another sha256, cannot be read, or does not fit the model.
    """
    if next(net.parameters()).is_meta:
        return {"source": "none (meta device)", "sha256": None}
    if source is None:
        return {"source": "random initialisation", "sha256": None}
    if source == "hub":
        return _from_hub(net, model, sha256)
    path = ASSETS / f"{name}.safetensors" if source == "embedded" else Path(source).expanduser()
    if not path.is_file():
        raise BadInput(
            f"backbone.weights_from: no file {path}. Put the checkpoint there, give another path with "
            "backbone.weights_from=PATH, or let timm download its own with backbone.weights_from=hub."
        )
    found = sha256_of(path)
    sha256 = sha256 or expected(source, name)
    if sha256 is not None and found != sha256:
        raise BadInput(
            f"{path} has sha256 {found}, expected {sha256}: the file is altered, truncated or another "
            "checkpoint. Fetch it again, or set backbone.sha256 to the hash you trust."
        )
    if path.suffix == ".npz":
        _fit_npz(net, path)
    else:
        _fit(net, head, path)
    return {"source": "embedded" if source == "embedded" else path.name, "sha256": found}


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or a pickled checkpoint (loaded with `weights_only`).

    Raises:
        BadInput: the suffix is unknown or the file cannot be read.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix in {".pth", ".pt", ".bin"}:
            state = torch.load(path, map_location="cpu", weights_only=True)
            state = state.get("model", state.get("state_dict", state))
            return {key: value for key, value in state.items() if isinstance(value, Tensor)}
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError) as error:
        raise BadInput(f"{path} cannot be read ({first_line(error)}): truncated or not such a file") from error
    except Exception as error:  # torch wraps unpickling errors in a private class
        raise BadInput(f"{path} is not a plain tensor file ({first_line(error)})") from error
    raise BadInput(f"{path}: unknown suffix '{path.suffix}'; use .safetensors, .npz or .pth")


def _fit(net: nn.Module, head: str, path: Path) -> None:
    state = read(path)
    convert = getattr(sys.modules[type(net).__module__], "checkpoint_filter_fn", None)
    if convert is not None and path.suffix != ".safetensors":
        try:
            state = convert(state, net)  # the authors' own key names, known to timm
        except Exception as error:  # whatever timm's code meets in a file that is none of its models
            raise BadInput(f"{path} holds another architecture ({first_line(error)}); {_FIX}") from error
    own = {k: v.shape for k, v in net.state_dict().items() if not k.startswith(f"{head}.")}
    state = {k: v for k, v in state.items() if not k.startswith((f"{head}.", "pre_logits.", "head_dist."))}
    wrong = sorted(k for k, v in state.items() if k in own and v.shape != own[k])
    missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if wrong or missing or extra:
        raise BadInput(
            f"{path} holds another architecture: {len(wrong)} tensors of another shape, {len(missing)} missing, "
            f"{len(extra)} unknown (first: {[*wrong, *missing, *extra][0]}); {_FIX}"
        )
    net.load_state_dict(state, strict=False)


def _fit_npz(net: nn.Module, path: Path) -> None:
    """Original JAX checkpoints: timm knows their names, but takes a deeper file for a shallower model."""
    try:
        with np.load(path) as file:
            names = {part for key in file.files for part in key.split("/") if "encoderblock_" in part}
        if len(names) != len(net.blocks):  # type: ignore[arg-type]
            raise ValueError(f"the file has {len(names)} blocks, the model {len(net.blocks)}")  # type: ignore[arg-type]
        net.load_pretrained(str(path))  # type: ignore[operator]
    except Exception as error:
        raise BadInput(f"{path} does not fit this ViT ({first_line(error)}): truncated or another model") from error


def _from_hub(net: nn.Module, model: str, sha256: str | None) -> dict[str, str | None]:
    try:
        trained = timm.create_model(model, pretrained=True, num_classes=1)
    except Exception as error:
        raise BadInput(
            f"timm's hub gave no weights for '{model}' ({first_line(error)}). Without network, give a local "
            "file: backbone.weights_from=PATH"
        ) from error
    net.load_state_dict(trained.state_dict())
    joined = hashlib.sha256()
    for key, value in sorted(trained.state_dict().items()):
        joined.update(key.encode() + value.numpy().tobytes())
    if sha256 not in (None, joined.hexdigest()):
        raise BadInput(f"timm's hub gave weights of '{model}' with sha256 {joined.hexdigest()}, expected {sha256}")
    return {"source": f"timm hub: {model}", "sha256": joined.hexdigest()}
