"""Tiny language models of transformers, random, saved as it saves them, with the tokenizer of `llama_mini`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoTokenizer

from glorabench.backbones.hf_text import TEXT_FAMILIES
from glorabench.backbones.llama_mini import llama_mini_folder

_CAUSAL = {
    **{"vocab_size": 2048, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 256},
    **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
}
_PAIRS = {
    **{"vocab_size": 2048, "d_model": 32, "d_ff": 48, "num_layers": 2, "num_heads": 4, "d_kv": 8},
    **{"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "dropout_rate": 0.0},
    **{"pad_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 0},
}
SLIDING = {"sliding_window": 6}  # shorter than the texts of tests
FAMILY_SIZES: dict[str, dict[str, Any]] = {
    "llama": {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0,
                                  "high_freq_factor": 4.0, "original_max_position_embeddings": 64}},
    "mistral": SLIDING,
    "qwen2": {"vocab_size": 2052},  # transformers' tokenizer of Qwen 2 adds a token to any vocabulary
    "qwen3": {},
    "gemma": {},
    "gemma2": SLIDING,
    "gemma3_text": SLIDING,
    "t5": {},
}  # fmt: skip


def tiny_text_network(model: str, seed: int = 0, **sizes: Any) -> Any:
    """A network of transformers' own class with every parameter random."""
    kind = getattr(transformers, TEXT_FAMILIES[model].kind)
    fields = (_PAIRS if model == "t5" else _CAUSAL) | FAMILY_SIZES[model] | sizes
    torch.manual_seed(seed)
    net = kind(kind.config_class(**fields)).eval()
    if model == "t5":  # the head of its own that T5 1.1 and FLAN-T5 have
        net.lm_head.weight = torch.nn.Parameter(0.2 * torch.randn_like(net.lm_head.weight))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net


def save_tiny_text_model(model: str, folder: Path, shards: str = "50GB", **sizes: Any) -> Any:
    """Save the network and a tokenizer into a folder; the network."""
    net = tiny_text_network(model, **sizes)
    net.save_pretrained(folder, max_shard_size=shards)
    AutoTokenizer.from_pretrained(llama_mini_folder(), local_files_only=True).save_pretrained(folder)
    return net
