"""Weights from a file: embedded, local (.safetensors, .npz, .pth) or timm's hub when asked; hashed, never guessed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from glorabench.backbones import formats
from glorabench.checksum import ASSETS, expected, sha256_of
from glorabench.errors import BadInput, first_line


def load(
    net: nn.Module, head: str, name: str, model: str, source: str | None, sha256: str | None
) -> dict[str, str | None]:
    """Load the trunk of `net` from `source` and return its provenance {"source", "sha256"} and what was done.

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
        return _from_hub(net, head, model, sha256)
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
    notes = formats.fit_npz(net, head, path) if path.suffix == ".npz" else formats.fit(net, head, path, read(path))
    return {"source": "embedded" if source == "embedded" else path.name, "sha256": found, **notes}


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
        raise BadInput(
            f"{path} is not a plain tensor file ({first_line(error)}); save its tensors alone: "
            "torch.save({'model': state_dict}, PATH)"
        ) from error
    raise BadInput(f"{path}: unknown suffix '{path.suffix}'; use .safetensors, .npz or .pth")


def _from_hub(net: nn.Module, head: str, model: str, sha256: str | None) -> dict[str, str | None]:
    """timm's own download of one tag; the bare name of an architecture means another checkpoint in every version."""
    if "." not in model:
        tags = timm.list_models(f"{model}.*", pretrained=True)
        hint = f"backbone.model={tags[0]}" if tags else "timm has none for it, give a file with weights_from=PATH"
        known = f" (of {', '.join(tag.partition('.')[2] for tag in tags[:12])})" if len(tags) > 1 else ""
        raise BadInput(
            f"backbone.weights_from=hub: '{model}' is an architecture, not a checkpoint; add timm's tag: {hint}{known}"
        )
    try:
        state = timm.create_model(model, pretrained=True, num_classes=0).state_dict()
    except Exception as error:
        raise BadInput(
            f"timm's hub gave no weights for '{model}' ({first_line(error)}). Without network, give a local "
            "file: backbone.weights_from=PATH"
        ) from error
    joined = hashlib.sha256()
    for key, value in sorted(state.items()):
        joined.update(key.encode() + value.numpy().tobytes())
    if sha256 not in (None, joined.hexdigest()):
        raise BadInput(f"timm's hub gave weights of '{model}' with sha256 {joined.hexdigest()}, expected {sha256}")
    notes = formats.fit(net, head, f"timm hub: {model}", state)
    return {"source": f"timm hub: {model}", "sha256": joined.hexdigest(), **notes}
