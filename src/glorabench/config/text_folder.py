"""What a folder of a language model says of it, for the config of a run. Light: no transformers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from glorabench.config.hf_folder import CONFIG, network_fields, read_folder_config
from glorabench.errors import BadInput

_OTHER_FIELDS_OF_TEXT: Final = ("task_specific_params", "output_past", "use_cache", "cache_implementation")
TEXT_MODELS: Final = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "t5")


def check_model_type(model: str | None) -> str:
    """A model type whose layers are known.

    Raises:
        BadInput: it is another one.
    """
    if not model:
        raise BadInput("random weights need a model type: backbone.model=llama, or another of Hugging Face's")
    if model not in TEXT_MODELS:
        known = ", ".join(sorted(TEXT_MODELS))
        raise BadInput(f"backbone.model: the layers of a '{model}' are not known. Known: {known}")
    return model


def fill_from_text_folder(node: Mapping[str, Any]) -> dict[str, Any]:
    """What a folder says and the config of a backbone does not: name, model type and sizes.

    Args:
        node: the config of a language model of Hugging Face's.

    Raises:
        BadInput: the folder is missing, its config.json cannot be read, or it holds a model that is not known.
    """
    source = node.get("weights_from")
    if source == "undecided" and not node.get("model"):
        raise BadInput("this backbone needs a folder: backbone.weights_from=FOLDER, as Hugging Face saves a model")
    if source in (None, "undecided"):
        return {"name": node.get("name") or check_model_type(node.get("model"))}
    folder = Path(str(source)).expanduser()
    if not folder.is_dir():
        if node.get("model") and node.get("model_args"):
            return {}  # its sizes are known; weights are asked for where they are needed
        raise BadInput(
            f"backbone.weights_from: there is no folder {folder}, and nothing is downloaded: fetch the model (a gated "
            "one after accepting its licence) and give its folder with backbone.weights_from=PATH"
        )
    config = read_folder_config(folder / CONFIG, "backbone.weights_from")
    if config.get("quantization_config"):
        raise BadInput(f"backbone.weights_from: {folder} holds quantised weights: give those that are not quantised")
    model = check_model_type(str(config.get("model_type")))
    if node.get("model") not in (None, model):
        raise BadInput(f"backbone.weights_from: {folder} holds a {model}, this backbone is a {node['model']}")
    fields = network_fields(config, _OTHER_FIELDS_OF_TEXT, keep_null=True)
    return {"name": node.get("name") or folder.resolve().name, "model": model, "model_args": fields}
