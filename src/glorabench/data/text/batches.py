"""Batches of tokens: rows of one width, and where in them the tokens stand that count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from glorabench.data.text.encoding import Encoded
from glorabench.data.text.task import TextExample


class TextBatch:
    """Rows of tokens, padded on the right, and the tokens among them that are scored.

    A row never sees what stands to its right, so padding changes nothing and needs no mask. Where an encoder reads the
    prompts, they are `sources`, with a mask, and `tokens` is what the decoder reads.

    Args:
        tokens: rows x width.
        at: positions, in the flattened tokens, at which the next token is predicted and scored.
        targets: the token to predict at each of them.
        rows: the example of the batch that each of them belongs to, or its choice in multiple choice.
        positions: rows x width, where several examples share a row; each starts at 0 again.
        prompts: the prompts alone, padded on the left, where completions are generated.
        mask: which tokens of `prompts` are no padding.
        examples: of the batch.
        owners: the example of each row, by its number in `examples`.
        sources: rows x width, what an encoder reads, padded on the right.
        source_mask: which tokens of `sources` are no padding.
    """

    def __init__(
        self,
        tokens: Tensor,
        at: Tensor,
        targets: Tensor,
        rows: Tensor,
        examples: Sequence[TextExample],
        positions: Tensor | None = None,
        prompts: Tensor | None = None,
        mask: Tensor | None = None,
        owners: Tensor | None = None,
        sources: Tensor | None = None,
        source_mask: Tensor | None = None,
    ) -> None:
        self.tokens, self.at, self.targets, self.rows = tokens, at, targets, rows
        self.positions, self.prompts, self.mask, self.owners = positions, prompts, mask, owners
        self.sources, self.source_mask = sources, source_mask
        self.examples = examples

    @property
    def inputs(self) -> dict[str, Tensor | None]:
        """What the function `hidden` of a network is given."""
        if self.sources is None:
            return {"tokens": self.tokens, "positions": self.positions}
        return {"tokens": self.tokens, "sources": self.sources, "mask": self.source_mask}

    @property
    def example_inputs(self) -> Tensor:
        """One tensor that a network maps to logits: whole texts, or what an encoder reads."""
        return self.tokens if self.sources is None else self.sources

    def __len__(self) -> int:
        return len(self.examples)

    def to(self, device: torch.device, non_blocking: bool = False) -> TextBatch:
        """The batch on a device."""
        tensors = {
            name: value.to(device, non_blocking=non_blocking)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return TextBatch(**{**vars(self), **tensors})


@dataclass(frozen=True)
class Collator:
    """Makes batches of the rows of a split.

    Args:
        encoded: the rows.
        examples: of the split.
        pad: the token that fills up.
        loss_on_prompt: score the tokens of prompts and of the turns of users, too.
        pack: the width of rows that hold several examples; None gives each example a row.
        with_prompts: give the prompts alone, for generation.
    """

    encoded: Encoded
    examples: Sequence[TextExample]
    pad: int
    loss_on_prompt: bool = False
    pack: int | None = None
    with_prompts: bool = False

    def __call__(self, indices: Sequence[int]) -> TextBatch:
        """The batch of these rows."""
        places = self._places([len(self.encoded.row(i)) for i in indices])
        width = max(column + len(self.encoded.row(i)) for (_, column), i in zip(places, indices, strict=True))
        tokens = np.full((places[-1][0] + 1, width), self.pad, np.int64)
        positions = np.zeros_like(tokens)
        at, targets, rows = [], [], []
        for number, ((line, column), index) in enumerate(zip(places, indices, strict=True)):
            row = self.encoded.row(index)
            tokens[line, column : column + len(row)] = row
            positions[line, column : column + len(row)] = np.arange(len(row))
            scored = self.encoded.targets(index, self.loss_on_prompt)
            at.append(line * width + column + scored - 1)
            targets.append(row[scored])
            rows.append(np.full(len(scored), number))
        owners = self.encoded.owners[list(indices)].tolist()
        numbers = {owner: number for number, owner in enumerate(dict.fromkeys(owners))}
        batch = TextBatch(
            torch.from_numpy(tokens),
            *(torch.from_numpy(np.concatenate(parts).astype(np.int64)) for parts in (at, targets, rows)),
            examples=[self.examples[i] for i in numbers],
            positions=torch.from_numpy(positions) if self.pack else None,
            owners=torch.tensor([numbers[owner] for owner in owners]),
        )
        return self._add_prompts(batch, indices) if self.with_prompts else batch

    def _places(self, lengths: Sequence[int]) -> list[tuple[int, int]]:
        """Line and column of each row: one line each, or one after the other as far as they fit."""
        places, line, column = [], 0, 0
        for length in lengths:
            if places and (self.pack is None or column + length > self.pack):
                line, column = line + 1, 0
            places.append((line, column))
            column += length
        return places

    def _add_prompts(self, batch: TextBatch, indices: Sequence[int]) -> TextBatch:
        rows = [self.encoded.row(i)[: self.encoded.prompts[i]] for i in indices]
        batch.prompts, batch.mask = _padded(rows, self.pad, on_left=True)
        return batch

    def whole_examples(self) -> Collator:
        """The same without packing."""
        return replace(self, pack=None)


@dataclass(frozen=True)
class PairCollator:
    """Makes batches for an encoder that reads prompts and a decoder that writes completions.

    The decoder reads its start token and the completion without the last token, and predicts the completion.

    Args:
        encoded: the rows: prompt and completion.
        examples: of the split.
        pad: the token that fills up.
        start: the token with which the decoder begins.
    """

    encoded: Encoded
    examples: Sequence[TextExample]
    pad: int
    start: int

    def __call__(self, indices: Sequence[int]) -> TextBatch:
        """The batch of these rows."""
        rows = [self.encoded.row(i) for i in indices]
        sizes = [int(self.encoded.prompts[i]) for i in indices]
        completions = [row[size:] for row, size in zip(rows, sizes, strict=True)]
        sources, source_mask = _padded([row[:size] for row, size in zip(rows, sizes, strict=True)], self.pad)
        tokens, is_token = _padded([np.r_[self.start, completion[:-1]] for completion in completions], self.pad)
        starts = torch.full((len(rows), 1), self.start)
        return TextBatch(
            tokens,
            at=is_token.flatten().nonzero()[:, 0],
            targets=torch.from_numpy(np.concatenate(completions).astype(np.int64)),
            rows=is_token.nonzero()[:, 0],
            examples=[self.examples[i] for i in dict.fromkeys(self.encoded.owners[list(indices)].tolist())],
            prompts=starts,
            mask=torch.ones_like(starts),
            sources=sources,
            source_mask=source_mask,
        )

    def whole_examples(self) -> PairCollator:
        """The same: rows are not packed."""
        return self


def _padded(rows: Sequence[np.ndarray], pad: int, on_left: bool = False) -> tuple[Tensor, Tensor]:
    """Rows of one width, and 1 where a token is no padding."""
    width = max(map(len, rows))
    tokens = torch.full((len(rows), width), pad)
    mask = torch.zeros_like(tokens)
    for line, row in enumerate(rows):
        span = slice(width - len(row), None) if on_left else slice(0, len(row))
        tokens[line, span] = torch.from_numpy(row.astype(np.int64))
        mask[line, span] = 1
    return tokens, mask
