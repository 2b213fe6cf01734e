"""Hugging Face's Llama: a role table and a builder. Tokens in, logits over the vocabulary out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from glorabench.backbones.base import Backbone, Role
from glorabench.backbones.wrapping import check_finite
from glorabench.checksum import sha256_of
from glorabench.errors import BadInput, first_line

LLAMA = {
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
DTYPES = ("float32", "bfloat16", "float16")


class Llama(LlamaForCausalLM):
    """A Llama that maps token ids (batch x tokens) to logits (batch x tokens x vocabulary)."""

    def forward(self, tokens: Tensor) -> Tensor:  # type: ignore[override]
        """Logits of the next token at every position."""
        return super().forward(input_ids=tokens, use_cache=False).logits  # type: ignore[arg-type]


def llama_backbone(
    name: str,
    family: str,  # noqa: ARG001 (read by configs: `by_family`)
    weights_from: str | None,
    sha256: str | None,
    dtype: str,
    model_args: Mapping[str, Any],
) -> Backbone:
    """Build a Llama; it has no task head, its language-model head stays frozen.

    Args:
        name: its name in tables.
        family: `llama`, which chooses the targets of methods.
        weights_from: a folder with `config.json` and `*.safetensors` as Hugging Face saves them, or None for
            random initialisation.
        sha256: expected hash of the folder (see `checksum.sha256_of`); None accepts any and records it.
        dtype: of the weights: float32, bfloat16 or float16.
        model_args: fields of `transformers.LlamaConfig`, used if there is no folder.

    Raises:
        BadInput: the folder is missing, incomplete, altered or of another architecture.
    """
    if dtype not in DTYPES:
        raise BadInput(f"backbone.dtype '{dtype}' is none of {', '.join(DTYPES)}")
    kind = getattr(torch, dtype)
    if weights_from is None or torch.get_default_device().type == "meta":
        config = LlamaConfig(**dict(model_args))
        net, provenance = Llama(config).to(kind), {"source": "random initialisation", "sha256": None}
    else:
        net, provenance = _load(Path(weights_from).expanduser(), sha256, kind)
    return Backbone(
        name=name, net=net.eval(), roles=LLAMA, head=None, prefix_tokens=None, preprocess=None, weights=provenance
    )


def _load(folder: Path, sha256: str | None, dtype: torch.dtype) -> tuple[Llama, dict[str, str | None]]:
    if not any(folder.glob("*.safetensors")) or not (folder / "config.json").is_file():
        raise BadInput(
            f"backbone.weights_from: no config.json and *.safetensors in {folder}. Put a Llama as Hugging Face saves "
            "it there, or give another folder with backbone.weights_from=PATH"
        )
    digest = sha256_of(folder)
    if sha256 not in (None, digest):
        raise BadInput(f"the weights in {folder} have sha256 {digest}, expected {sha256}: fetch them again")
    try:
        answer: Any = Llama.from_pretrained(
            folder, dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except Exception as error:  # whatever transformers meets in a file that is none of its models
        raise BadInput(f"{folder} holds no Llama that can be read ({first_line(error)})") from error
    net, info = answer
    faults = [*info["missing_keys"], *info["unexpected_keys"], *info["mismatched_keys"]]
    if faults:
        raise BadInput(
            f"backbone.weights_from: {folder} holds another architecture (first: {faults[0]}): give a Llama's folder"
        )
    check_finite(dict(net.named_parameters()), folder)
    return net, {"source": folder.name, "sha256": digest}
