"""Read what a folder of Hugging Face's says of its model, for the config of a run. Light: no transformers."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from glorabench.errors import BadInput, first_line

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
_RESAMPLING = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers of what data/ can do
# fields of a config.json that are about files, labels or the way of calling, and not about the network
_OTHER_FIELDS = {
    *("architectures", "model_type", "id2label", "label2id", "num_labels", "problem_type", "torch_dtype", "dtype"),
    *("transformers_version", "return_dict", "output_attentions", "output_hidden_states", "torchscript"),
    *("name_or_path", "auto_map", "attn_implementation", "chunk_size_feed_forward", "is_encoder_decoder"),
    "use_bfloat16",
}
_OTHER_FIELDS_OF_IMAGES = {
    *("text_config", "drop_path_rate", "quantization_config", "stage_names", "out_features", "out_indices"),
}


def fill_from_folder(node: Mapping[str, Any]) -> dict[str, Any]:
    """What a backbone's config does not say, where `model` is a folder: keys of the config and their values.

    Args:
        node: the config of a backbone of Hugging Face's.

    Raises:
        BadInput: the folder holds no config.json that can be read, or an image processor that this package lacks.
    """
    model = node.get("model")
    name = {"name": node.get("name") or Path(str(model)).name} if model else {}
    folder = Path(str(model)).expanduser()
    if not model or not folder.is_dir():
        return name
    config = read_folder_config(folder / CONFIG, "backbone.model")
    if not isinstance(config.get("model_type"), str):
        raise BadInput(f"backbone.model: {folder / CONFIG} names no model_type: give a folder of save_pretrained")
    values = {
        **name,
        "model": config["model_type"],
        "model_args": {
            **network_fields(config, _OTHER_FIELDS_OF_IMAGES, keep_null=False),
            **(node.get("model_args") or {}),
        },
    }
    if node.get("weights_from") == "undecided":
        values["weights_from"] = str(folder)
    if (folder / PREPROCESSOR).is_file():
        own_values = {key: value for key, value in (node.get("preprocess") or {}).items() if value is not None}
        values["preprocess"] = {
            **_preprocess(read_folder_config(folder / PREPROCESSOR, "backbone.model")),
            **own_values,
        }
    elif values.get("weights_from") and not {"mean", "std", "interpolation"} <= (node.get("preprocess") or {}).keys():
        raise BadInput(
            f"{folder} has no {PREPROCESSOR}, so nothing says how images are prepared for it: give it, as in "
            "'backbone.preprocess={mean:[0.5,0.5,0.5],std:[0.5,0.5,0.5],interpolation:bicubic}'"
        )
    return values


def read_folder_config(path: Path, key: str) -> dict[str, Any]:
    """The keys and values of a JSON file that `save_pretrained` writes.

    Args:
        path: of the file.
        key: of the config that names the folder, for the message.

    Raises:
        BadInput: it cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it holds no keys and values")
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{key}: {path} cannot be read ({first_line(error)}): give a folder of save_pretrained"
        ) from error
    return content


def network_fields(config: Mapping[str, Any], others: Collection[str], keep_null: bool) -> dict[str, Any]:
    """The fields of a config.json that describe the network.

    Args:
        config: the fields.
        others: those that do not, beside those that never do.
        keep_null: null means something.
    """
    fields = {}
    for key, value in config.items():
        if key in _OTHER_FIELDS or key in others or key.startswith("_") or (value is None and not keep_null):
            continue
        fields[key] = network_fields(value, others, keep_null) if isinstance(value, dict) else value
    return fields


def _preprocess(config: Mapping[str, Any]) -> dict[str, Any]:
    """Size, mean, std and interpolation of an image processor."""
    size = config.get("crop_size") if config.get("do_center_crop") else config.get("size")
    if isinstance(size, dict):
        size = size.get("height") or size.get("shortest_edge")
    interpolation = _RESAMPLING.get(config.get("resample", 3))
    if interpolation is None:
        raise BadInput(
            f"{PREPROCESSOR}: resample={config['resample']} is not known: backbone.preprocess.interpolation=..."
        )
    mean, std = config.get("image_mean"), config.get("image_std")
    if not (config.get("do_normalize", True) and mean and std):
        mean, std = [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]
    values = {"size": size, "mean": mean, "std": std, "interpolation": interpolation}
    return {key: value for key, value in values.items() if value is not None}
