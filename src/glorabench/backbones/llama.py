"""Hugging Face's Llama: a role table and a builder. Tokens in, logits over the vocabulary out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer, DynamicCache, LlamaConfig, LlamaForCausalLM, LlamaModel, PreTrainedTokenizerBase

from glorabench.backbones.base import Backbone, Role
from glorabench.backbones.hf_folder import checked_sha256, quiet_transformers
from glorabench.backbones.llama_attention import attend_llama
from glorabench.backbones.llama_mini import llama_mini_folder
from glorabench.backbones.llama_prompts import prepend_llama
from glorabench.backbones.quantized import LANGUAGE_HEAD, check_scheme, quantize_linears
from glorabench.backbones.tokenizer_checks import check_tokenizer
from glorabench.backbones.wrapping import check_finite
from glorabench.errors import BadInput, first_line

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
DTYPES = ("float32", "bfloat16", "float16")


class Llama(LlamaForCausalLM):
    """A Llama that maps token ids (batch x tokens) to logits (batch x tokens x vocabulary)."""

    def forward(self, tokens: Tensor) -> Tensor:  # type: ignore[override]
        """Logits of the next token at every position."""
        return super().forward(input_ids=tokens, use_cache=False).logits  # type: ignore[arg-type]

    def hidden(self, tokens: Tensor, positions: Tensor | None = None) -> Tensor:
        """What the head reads: batch x tokens x width.

        Args:
            tokens: batch x tokens; rows end with padding, if any, which no earlier token sees.
            positions: of the tokens in their texts, where several texts share a row. A text begins where they restart
                at 0, and sees itself only.
        """
        is_plain = type(self.model) is LlamaModel and self.config._attn_implementation == "sdpa"
        if positions is not None or not is_plain:
            return self.model(input_ids=tokens, position_ids=positions, use_cache=False).last_hidden_state
        # `model` would ask the device whether its own positions restart, and wait for the answer in every step
        x = self.model.embed_tokens(tokens)
        rotation = self.model.rotary_emb(x, position_ids=torch.arange(tokens.shape[1], device=x.device)[None])
        for layer in self.model.layers:
            x = layer(x, attention_mask=None, position_embeddings=rotation)
        return self.model.norm(x)

    def logits(self, states: Tensor) -> Tensor:
        """Logits over the vocabulary of hidden states (... x width)."""
        return self.lm_head(states)

    def get_input_embeddings(self) -> Any:
        """The table of tokens, also where a method wraps the trunk."""
        return getattr(self.model, "layer", self.model).embed_tokens

    def new_cache(self) -> DynamicCache:
        """An empty cache of keys and values, for `step`."""
        return DynamicCache(config=self.config)

    def step(self, tokens: Tensor, mask: Tensor, positions: Tensor, cache: DynamicCache) -> Tensor:
        """Logits of the token after the last one: batch x vocabulary. The cache takes the tokens in.

        Args:
            tokens: batch x new tokens.
            mask: batch x all tokens so far; 0 for padding.
            positions: of the new tokens, without counting padding.
            cache: keys and values of the tokens before.
        """
        output = self.model(
            input_ids=tokens, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
        )
        return self.lm_head(output.last_hidden_state[:, -1])


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
    if dtype not in DTYPES:
        raise BadInput(f"backbone.dtype '{dtype}' is none of {', '.join(DTYPES)}")
    check_scheme(quantize, double_quant)
    kind = getattr(torch, dtype)
    if weights_from is None or torch.get_default_device().type == "meta":
        config = _config(weights_from, model_args)
        net, provenance = Llama(config).to(kind), {"source": "random initialisation", "sha256": None}
    else:
        net, provenance = _load(_folder(weights_from), sha256, kind)
    if quantize is not None:
        provenance = provenance | {"quantized": _quantize(net, quantize, double_quant)}
    source = tokenizer_from or weights_from
    tokenizer = None if source is None else load_tokenizer(_folder(source), net.config.vocab_size)
    if tokenizer is not None and weights_from is not None:
        check_tokenizer(tokenizer, net.config, _folder(str(source)))
    return Backbone(
        name=name,
        net=net.eval(),
        roles=LLAMA,
        head=None,
        prefix_tokens=None,
        preprocess=None,
        weights=provenance,
        tokenizer=tokenizer,
        attend=attend_llama,
        prepend=prepend_llama,
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


def _quantize(net: Llama, scheme: str, double_quant: bool) -> str:
    """Quantise the linear layers of the blocks, in place. The way in words, for the record."""
    quantize_linears(net, scheme, double_quant, skip=[LANGUAGE_HEAD])
    if scheme == "int8":
        return "int8, one scale for each row; all linear layers but the head"
    scales = "double quantisation" if double_quant else "scales in float32"
    return f"nf4, blocks of 64, {scales}; all linear layers but the head"


def _folder(source: str) -> Path:
    return llama_mini_folder() if source == "embedded" else Path(source).expanduser()


@lru_cache(maxsize=8)  # a run builds its backbone several times
def load_tokenizer(folder: Path, vocabulary: int) -> PreTrainedTokenizerBase | None:
    """The tokenizer of a folder; None if there is none in it.

    Args:
        folder: as Hugging Face saves it.
        vocabulary: how many tokens the network knows.

    Raises:
        BadInput: it cannot be read, or it has tokens that the network does not know.
    """
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        return None
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # whatever transformers meets in a file that is none of its tokenizers
        raise BadInput(f"{folder} holds no tokenizer that can be read ({first_line(error)})") from error
    if len(tokenizer) > vocabulary:
        raise BadInput(
            f"the tokenizer in {folder} has {len(tokenizer)} tokens, but the network knows {vocabulary}: it is of "
            "another model; give the folder of the right one with backbone.tokenizer_from=PATH"
        )
    return tokenizer


def _load(folder: Path, sha256: str | None, dtype: torch.dtype) -> tuple[Llama, dict[str, str | None]]:
    if not any(folder.glob("*.safetensors")) or not (folder / "config.json").is_file():
        raise BadInput(
            f"backbone.weights_from: no config.json and *.safetensors in {folder}. Put a Llama as Hugging Face saves "
            "it there, or give another folder with backbone.weights_from=PATH"
        )
    digest = checked_sha256(folder, sha256)
    try:
        with quiet_transformers():
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
