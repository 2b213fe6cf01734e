"""The lines of Python that load an exported folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timm.models import model_entrypoint

from glorabench.checksum import ASSETS


def lines(to: str, node: Mapping[str, Any], classes: int | None, folder: Path) -> list[str]:
    """Python that makes `net` from a folder.

    Args:
        to: the format.
        node: the config of the backbone, with the place of its weights.
        classes: of the head, if there is one.
        folder: what was exported.
    """
    place, source = repr(str(folder)), node["weights_from"]
    is_timm = "model" in node
    if to == "adapter":
        weights = "" if source in (None, "embedded", "hub") else f", weights_from={source!r}"
        return ["from glorabench.export import load", f"net = load({place}{weights})"]
    if to == "merged" and is_timm:
        made = f"net = timm.create_model({'local-dir:' + str(folder)!r}, pretrained=True).eval()"
        return ["import timm", *_registration(node["model"]), made]
    if to == "merged":
        return ["from transformers import LlamaForCausalLM", f"net = LlamaForCausalLM.from_pretrained({place})"]
    adapted = f"net = PeftModel.from_pretrained(net, {place}).eval()"
    if is_timm:
        return [
            "import timm",
            "from peft import PeftModel",
            *_registration(node["model"]),
            _base(node, classes),
            adapted,
        ]
    base = f"net = LlamaForCausalLM.from_pretrained({source!r})"
    return ["from transformers import LlamaForCausalLM", "from peft import PeftModel", base, adapted]


def _registration(architecture: str) -> list[str]:
    """What makes timm know an architecture that is not its own."""
    module = model_entrypoint(architecture).__module__
    return [] if module.startswith("timm.") else [f"import {module}  # registers {architecture}, which timm lacks"]


def _base(node: Mapping[str, Any], classes: int | None) -> str:
    """The pretrained network in timm's own words."""
    source = ASSETS / f"{node['name']}.safetensors" if node["weights_from"] == "embedded" else node["weights_from"]
    args = "".join(f", {key}={value!r}" for key, value in (node.get("model_args") or {}).items())
    if source != "hub":  # custom_load: timm knows the names of the original ViT checkpoints
        overlay = {"file": str(source)} | ({"custom_load": True} if str(source).endswith(".npz") else {})
        args += f", pretrained_cfg_overlay={overlay!r}"
    return f"net = timm.create_model({node['model']!r}, pretrained=True, num_classes={classes}{args})"
