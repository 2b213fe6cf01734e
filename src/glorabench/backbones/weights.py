"""Weights from a file: embedded, local (.safetensors, .npz, .pth) or timm's hub when asked; hashed, never guessed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import timm
from safetensors.torch import load_file
from torch import Tensor, nn

from glorabench.backbones import formats, wrapping
from glorabench.checksum import ASSETS, expected, sha256_of
from glorabench.errors import BadInput, first_line
from glorabench.inputs import check_regular

PICKLED = (".pth", ".pt", ".bin", ".ckpt")


def load(
    net: nn.Module, head: str, name: str, model: str, source: str | None, sha256: str | None
) -> dict[str, str | None]:
    """Load the trunk of `net` from `source` and return its provenance {"source", "sha256"} and what was done.

    The checkpoint's own `head` (and the pre-logits layer of old ViTs) is dropped: every run puts a fresh one.
    On the meta device, where only shapes exist, nothing is read.

    Raises:
        BadInput: the file is missing or no regular one, has another sha256, cannot be read, does not fit the model, or
            holds numbers that are not finite.
    """
    if next(net.parameters()).is_meta:
        return {"source": "none (meta device)", "sha256": None}
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
    found = sha256_of(path)
    sha256 = sha256 or expected(source, name)
    if sha256 is not None and found != sha256:
        raise BadInput(
            f"{path} has sha256 {found}, expected {sha256}: the file is altered, truncated or another "
            "checkpoint. Fetch it again, or set backbone.sha256 to the hash you trust."
        )
    if path.suffix == ".npz":
        notes = formats.fit_npz(net, head, path)
    else:
        state, taken = read(path)
        notes = taken | formats.fit(net, head, path, state)
    return {"source": "embedded" if source == "embedded" else path.name, "sha256": found, **notes}


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str | None]]:
    """The tensors of a .safetensors or a pickled checkpoint, and what was taken off around them, for the record.

    Raises:
        BadInput: the suffix is unknown, or the file cannot be read or holds more than `wrapping.unpickled` reads.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path), {}
        if path.suffix in PICKLED:
            return wrapping.unwrapped(wrapping.unpickled(path), path)
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
