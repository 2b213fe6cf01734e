"""`llama_mini`: a Llama of 1.35 M parameters with the layer names of Llama-7B. Light: no torch."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any, Final

LLAMA_MINI: Final[dict[str, Any]] = {
    "vocab_size": 2048,
    "hidden_size": 128,
    "intermediate_size": 344,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def llama_mini_folder() -> Path:
    """The folder of its configuration, weights and tokenizer, as transformers saves them."""
    return Path(str(files("glorabench"))) / "assets" / "llama_mini"
