"""Beam search: the likeliest completion among several that grow side by side, as transformers has it by default."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_NEVER = -1e9


@torch.no_grad()
def beam_search(net: Any, prompts: Tensor, mask: Tensor, limit: int, end: int, beams: int) -> list[list[int]]:
    """The completion with the largest mean log-likelihood of its tokens that a beam search meets.

    Args:
        net, prompts, mask, limit, end: see `generate`; the cache of `net` can also be repeated and reordered.
        beams: how many completions of a prompt grow side by side.

    Returns:
        The new tokens of each row, without `end`.
    """
    cache = net.new_cache()
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    logits = net.step(prompts, mask, positions, cache).repeat_interleave(beams, 0)
    cache.batch_repeat_interleave(beams)
    mask, positions = mask.repeat_interleave(beams, 0), positions[:, -1:].repeat_interleave(beams, 0)
    state = _Beams(len(prompts), beams, limit, end, prompts.device)
    while state.grow(logits):
        cache.reorder_cache(state.parents)
        positions = positions + 1
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        logits = net.step(state.rows[:, :, -1].reshape(-1, 1), mask, positions, cache)
    return [max(finished)[1] for finished in state.finished]


class _Beams:
    """The unfinished completions of each prompt, and the best finished ones.

    Args:
        prompts: how many there are.
        beams: unfinished completions of each.
        limit: the most tokens of a completion.
        end: the token that ends one.
        device: of the tensors.
    """

    def __init__(self, prompts: int, beams: int, limit: int, end: int, device: torch.device) -> None:
        self.beams, self.limit, self.end = beams, limit, end
        self.rows = torch.empty((prompts, beams, 0), dtype=torch.long, device=device)
        self.scores = torch.full((prompts, beams), _NEVER, device=device)
        self.scores[:, 0] = 0.0  # at first all completions of a prompt are the same
        self.parents = torch.empty(0, dtype=torch.long, device=device)
        self.finished: list[list[tuple[float, list[int]]]] = [[] for _ in range(prompts)]
        self.can_improve = [True] * prompts

    def grow(self, logits: Tensor) -> bool:
        """Add a token to each completion, out of the logits (prompts * beams x vocabulary).

        Returns:
            Whether a better completion may still come.
        """
        count, vocabulary = len(self.rows), logits.shape[-1]
        likelihoods = torch.log_softmax(logits.float(), -1).view(count, self.beams, vocabulary) + self.scores[..., None]
        scores, places = likelihoods.flatten(1).topk(2 * self.beams)  # enough, even if half of them end here
        parents, tokens = places // vocabulary, places % vocabulary
        earlier = self.rows.gather(1, parents[..., None].expand(-1, -1, self.rows.shape[2]))
        rows = torch.cat([earlier, tokens[..., None]], 2)
        length = rows.shape[2]
        ends = (tokens == self.end) | (length == self.limit)
        self._finish(rows[:, : self.beams], scores[:, : self.beams], ends[:, : self.beams])
        self.scores, order = (scores + _NEVER * ends).topk(self.beams)
        self.rows = rows.gather(1, order[..., None].expand(-1, -1, length))
        offsets = self.beams * torch.arange(count, device=rows.device)[:, None]
        self.parents = (parents.gather(1, order) + offsets).flatten()
        for number, best in enumerate(self.scores[:, 0].tolist()):
            finished = self.finished[number]
            is_beaten = len(finished) == self.beams and best / length <= min(finished)[0]
            self.can_improve[number] = self.can_improve[number] and not is_beaten
        return length < self.limit and any(self.can_improve)

    def _finish(self, rows: Tensor, scores: Tensor, ends: Tensor) -> None:
        """Keep the best of the completions that end here."""
        for number, rank in ends.nonzero().tolist():
            if self.can_improve[number]:
                row = rows[number, rank].tolist()
                tokens = row[:-1] if row[-1] == self.end else row
                self.finished[number].append((float(scores[number, rank]) / len(row), tokens))
        for number, finished in enumerate(self.finished):
            self.finished[number] = sorted(finished, reverse=True)[: self.beams]
