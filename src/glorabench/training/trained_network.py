"""Save the tensors of a trained network, and build the network again from its record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from glorabench import files
from glorabench.backbones.base import Backbone
from glorabench.backbones.quantized import dequantize_linears
from glorabench.config import schema
from glorabench.config.auto_family import AUTO
from glorabench.config.compose import compose
from glorabench.config.instantiate import BACKBONE, METHOD, make
from glorabench.config.paths import options
from glorabench.errors import BadInput, first_line, one_of
from glorabench.records.record import ROOTS, Record
from glorabench.records.store import find_run
from glorabench.search.space import PathSpace

WEIGHTS = "backbone.weights_from"


def tensors(backbone: Backbone) -> dict[str, Tensor]:
    """All trained tensors, including the head."""
    return {name: p for name, p in backbone.net.named_parameters() if p.requires_grad}


def save_tensors(named_tensors: Mapping[str, Tensor], path: Path, notes: Mapping[str, Any] | None = None) -> None:
    """Write tensors to a file, whole or not at all.

    Raises:
        BadInput: the folder is not writable or the disk is full.
    """
    metadata = None if notes is None else {"notes": json.dumps(notes)}
    fix = (
        "free space or set results_dir=FOLDER and give the same command again: training goes on from its last "
        "checkpoint"
    )
    try:
        with files.whole_file(path, fix) as draft:
            cpu_tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in named_tensors.items()}
            save_file(cpu_tensors, draft, metadata)
    except SafetensorError as error:  # safetensors raises its own kind, also for a full disk
        raise BadInput(f"{path} cannot be written ({first_line(error)}): {fix}") from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a file and its notes.

    Raises:
        BadInput: there is no such file, or it is damaged.
    """
    if not path.is_file():
        raise BadInput(f"no trained weights at {path}: they lie beside the records of the run that made them")
    try:
        with safe_open(path, "pt") as file:
            notes = json.loads((file.metadata() or {}).get("notes", "{}"))
        return load_file(path), notes
    except (OSError, SafetensorError, ValueError) as error:
        raise BadInput(
            f"{path} is damaged ({first_line(error)}): remove it and the record of its run, and repeat the run"
        ) from error


@torch.no_grad()
def load_trained(backbone: Backbone, path: Path) -> dict[str, Any]:
    """Load every trained tensor from a file, and return the notes of the file.

    Raises:
        BadInput: there is no such file, it is damaged, or it holds other tensors. The backbone is unchanged.
    """
    (file_tensors, notes), targets = read_tensors(path), tensors(backbone)
    shapes = {name: tuple(stored_tensor.shape) for name, stored_tensor in targets.items()}
    if shapes != (stored_shapes := {name: tuple(stored_tensor.shape) for name, stored_tensor in file_tensors.items()}):
        differences = sorted(name for name in {*shapes, *stored_shapes} if shapes.get(name) != stored_shapes.get(name))
        raise BadInput(f"{path} is of another network: {len(differences)} tensors differ, such as {differences[0]}")
    for name, tensor in targets.items():
        tensor.copy_(file_tensors[name])
    return notes


def rebuild_backbone(record: Record, file: Path, overrides: Sequence[str] = ()) -> Backbone:
    """The trained backbone of a finished run, in evaluation mode. A supernet computes the path of the run.

    Args:
        record: the record of the run.
        file: its trained tensors, named as in the network.
        overrides: `backbone.weights_from=PATH` if the checkpoint is not where conf/ says.

    Raises:
        BadInput: the checkpoint or the tensors are missing, damaged or not those of the run.
    """
    schema.check_nodes(record.config)
    try:
        torch.manual_seed(record.config["seed"])  # some tuners of peft have frozen random tensors
        backbone: Backbone = make(backbone_node(record, overrides), BACKBONE)
        if backbone.head is not None:
            backbone.set_head(_classes(file, backbone.head))
        make(method_node(record), METHOD).inject(backbone)
        load_trained(backbone, file)
        _check_weights(record, backbone)
        if record.paths is not None:
            space = PathSpace(backbone.net)
            space.set(space.genome(record.paths))
    except BadInput:
        raise
    except Exception as error:  # values with which no run was made may raise anything
        raise BadInput(
            f"run {record.run_id}: its network cannot be built from its record ({first_line(error)}): repeat the run"
        ) from error
    backbone.net.eval()
    return backbone


def method_node(record: Record) -> dict[str, Any]:
    """The config of the method for the saved tensors.

    A supernet is saved with all its paths. If only one path was trained (a random one, or a winner that was trained
    again), the config names that path.
    """
    node = dict(record.config["method"])
    if record.paths is not None and (is_retrained(record) or node.get("path") == "random"):
        node["path"] = record.paths
    return node


def is_retrained(record: Record) -> bool:
    """True if the saved tensors are those of a winner that was trained again, and not those of a supernet."""
    return (record.config.get("search") or {}).get("winner") == "retrain"


