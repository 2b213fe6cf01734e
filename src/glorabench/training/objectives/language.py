"""Objectives of language models, causal or sequence to sequence.

They have the loss of the next token, and what examples get in the three kinds of text tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from glorabench.backbones.beam_search import beam_search
from glorabench.backbones.generation import generate
from glorabench.data.text.batches import TextBatch
from glorabench.records.metrics import Metric
from glorabench.training.objectives.base import Evaluation
from glorabench.training.objectives.text_scores import TEXT_METRICS, score_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SET_MEAN: Final = "set_mean"  # the metric that is a mean over several test sets
_CHUNK: Final = 1024  # scored tokens of which logits exist at the same time


def token_losses(net: Any, batch: TextBatch) -> Tensor:
    """The negative log-likelihood of each scored token, in nats.

    Only the hidden states of scored tokens go through the head, a chunk at a time, and the logits of a chunk are
    computed again for the backward pass: there is never a tensor of all tokens x vocabulary.
    """
    states = net.hidden(**batch.inputs).flatten(0, 1)[batch.at]

    def losses(states: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(net.logits(states).float(), targets, reduction="none")

    parts = zip(states.split(_CHUNK), batch.targets.split(_CHUNK), strict=True)
    if torch.is_grad_enabled():
        return torch.cat([checkpoint(losses, *part, use_reentrant=False) for part in parts])  # type: ignore[list-item]
    return torch.cat([losses(*part) for part in parts])


class LanguageObjective:
    """The loss of the next token, as a mean over all scored tokens of a batch.

    Of an encoder-decoder these are the tokens of completions, each predicted from the prompt and the right tokens
    before it (teacher forcing).

    Args:
        metrics: names of `TEXT_METRICS`; the first decides, or the mean over the test sets of what it is on each.
        groups: the names of the test sets under one mean; empty for one test set.
    """

    def __init__(self, metrics: Sequence[str], groups: Sequence[str] = ()) -> None:
        self.names, self.groups = metrics, groups
        self.metrics: list[Metric] = [TEXT_METRICS[name] for name in metrics]
        if groups:
            first = self.metrics[0]
            mean = replace(first, name=SET_MEAN, label=f"mean {first.label} of {len(groups)} sets", per_example="reals")
            sets = [replace(first, name=f"{name}/accuracy", label=name) for name in groups]
            self.metrics = [mean, *self.metrics, *sets]

    def _outcomes(
        self, batch: TextBatch, values: Mapping[str, Tensor], predictions: Mapping[str, Tensor] | None = None
    ) -> Evaluation:
        """The outcomes of a batch; of several test sets also the set of each example."""
        values = {name: values[name] for name in self.names}
        if not self.groups:
            return Evaluation(values, dict(predictions or {}))
        numbers = [self.groups.index(e.group) if e.group in self.groups else -1 for e in batch.examples]
        mean = {SET_MEAN: values[self.names[0]].double()}
        return Evaluation(mean | values, {**(predictions or {}), "set": torch.tensor(numbers)})

    def whole_split(self, values: Mapping[str, Tensor], predictions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outcomes on each test set, and what each example adds to the mean over the test sets.

        An example of a set with n of the N examples counts N / (S n) times what it gets, S being the number of sets.
        Then the mean over the examples is the mean over the sets.
        """
        if not self.groups:
            return {}
        sets, first = predictions["set"], values[self.names[0]]
        _, place, counts = sets.unique(return_inverse=True, return_counts=True)
        weights = len(sets) / (len(counts) * counts.double())
        parts = {f"{name}/accuracy": first[sets == number] for number, name in enumerate(self.groups)}
        return {SET_MEAN: first.double() * weights[place], **parts}

    def size(self, batch: TextBatch) -> int:
        """How many examples a batch has."""
        return len(batch)

    def weight(self, batch: TextBatch) -> int:
        """What a batch counts among the batches of one optimiser step: its scored tokens."""
        return len(batch.targets)

    def loss(self, net: nn.Module, batch: TextBatch) -> Tensor:
        """Mean over the scored tokens, in nats."""
        return token_losses(net, batch).mean()

    def _sums(self, net: nn.Module, batch: TextBatch) -> tuple[Tensor, Tensor]:
        """Of each row the sum of its losses, and the number of its scored tokens."""
        losses = token_losses(net, batch)
        rows = int(batch.rows[-1]) + 1
        return (losses.new_zeros(rows).index_add(0, batch.rows, values) for values in (losses, torch.ones_like(losses)))  # type: ignore[return-value]

    @property
    def score_metric(self) -> Metric:
        """What a search ranks candidates by: the loss."""
        return TEXT_METRICS["loss"]

    def score(self, net: nn.Module, batch: TextBatch) -> Tensor:
        """What a search ranks candidates by: minus the mean loss of each example. It needs no generation."""
        sums, counts = self._sums(net, batch)
        return -sums / counts


