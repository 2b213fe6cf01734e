"""Hugging Face's Llama: a role table and a builder. Tokens in, logits over the vocabulary out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from glorabench.backbones.base import Backbone, Role
from glorabench.backbones.causal import CausalLM
from glorabench.backbones.hf_folder import quiet_transformers
from glorabench.backbones.llama_attention import attend_llama
from glorabench.backbones.llama_mini import llama_mini_folder
from glorabench.backbones.llama_prompts import prepend_llama
from glorabench.backbones.quantized import check_scheme, quantize_network
from glorabench.backbones.text_folder import checked_dtype, load_text_network, tokenizer_of_network
from glorabench.errors import BadInput, first_line
from glorabench.inputs import TextInputs

LLAMA = {
    "trunk": Role("model"),
    "block": Role("model.layers.*"),
    "norm1": Role("model.layers.*.input_layernorm"),
    "in1": Role("model.layers.*.input_layernorm"),
    "attn": Role("model.layers.*.self_attn"),
    "q": Role("model.layers.*.self_attn.q_proj"),
    "k": Role("model.layers.*.self_attn.k_proj"),
    "v": Role("model.layers.*.self_attn.v_proj"),
    "o": Role("model.layers.*.self_attn.o_proj"),
    "out1": Role("model.layers.*.self_attn.o_proj"),
    "norm2": Role("model.layers.*.post_attention_layernorm"),
    "in2": Role("model.layers.*.post_attention_layernorm"),
    "mlp": Role("model.layers.*.mlp"),
    "gate": Role("model.layers.*.mlp.gate_proj"),
    "up": Role("model.layers.*.mlp.up_proj"),
    "down": Role("model.layers.*.mlp.down_proj"),
    "out2": Role("model.layers.*.mlp.down_proj"),
    "norm": Role("model.norm"),
}


class Llama(CausalLM, LlamaForCausalLM):  # type: ignore[misc] # its forward takes tokens alone
    """A Llama that maps token ids (batch x tokens) to logits (batch x tokens x vocabulary)."""


def llama_backbone(
    name: str,
    family: str,  # noqa: ARG001 (read by configs: `by_family`)
    weights_from: str | None,
    sha256: str | None,
    dtype: str,
    model_args: Mapping[str, Any],
    tokenizer_from: str | None = None,
    quantize: str | None = None,
    double_quant: bool = True,
) -> Backbone:
    """Build a Llama with its tokenizer; it has no task head, its language-model head stays frozen.

    Args:
        name: its name in tables.
        family: `llama`, which chooses the targets of methods.
        weights_from: a folder with `config.json` and `*.safetensors` as Hugging Face saves them, or None for
            random initialisation; or `embedded`, the folder of `llama_mini` in the package.
        sha256: expected hash of the folder (see `checksum.sha256_of`); None accepts any and records it.
        dtype: of the weights: float32, bfloat16 or float16.
        model_args: fields of `transformers.LlamaConfig`, used if there is no folder.
        tokenizer_from: a folder with a tokenizer as Hugging Face saves it, or `embedded`; None is the folder of the
            weights.
        quantize: `nf4` or `int8` keeps the linear layers of the blocks in so many bits (docs/quantised.md); None keeps
            them as they are.
        double_quant: the scales of nf4 are quantised, too.

    Raises:
        BadInput: the folder is missing, incomplete, altered or of another architecture; or nf4 cannot be used here.
    """
    check_scheme(quantize, double_quant)
    kind = checked_dtype(dtype)
    if weights_from is None or torch.get_default_device().type == "meta":
        config = _config(weights_from, model_args)
        network: Any = Llama(config)
        net, provenance = network.to(kind), {"source": "random initialisation", "sha256": None}
    else:
        net, provenance = load_text_network(Llama, _folder(weights_from), sha256, kind, "Llama")
    provenance = quantize_network(net, quantize, double_quant, provenance)
    source = tokenizer_from or weights_from
    folder = None if source is None else _folder(source)
    return Backbone(
        name=name,
        net=net.eval(),
        roles=LLAMA,
        head=None,
        prefix_tokens=None,
        preprocess=None,
        weights=provenance,
        tokenizer=tokenizer_of_network(folder, net.config, weights_from is not None),
        attend=attend_llama,
        prepend=prepend_llama,
        text=TextInputs(net.config.max_position_embeddings),
    )


def _config(weights_from: str | None, model_args: Mapping[str, Any]) -> LlamaConfig:
    """The sizes of the network: those of the folder where there is one, else `model_args`."""
    if weights_from is None or not (_folder(weights_from) / "config.json").is_file():
        with quiet_transformers():
            return LlamaConfig(**dict(model_args))
    try:
        return LlamaConfig.from_pretrained(_folder(weights_from), local_files_only=True)
    except Exception as error:  # whatever transformers meets in a file that is none of its configs
        raise BadInput(f"{_folder(weights_from)}/config.json cannot be read ({first_line(error)})") from error


def _folder(source: str) -> Path:
    return llama_mini_folder() if source == "embedded" else Path(source).expanduser()
