"""Write a finished run into a folder, and load it from there.

The formats are a plain checkpoint, an adapter of this package, and an adapter of Hugging Face peft. Before the folder
appears, its files are loaded and compared with the trained network on random inputs.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from timm.models import PretrainedCfg, get_pretrained_cfg, model_entrypoint
from torch import Tensor, nn

from glorabench.backbones.base import Backbone
from glorabench.backbones.bitsandbytes_library import preload_bitsandbytes
from glorabench.backbones.quantized import LANGUAGE_HEAD
from glorabench.checksum import ASSETS
from glorabench.config.instantiate import METHOD, make
from glorabench.errors import BadInput, first_line
from glorabench.export import to_merged
from glorabench.files import whole_folder
from glorabench.records import record as records
from glorabench.records.record import Record
from glorabench.training.trained_network import (
    WEIGHTS,
    backbone_node,
    example,
    method_node,
    plain_network,
    rebuild_backbone,
)

TOLERANCE = 1e-3  # largest allowed difference of a logit, relative to the largest logit
ADAPTER = "adapter.safetensors"


class Export(NamedTuple):
    """A finished export.

    Args:
        folder: of the files.
        lines: Python that loads them.
        difference: largest difference of a logit to the trained network, on random inputs, after loading.
    """

    folder: Path
    lines: list[str]
    difference: float


def load_exported(folder: str | Path, weights_from: str | Path | None = None) -> nn.Module:
    """The trained network of a folder that `glorabench export to=adapter` made, in evaluation mode.

    Args:
        folder: holds `adapter.safetensors` and `record-ID.json`.
        weights_from: the checkpoint of the backbone, where it lies elsewhere than the config of the backbone says.

    Raises:
        BadInput: the folder or the checkpoint is not what the run used.
    """
    folder = Path(folder)
    paths = list(folder.glob("record-*.json"))
    if len(paths) != 1 or not (folder / ADAPTER).is_file():
        raise BadInput(f"{folder} is no exported adapter: it needs one record-ID.json and {ADAPTER}")
    overrides = [] if weights_from is None else [f"{WEIGHTS}={weights_from}"]
    return rebuild_backbone(records.read_record(paths[0]), folder / ADAPTER, overrides).net


class _Source(NamedTuple):
    """What an export is made from; `plain_net` builds the network without the method."""

    backbone: Backbone
    record: Record
    adapters: Path
    node: Mapping[str, Any]
    plain_net: to_merged.PlainNet


class _Format(NamedTuple):
    """How a folder is written, and how it is loaded; only this format has the file `file`."""

    file: str
    write: Callable[[_Source, Path], object]
    read: Callable[[_Source, Path], nn.Module]


def _write_peft(job: _Source, folder: Path) -> None:
    preload_bitsandbytes()
    from glorabench.export import to_peft  # peft itself takes seconds to import

    to_peft.write_peft(job.backbone, make(method_node(job.record), METHOD), job.plain_net, folder)


def _read_peft(job: _Source, folder: Path) -> nn.Module:
    preload_bitsandbytes()
    from glorabench.export import to_peft

    return to_peft.read_peft(job.plain_net, folder)


FORMATS = {
    "merged": _Format(
        "config.json",
        lambda job, folder: to_merged.write_merged(job.backbone, job.plain_net, folder),
        lambda _, folder: to_merged.read_merged(folder),
    ),
    "adapter": _Format(
        ADAPTER,
        lambda job, folder: shutil.copyfile(job.adapters, folder / ADAPTER),
        lambda job, folder: load_exported(folder, job.node["weights_from"]),
    ),
    "peft": _Format("adapter_config.json", _write_peft, _read_peft),
}


def export_run(record: Record, adapters: Path, to: str, out: Path, overrides: Sequence[str] = ()) -> Export:
    """Write a run in the format `to` into the folder `out`, which appears whole or not at all.

    A folder that holds this export already, as another process may have just made it, is checked and stays.

    Raises:
        BadInput: the folder holds something else or cannot be written, the run cannot be built again, the format cannot
            express it, or the files compute something else.
    """
    if out.exists() and not _holds(out, record, to):
        raise BadInput(f"{out} exists and is not overwritten: remove it or give another folder with out=FOLDER")
    backbone, node = rebuild_backbone(record, adapters, overrides), backbone_node(record, overrides)
    classes = None if backbone.classifier is None else backbone.classifier.out_features
    inputs, job = example(backbone), _Source(backbone, record, adapters, node, partial(plain_network, node, classes))
    with torch.no_grad():
        logits = backbone.net(inputs)
    if out.exists():
        print(f"{out} holds this export already")
        difference = _difference(job, to, out, inputs, logits)
    else:
        with whole_folder(out, "free space, or give another folder: out=FOLDER") as draft:
            _write(job, to, draft)
            difference = _difference(job, to, draft, inputs, logits)
    return Export(out, loading_lines(to, node, classes, out), difference)


def _holds(out: Path, record: Record, to: str) -> bool:
    """True for a folder with the export of this run in this format."""
    other_files = [form.file for name, form in FORMATS.items() if name != to]
    try:
        is_same_record = records.read_record(out / f"record-{record.run_id}.json") == record
    except BadInput:
        return False
    return (
        is_same_record and (out / FORMATS[to].file).is_file() and not any((out / file).exists() for file in other_files)
    )


def _write(job: _Source, to: str, folder: Path) -> None:
    """Write the files of a format.

    Raises:
        OSError: the disk is full.
    """
    records.write_record(job.record, folder / f"record-{job.record.run_id}.json")
    try:
        FORMATS[to].write(job, folder)
    except SafetensorError as error:  # how safetensors says that the disk is full
        raise OSError(errno.ENOSPC, first_line(error)) from error


@torch.no_grad()
def _difference(job: _Source, to: str, folder: Path, inputs: Tensor, logits: Tensor) -> float:
    """The largest difference of a logit when a folder is loaded back.

    Raises:
        BadInput: it computes something else.
    """
    difference = float((FORMATS[to].read(job, folder)(inputs) - logits).abs().max())
    size = float(logits.abs().max())
    if not difference <= TOLERANCE * size:
        raise BadInput(
            f"to={to}: loaded back, a logit is off by {difference:.1e} where the largest is {size:.1e}, so nothing "
            "was kept: use to=adapter"
        )
    return difference


def loading_lines(to: str, node: Mapping[str, Any], classes: int | None, folder: Path) -> list[str]:
    """Python that makes `net` from a folder.

    Args:
        to: the format.
        node: the config of the backbone, with the place of its weights.
        classes: of the head, if there is one.
        folder: of the export.
    """
    place, source = repr(str(folder)), node["weights_from"]
    is_image_model = str(node.get("_target_")).endswith(".hf_vision_backbone")
    is_text_model = str(node.get("_target_")).endswith(".hf_text_backbone")
    is_timm = "model" in node and not (is_image_model or is_text_model)
    kind = _class_of_transformers(node) if is_text_model else "LlamaForCausalLM"
    kind = "AutoModelForImageClassification" if is_image_model else kind
    if to == "adapter":
        weights = "" if source in (None, "embedded", "hub") else f", weights_from={source!r}"
        return ["from glorabench.export import load", f"net = load({place}{weights})"]
    if to == "merged" and is_timm:
        load_line = f"net = timm.create_model({'local-dir:' + str(folder)!r}, pretrained=True).eval()"
        return ["import timm", *_registration(node["model"]), load_line]
    if to == "merged":
        return [f"from transformers import {kind}", f"net = {kind}.from_pretrained({place})"]
    adapter_line = f"net = PeftModel.from_pretrained(net, {place}).eval()"
    if is_timm:
        return [
            "import timm",
            "from peft import PeftModel",
            *_registration(node["model"]),
            _base(node, classes),
            adapter_line,
        ]
    base = str(ASSETS / node["name"]) if source == "embedded" else source
    settings = f", num_labels={classes}" if is_image_model else f", dtype={node.get('dtype', 'float32')!r}"
    base_line = f"net = {kind}.from_pretrained({base!r}{settings})"  # a file may hold fewer bits than the run had
    imports = [f"from transformers import {kind}", "from peft import PeftModel"]
    if (scheme := node.get("quantize")) is None:
        return [*imports, base_line, adapter_line]
    rounding = f"round_linears(net, {scheme!r}, {node.get('double_quant', True)}, skip=[{LANGUAGE_HEAD!r}])"
    imports.append("from glorabench.backbones.quantized import round_linears")
    return [*imports, base_line, f"{rounding}  # the numbers that the training saw", adapter_line]


def _class_of_transformers(node: Mapping[str, Any]) -> str:
    """The class of transformers that loads a language model."""
    from glorabench.backbones.hf_text import TEXT_FAMILIES

    return TEXT_FAMILIES[str(node["model"])].kind


def _registration(architecture: str) -> list[str]:
    """The import that registers an architecture which timm lacks."""
    module = model_entrypoint(architecture).__module__
    return [] if module.startswith("timm.") else [f"import {module}  # registers {architecture}, which timm lacks"]


def _base(node: Mapping[str, Any], classes: int | None) -> str:
    """The line that makes the pretrained network with timm."""
    source = ASSETS / f"{node['name']}.safetensors" if node["weights_from"] == "embedded" else node["weights_from"]
    values = dict(node.get("model_args") or {})
    if node.get("image_size") and (get_pretrained_cfg(node["model"]) or PretrainedCfg()).fixed_input_size:
        values["img_size"] = node["image_size"]
    args = "".join(f", {key}={value!r}" for key, value in values.items())
    if source != "hub":  # custom_load: timm knows the names of the original ViT checkpoints
        overlay = {"file": str(source)} | ({"custom_load": True} if str(source).endswith(".npz") else {})
        args += f", pretrained_cfg_overlay={overlay!r}"
    return f"net = timm.create_model({node['model']!r}, pretrained=True, num_classes={classes}{args})"
