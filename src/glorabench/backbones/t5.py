"""T5 and FLAN-T5 (Raffel et al. 2020, arXiv 1910.10683; Chung et al. 2022, arXiv 2210.11416): an encoder reads the
prompt, a decoder writes the completion."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import DynamicCache, EncoderDecoderCache, T5Config, T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5DenseActDense, T5DenseGatedActDense

from glorabench.backbones.base import Role

_SELF, _CROSS, _DENSE = "layer.0.SelfAttention", "layer.1.EncDecAttention", "DenseReluDense"


def _both(encoder: str, decoder: str) -> Role:
    """The places of a role in the layers of the encoder and in those of the decoder."""
    return Role(f"encoder.block.*{encoder}|decoder.block.*{decoder}")


def _alike(path: str) -> Role:
    return _both(f".{path}", f".{path}")


def _dense(path: str = "") -> Role:
    return _both(f".layer.1.{_DENSE}{path}", f".layer.2.{_DENSE}{path}")


T5_ROLES = {
    "block": _both("", ""),
    "norm1": _alike("layer.0.layer_norm"),
    "in1": _alike("layer.0.layer_norm"),
    "attn": _alike(_SELF),
    **{role: _alike(f"{_SELF}.{role}") for role in ("q", "k", "v", "o")},
    "out1": _alike(f"{_SELF}.o"),
    "cross_norm": Role("decoder.block.*.layer.1.layer_norm"),
    "cross_attn": Role(f"decoder.block.*.{_CROSS}"),
    **{f"cross_{role}": Role(f"decoder.block.*.{_CROSS}.{role}") for role in ("q", "k", "v", "o")},
    "norm2": _both(".layer.1.layer_norm", ".layer.2.layer_norm"),
    "in2": _both(".layer.1.layer_norm", ".layer.2.layer_norm"),
    "mlp": _dense(),
    "gate": _dense(".wi_0"),
    "up": _dense(".wi_1"),
    "down": _dense(".wo"),
    "out2": _dense(".wo"),
    "norm": Role("encoder.final_layer_norm|decoder.final_layer_norm"),
}
# the first T5 has no gate
UNGATED_ROLES = {role: place for role, place in T5_ROLES.items() if role != "gate"} | {"up": _dense(".wi")}


class _Gated(T5DenseGatedActDense):
    """The gated feed-forward path, which calls its layers and reads none of their weights."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        hidden = self.act(self.wi_0(hidden_states)) * self.wi_1(hidden_states)
        return self.wo(self.dropout(hidden))


class _Ungated(T5DenseActDense):
    """The same without a gate."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.wo(self.dropout(self.act(self.wi(hidden_states))))


_PATHS: dict[type[nn.Module], type[nn.Module]] = {T5DenseGatedActDense: _Gated, T5DenseActDense: _Ungated}


class T5(T5ForConditionalGeneration):
    """A T5 that maps prompts and the tokens of completions so far to logits over the vocabulary."""

    def __init__(self, config: T5Config) -> None:
        if getattr(config, "decoder_start_token_id", None) is None:  # as T5 was pretrained
            config.decoder_start_token_id = config.pad_token_id
        super().__init__(config)
        for module in self.modules():  # transformers reads wo.weight in each pass, which an adapted layer may not have
            module.__class__ = _PATHS.get(type(module), type(module))

    def forward(self, tokens: Tensor) -> Tensor:  # type: ignore[override]
        """Logits of texts that the encoder reads and the decoder repeats: batch x tokens x vocabulary.

        This is the pass in which costs are measured, and a merged network is compared with the trained one.
        """
        return self.logits(self.hidden(self._shift_right(tokens), tokens))

    def hidden(self, tokens: Tensor, sources: Tensor, mask: Tensor | None = None) -> Tensor:
        """What the head reads: batch x tokens x width.

        Args:
            tokens: what the decoder reads: batch x tokens; rows end with padding, if any, which no earlier token sees.
            sources: the prompts: batch x width.
            mask: 1 where a token of `sources` is no padding; None where none is.
        """
        states = self.encoder(input_ids=sources, attention_mask=mask).last_hidden_state
        return self.decoder(
            input_ids=tokens, encoder_hidden_states=states, encoder_attention_mask=mask, use_cache=False
        ).last_hidden_state

    def logits(self, states: Tensor) -> Tensor:
        """Logits over the vocabulary of hidden states (... x width)."""
        return self.lm_head(states * self.model_dim**-0.5 if self.config.scale_decoder_outputs else states)

    def writer(self, sources: Tensor, mask: Tensor) -> T5Writer:
        """The decoder for these prompts, for generation."""
        return T5Writer(self, sources, mask)


class T5Writer:
    """The decoder after the encoder has read the prompts; it has the two functions that generation needs.

    Args:
        net: the network.
        sources: the prompts: batch x width.
        mask: 1 where a token of `sources` is no padding.
    """

    def __init__(self, net: T5, sources: Tensor, mask: Tensor) -> None:
        self.net, self.mask = net, mask
        self.states = net.encoder(input_ids=sources, attention_mask=mask).last_hidden_state

    def new_cache(self) -> EncoderDecoderCache:
        """An empty cache of keys and values of both attentions."""
        config = self.net.decoder.config
        return EncoderDecoderCache(DynamicCache(config=config), DynamicCache(config=config))

    def step(self, tokens: Tensor, mask: Tensor, positions: Tensor, cache: EncoderDecoderCache) -> Tensor:
        """Logits of the token after the last one: batch x vocabulary. No row of a decoder begins with padding."""
        beams = len(tokens) // len(self.states)  # completions of one prompt, which stand side by side
        output: Any = self.net.decoder(
            input_ids=tokens,
            encoder_hidden_states=self.states.repeat_interleave(beams, 0),
            encoder_attention_mask=self.mask.repeat_interleave(beams, 0),
            past_key_values=cache,
            use_cache=True,
        )
        return self.net.logits(output.last_hidden_state[:, -1])


def untie_head(net: T5) -> None:
    """Give T5 1.1 and FLAN-T5 the head of their own that they have; transformers ties every T5 that it builds."""
    weight = net.lm_head.weight
    net.config.tie_word_embeddings = False
    net.lm_head.weight = nn.Parameter(nn.init.normal_(weight.new_empty(weight.shape), std=net.model_dim**-0.5))