class LanguageModelling(LanguageObjective):
    """Text is scored by its likelihood: loss in nats a token, and bits per byte."""

    def evaluate(self, net: nn.Module, batch: TextBatch, test: int = 0) -> Evaluation:
        """The loss of each example, and its bits per byte."""
        assert batch.owners is not None
        sums, counts = (  # an example may have several rows
            part.new_zeros(len(batch)).index_add(0, batch.owners, part) for part in self._sums(net, batch)
        )
        sizes = sums.new_tensor([len(example.completion.encode()) for example in batch.examples])
        values = {"loss": sums / counts, "bits_per_byte": sums / sizes / torch.log(sums.new_tensor(2.0))}
        return self._outcomes(batch, values)


class MultipleChoice(LanguageObjective):
    """The likeliest choice is the answer. `acc_norm` divides the log-likelihood by the characters of the choice."""

    def evaluate(self, net: nn.Module, batch: TextBatch, test: int = 0) -> Evaluation:
        """Whether the right choice is the likeliest one, and the log-likelihood of each choice."""
        sums, _ = self._sums(net, batch)
        sizes = [len(example.choices) for example in batch.examples]
        values: dict[str, list[bool]] = {name: [] for name in self.names}
        chosen = []
        for likelihoods, example in zip((-sums).split(sizes), batch.examples, strict=True):
            lengths = likelihoods.new_tensor([len(choice) for choice in example.choices])
            ranked = {"acc": likelihoods, "acc_norm": likelihoods / lengths}
            for name in values:
                values[name].append(int(ranked[name].argmax()) == example.answer)
            chosen.append(int(likelihoods.argmax()))
        device = batch.tokens.device
        return self._outcomes(
            batch,
            {name: torch.tensor(right, device=device) for name, right in values.items()},
            {"chosen": torch.tensor(chosen), "answer": torch.tensor([example.answer for example in batch.examples])},
        )

    @property
    def score_metric(self) -> Metric:
        """What a search ranks candidates by: the metric that decides."""
        return self.metrics[0]

    def score(self, net: nn.Module, batch: TextBatch) -> Tensor:
        """Right or wrong of each example."""
        return self.evaluate(net, batch).values[self.metrics[0].name]


class Generation(LanguageObjective):
    """Completions are written token by token and compared with the right ones.

    Args:
        metrics, groups: see `LanguageObjective`.
        tokenizer: of the backbone.
        max_new_tokens: the most tokens of a completion.
        num_beams: the beams of a beam search; 1 takes the likeliest token each time.
    """

    def __init__(
        self,
        metrics: Sequence[str],
        tokenizer: PreTrainedTokenizerBase,
        max_new_tokens: int,
        num_beams: int = 1,
        groups: Sequence[str] = (),
    ) -> None:
        super().__init__(metrics, groups)
        self.tokenizer, self.max_new_tokens, self.num_beams = tokenizer, max_new_tokens, num_beams

    def evaluate(self, net: nn.Module, batch: TextBatch, test: int = 0) -> Evaluation:
        """What the completion of each example gets, and its tokens, padded with -1."""
        assert batch.prompts is not None
        assert batch.mask is not None
        end = int(self.tokenizer.eos_token_id)  # type: ignore[arg-type]
        writer: Any = net
        if batch.sources is not None:
            writer = writer.writer(batch.sources, batch.source_mask)
        if self.num_beams == 1:
            rows = generate(writer, batch.prompts, batch.mask, self.max_new_tokens, end)
        else:
            rows = beam_search(writer, batch.prompts, batch.mask, self.max_new_tokens, end, self.num_beams)
        texts = [self.tokenizer.decode(row, skip_special_tokens=True).strip() for row in rows]  # type: ignore[union-attr]
        values = {
            name: torch.tensor(
                [score_text(name, text, example) for text, example in zip(texts, batch.examples, strict=True)],
                device=batch.tokens.device,
            )
            for name in self.names
        }
        padded = torch.full((len(rows), self.max_new_tokens), -1)
        for line, row in enumerate(rows):
            padded[line, : len(row)] = torch.tensor(row)
        return self._outcomes(batch, values, {"generated": padded})