def words_of_backbone(record: Record) -> list[str]:
    """The words that choose the backbone of a run where something else of a config is composed.

    A model of many is not looked up again: nothing of it is needed but its name, which the record has.

    Raises:
        BadInput: conf/ has no such backbone any more.
    """
    if record.config["backbone"].get("family") == AUTO:
        return []
    one_of("backbone", record.names["backbone"], options("backbone"))
    return [f"backbone={record.names['backbone']}"]


def backbone_node(record: Record, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The config of the backbone. A record has only the file name of the weights; the folder comes from conf/.

    Raises:
        BadInput: an override of anything but the place of the weights, or weights that must be downloaded first.
    """
    node = dict(record.config["backbone"])
    words = parse_export_words(overrides, [WEIGHTS])
    if WEIGHTS in words:
        node["weights_from"] = words[WEIGHTS]
    elif node.get("weights_from") == "hub":
        raise BadInput(
            f"run {record.run_id} used weights of timm's hub, and nothing is downloaded because a record says so: give "
            f"{WEIGHTS}=PATH, or {WEIGHTS}=hub to let timm fetch them"
        )
    elif (
        node.get("family") == AUTO
        and node.get("weights_from") is not None
        and record.names["backbone"] not in options("backbone")
    ):
        raise BadInput(
            f"run {record.run_id} read {node['weights_from']}, and a record does not say where that lies: give "
            f"{WEIGHTS}=PATH"
        )
    elif node.get("weights_from") not in (None, "embedded"):
        one_of("backbone", record.names["backbone"], options("backbone"))
        path = compose([f"backbone={record.names['backbone']}"])["backbone"]["weights_from"]
        node["weights_from"] = str(Path(str(path)).parent / node["weights_from"])
    return node


def plain_network(node: Mapping[str, Any], classes: int | None) -> nn.Module:
    """The network of a backbone's config as its library builds it, in evaluation mode.

    Quantised weights are plain ones here, with the numbers that they stand for.

    Args:
        node: config node of the backbone; shortcuts and drop-path are left out.
        classes: number of classes of the new head; None for a network without a head.
    """
    usual = {"drop_path": 0.0, "last_block": "all"}
    net: Any = make({**node, **{key: value for key, value in usual.items() if key in node}}, BACKBONE).net
    if classes is not None:
        net.reset_classifier(classes)  # timm's function, so that the network knows the number
    dequantize_linears(net)
    return net.eval()


def example(backbone: Backbone, count: int = 8) -> Tensor:
    """Random inputs: normalised images, or token ids if the backbone reads tokens."""
    generator = torch.Generator().manual_seed(0)
    if backbone.preprocess is None:
        embedding = cast(Any, backbone.net).get_input_embeddings()
        return torch.randint(embedding.num_embeddings, (count, 16), generator=generator)
    side = backbone.preprocess.size
    return torch.randn(count, 3, side, side, generator=generator)


def parse_export_words(words: Sequence[str], keys: Sequence[str]) -> dict[str, str]:
    """The values of words key=value, by key.

    Raises:
        BadInput: a key is unknown or has no value.
    """
    values = {}
    for word in words:
        key, _, value = word.partition("=")
        one_of("key", key, keys)
        if not value:
            raise BadInput(f"'{key}' needs a value: {key}=VALUE")
        values[key] = value
    return values


def run_of_words(words: Mapping[str, str]) -> tuple[Path, Record, list[str]]:
    """The results folder, the record and the overrides that run=, results_dir= and backbone.weights_from= stand for.

    Raises:
        BadInput: see `find_run`.
    """
    roots = [Path(words["results_dir"]).expanduser()] if "results_dir" in words else ROOTS
    overrides = [f"{WEIGHTS}={words[WEIGHTS]}"] if WEIGHTS in words else []
    return *find_run(words["run"], roots), overrides


def _classes(file: Path, head: str) -> int:
    """The number of classes of the trained head."""
    try:
        with safe_open(file, "pt") as tensors:
            return tensors.get_slice(f"{head}.weight").get_shape()[0]
    except (OSError, SafetensorError):
        return 1  # `load_trained` says what is wrong with the file


def _check_weights(record: Record, backbone: Backbone) -> None:
    """Refuse weights of a backbone that are not those of the run."""
    sha256, checksum = (record.provenance.get("weights") or {}).get("sha256"), backbone.weights.get("sha256")
    if sha256 != checksum:
        raise BadInput(
            f"run {record.run_id} used weights with sha256 {sha256}, these have {checksum}: give the file of the run "
            f"with {WEIGHTS}=PATH"
        )
    if sha256 is None and not all(p.requires_grad for p in backbone.net.parameters()):
        raise BadInput(
            f"run {record.run_id} started from random weights, which no file holds, so its network cannot be built "
            f"again: repeat the run with {WEIGHTS}=PATH"
        )
