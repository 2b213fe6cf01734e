"""What a language model knows of its upstream texts: held-out loss, copying, facts, sums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glorabench.data.text.copying import repeat_tokens
from glorabench.data.text.tokenizer import SPECIAL_TOKENS
from glorabench.data.text.upstream import gloss_text, held_out_glosses
from glorabench.data.text.world import RELATIONS, STATEMENTS, neighbours

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

UPSTREAM_GLOSSES: Final = 500  # held out
_SEED: Final = 20264
_ROWS: Final = 64
_LENGTH: Final = 128
_PROBES: Final = 400


@dataclass(frozen=True)
class TextSkills:
    """Upstream skills of a language model.

    Attributes:
        bits_per_byte: loss on 500 held-out glosses, in bits for each byte of text.
        copying: share of the repeated random tokens that are predicted.
        facts: share of 400 statements about the small world of which the last word is predicted.
        sums: share of 400 sums and differences of numbers up to 99 of which every token of the result is predicted.
    """

    bits_per_byte: float
    copying: float
    facts: float
    sums: float


@torch.no_grad()
def measure_skills(net: nn.Module, tokenizer: PreTrainedTokenizerFast) -> TextSkills:
    """Measure a network that maps `input_ids` to an output with `logits`, such as Hugging Face's.

    Args:
        net: a language model.
        tokenizer: what it reads.
    """
    training = net.training
    net.eval()
    random = Random(_SEED)
    skills = TextSkills(
        bits_per_byte=_bits_per_byte(net, tokenizer, random),
        copying=_copying(net, len(tokenizer), random),
        facts=_completion(net, tokenizer, list(_statements(random))),
        sums=_completion(net, tokenizer, list(_sums(random))),
    )
    net.train(training)
    return skills


def _logits(net: nn.Module, tokens: Tensor) -> Tensor:
    output: Any = net(tokens.to(next(net.parameters()).device))
    return (output if isinstance(output, Tensor) else output.logits).float().cpu()


def _bits_per_byte(net: nn.Module, tokenizer: PreTrainedTokenizerFast, random: Random) -> float:
    texts = [gloss_text(place, random) for place in held_out_glosses()[:UPSTREAM_GLOSSES]]
    nats = 0.0
    for tokens, lengths in _batches(tokenizer, texts):
        losses = F.cross_entropy(_logits(net, tokens)[:, :-1].mT, tokens[:, 1:], reduction="none")
        nats += float(losses[torch.arange(losses.shape[1]) < lengths[:, None] - 1].sum())
    return nats / float(torch.log(torch.tensor(2.0))) / sum(len(text.encode()) for text in texts)


def _copying(net: nn.Module, vocabulary: int, random: Random) -> float:
    rows = [repeat_tokens(random, range(len(SPECIAL_TOKENS), vocabulary), _LENGTH, _LENGTH // 2) for _ in range(_ROWS)]
    tokens = torch.tensor([row for row, _ in rows])
    right = _logits(net, tokens)[:, :-1].argmax(-1) == tokens[:, 1:]
    # The first token of the repetition cannot be known to be one.
    seen = torch.arange(1, _LENGTH) > torch.tensor([period for _, period in rows])[:, None]
    return float(right[seen].double().mean())


def _statements(random: Random) -> Iterator[tuple[str, str]]:
    """Statements without their last word, and the word."""
    forms = {relation: [form for form in STATEMENTS[relation] if form.endswith(" {what}.")] for relation in RELATIONS}
    for _ in range(_PROBES):
        person, relation = random.choice(neighbours()), random.choice(list(RELATIONS))
        form = random.choice(forms[relation]).removesuffix(" {what}.")
        what = person.facts[relation]
        if form.endswith(" a") and what[0] in "aeiou":
            form += "n"
        yield form.format(who=person.name), what


def _sums(random: Random) -> Iterator[tuple[str, str]]:
    for _ in range(_PROBES):
        total = random.randint(10, 99)
        a = random.randint(1, total - 1)
        b = total - a
        yield random.choice(((f"{a} + {b} =", f"{total}."), (f"{total} - {b} =", f"{a}.")))


def _completion(net: nn.Module, tokenizer: PreTrainedTokenizerFast, probes: Sequence[tuple[str, str]]) -> float:
    """Share of the probes of which each token of the completion is the likeliest one."""
    heads = [len(ids) for ids in _encode(tokenizer, [prompt for prompt, _ in probes])]
    right: list[bool] = []
    for tokens, lengths in _batches(tokenizer, [f"{prompt} {completion}" for prompt, completion in probes]):
        agree = _logits(net, tokens)[:, :-1].argmax(-1) == tokens[:, 1:]
        for row, length in zip(agree, lengths, strict=True):
            right.append(bool(row[heads[len(right)] - 1 : length - 1].all()))
    return sum(right) / len(right)


def _encode(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[list[int]]:
    return [
        [SPECIAL_TOKENS.index("<s>"), *ids] for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    ]  # type: ignore[union-attr]


def _batches(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], size: int = 50
) -> Iterator[tuple[Tensor, Tensor]]:
    """Tokens, padded on the right, and the length of each row."""
    rows = _encode(tokenizer, texts)
    for start in range(0, len(rows), size):
        part = [torch.tensor(row) for row in rows[start : start + size]]
        yield nn.utils.rnn.pad_sequence(part, batch_first=True), torch.tensor([len(row) for row in part])
