"""Language models of Hugging Face's transformers, recognised by the `model_type` of their config.json.

Causal models: Llama 1 to 3, Mistral, Qwen 2 and 3, Gemma 1 to 3 (text). Encoder-decoders: T5 and FLAN-T5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
import transformers

from glorabench.backbones.base import Backbone, Role
from glorabench.backbones.causal import CausalLM
from glorabench.backbones.llama import LLAMA
from glorabench.backbones.llama_attention import attend_llama
from glorabench.backbones.llama_prompts import prepend_llama
from glorabench.backbones.quantized import check_scheme, quantize_network
from glorabench.backbones.t5 import T5, T5_ROLES, UNGATED_ROLES, untie_head
from glorabench.backbones.text_folder import checked_dtype, load_text_network, tokenizer_of_network
from glorabench.errors import BadInput, first_line, one_of
from glorabench.inputs import TextInputs

# Gemma 2 and 3 have norms behind attention and feed-forward path, too: what goes into the stream is their output
_GEMMA_2: Final = LLAMA | {
    "out1": Role("model.layers.*.post_attention_layernorm"),
    "norm2": Role("model.layers.*.pre_feedforward_layernorm"),
    "in2": Role("model.layers.*.pre_feedforward_layernorm"),
    "out2": Role("model.layers.*.post_feedforward_layernorm"),
}


@dataclass(frozen=True)
class TextFamily:
    """How the networks of a model type are built.

    Args:
        kind: the class of transformers.
        roles: role -> where it lives.
        attend: attention with prompts, if the family has such a form.
    """

    kind: str
    roles: Mapping[str, Role]
    attend: Callable[..., Any] | None = attend_llama


TEXT_FAMILIES: Final[Mapping[str, TextFamily]] = {
    "llama": TextFamily("LlamaForCausalLM", LLAMA),
    "mistral": TextFamily("MistralForCausalLM", LLAMA),
    "qwen2": TextFamily("Qwen2ForCausalLM", LLAMA),
    "qwen3": TextFamily("Qwen3ForCausalLM", LLAMA),
    "gemma": TextFamily("GemmaForCausalLM", LLAMA),
    "gemma2": TextFamily("Gemma2ForCausalLM", _GEMMA_2),
    "gemma3_text": TextFamily("Gemma3ForCausalLM", _GEMMA_2),
    "t5": TextFamily("T5ForConditionalGeneration", T5_ROLES, None),
}


def hf_text_backbone(
    name: str,
    model: str | None,
    family: str,  # noqa: ARG001 (read by configs: `by_family`)
    weights_from: str | None,
    sha256: str | None,
    dtype: str,
    model_args: Mapping[str, Any] | None = None,
    tokenizer_from: str | None = None,
    quantize: str | None = None,
    double_quant: bool = True,
) -> Backbone:
    """Build a language model with its tokenizer; it has no task head, its language-model head stays frozen.

    Args:
        name: its name in tables.
        model: its model type, a name of `TEXT_FAMILIES`.
        family: `auto`: methods adapt by default what their lists name and the model has.
        weights_from: a folder with `config.json` and `*.safetensors` as Hugging Face saves them, or None for random
            initialisation.
        sha256: expected hash of the folder (see `checksum.sha256_of`); None accepts any and records it.
        dtype: of the weights: float32, bfloat16 or float16.
        model_args: fields of the model's config, used where no folder is read.
        tokenizer_from: a folder with a tokenizer as Hugging Face saves it; None is the folder of the weights.
        quantize: `nf4` or `int8` keeps the linear layers of the blocks in so many bits (docs/quantised.md); None keeps
            them as they are.
        double_quant: the scales of nf4 are quantised, too.

    Raises:
        BadInput: the model type is not known, or the folder is missing, incomplete, altered or of another model.
    """
    wanted, model_type = checked_dtype(dtype), str(model)
    one_of("backbone.model", model_type, TEXT_FAMILIES)
    check_scheme(quantize, double_quant)
    if quantize is not None and model_type == "t5":
        raise BadInput("backbone.quantize is for models that only decode; a T5 stays as it is: backbone.quantize=null")
    if weights_from is None or torch.get_default_device().type == "meta":
        net, provenance = _random_network(model_type, dict(model_args or {}), wanted)
    else:
        net, provenance = _saved_network(model_type, Path(weights_from).expanduser(), sha256, wanted)
    provenance = quantize_network(net, quantize, double_quant, provenance)
    source = tokenizer_from or weights_from
    folder = None if source is None else Path(source).expanduser()
    chosen = TEXT_FAMILIES[model_type]
    is_ungated = isinstance(net, T5) and not net.config.is_gated_act
    return Backbone(
        name=name,
        net=net.eval(),
        roles=UNGATED_ROLES if is_ungated else chosen.roles,
        head=None,
        prefix_tokens=None,
        preprocess=None,
        weights=provenance,
        tokenizer=tokenizer_of_network(folder, net.config, weights_from is not None),
        attend=chosen.attend,
        prepend=None if model_type == "t5" else prepend_llama,
        text=_inputs(net),
    )


def _network_class(model_type: str) -> Any:
    """The class of transformers, which takes tokens alone and gives logits alone."""
    if model_type == "t5":
        return T5
    base: Any = getattr(transformers, TEXT_FAMILIES[model_type].kind)
    return type(base.__name__, (CausalLM, base), {"__module__": base.__module__})


def _random_network(model_type: str, fields: dict[str, Any], dtype: torch.dtype) -> tuple[Any, dict[str, str | None]]:
    """A network of these sizes with random weights."""
    kind = _network_class(model_type)
    try:
        net = kind(kind.config_class(**fields)).to(dtype)
    except Exception as error:  # of transformers' code: an unknown value, sizes that do not fit together
        raise BadInput(f"backbone.model_args do not make a {model_type} ({first_line(error)})") from error
    if isinstance(net, T5) and not net.config.scale_decoder_outputs:
        untie_head(net)
    return net, {"source": "random initialisation", "sha256": None}


def _saved_network(
    model_type: str, folder: Path, sha256: str | None, dtype: torch.dtype
) -> tuple[Any, dict[str, str | None]]:
    """The network of a folder."""
    net, provenance = load_text_network(_network_class(model_type), folder, sha256, dtype, model_type)
    net.to(dtype)  # transformers holds some layers of a T5 in float32
    if isinstance(net, T5) and net.lm_head.weight is not net.shared.weight:
        net.config.tie_word_embeddings = False  # else a later call of tie_weights would tie them
    return net, provenance


def _inputs(net: Any) -> TextInputs:
    if isinstance(net, T5):  # its positions are relative: no length is too much
        return TextInputs(None, start=int(net.config.decoder_start_token_id))
    return TextInputs(net.config.max_position_embeddings)
