"""The model types of language models whose layers are known. Light: no torch."""

from __future__ import annotations

from typing import Final

from glorabench.errors import BadInput

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
