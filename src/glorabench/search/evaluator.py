"""Scoring a candidate: fold its supports into plain layers once, then run the plain network.

Only layers whose path changed since the last candidate are folded again, and what comes before the first of them is
not computed again: every block keeps its last output.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from glorabench.backbones.base import Backbone
from glorabench.methods.reparam import Reparametrized, fill, merge
from glorabench.search.space import Genome, PathSpace

KEPT_BYTES = 2 << 30  # outputs are kept of as many first blocks as fit into it; the others are computed each time


class Kept(nn.Module):
    """A block that can give its last output instead of computing it again, batch by batch."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block
        self.outputs: dict[int, Any] = {}
        self.batch, self.reuse, self.keep = 0, False, True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The block's output."""
        if self.reuse:
            return self.outputs[self.batch]
        output = self.block(*args, **kwargs)
        if self.keep:
            self.outputs[self.batch] = output
        return output


@dataclass(frozen=True)
class Score:
    """What a candidate got and what that took.

    Args:
        accuracy: share of right predictions, in [0, 1].
        computed: share of the network's blocks that were computed for it.
    """

    accuracy: float
    computed: float


class Evaluator:
    """Accuracy of paths of a trained supernet on inputs that stay on the device.

    Args:
        backbone: injected with a supernet and trained; it is left as it is.
        batches: (inputs, labels) on the device of the network, ready for it.
        predict: from the network's output to predictions.
        context: entered around every forward pass (autocast).
    """

    def __init__(
        self,
        backbone: Backbone,
        batches: list[tuple[Tensor, Tensor]],
        predict: Callable[[Tensor], Tensor],
        context: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self.space = PathSpace(backbone.net)
        self.batches, self.predict, self.context = batches, predict, context
        self.wrappers = {n: m for n, m in backbone.net.named_modules() if isinstance(m, Reparametrized)}
        self._genes = self._genes_of_wrappers()
        self.plain = merge(copy.deepcopy(backbone.net)).eval()
        self.layers = {path: self.plain.get_submodule(path) for path in self.wrappers}
        self._folded: dict[str, Genome] = {}
        self._last: Genome | None = None
        self.units, self._ends = self._kept(backbone)
        self.flops = 0  # of a candidate that shares nothing; counted on the first

    def _genes_of_wrappers(self) -> dict[str, slice]:
        """Which genes each wrapper has; `PathSpace` goes through the layers in the same order."""
        genes, start = {}, 0
        for path, wrapper in self.wrappers.items():
            count = len(PathSpace(wrapper).options)
            genes[path] = slice(start, start + count)
            start += count
        return genes

    def _kept(self, backbone: Backbone) -> tuple[list[Kept], list[int]]:
        """The stem and the blocks of the plain network, and how many genes have acted when each of them ends."""
        names = [name for name, _ in backbone.net.named_modules()]
        found = {role: backbone.roles[role].find(names) for role in ("stem", "block") if role in backbone.roles}
        paths = [*dict.fromkeys(path.split(".")[0] for path in found.get("stem", [])), *found["block"]]
        units, ends, acted = [], dict.fromkeys(paths, 0), 0
        for name in names:
            acted = self._genes[name].stop if name in self._genes else acted
            ends.update({path: acted for path in paths if name == path or name.startswith(f"{path}.")})
        for path in paths:
            units.append(Kept(self.plain.get_submodule(path)))
            parent, _, child = path.rpartition(".")
            setattr(self.plain.get_submodule(parent), child, units[-1])
        return units, list(ends.values())

    @torch.no_grad()
    def __call__(self, genome: Genome) -> Score:
        """Accuracy of the path `genome`."""
        self._fold(genome)
        shared, first = self._share(genome), self._last is None
        with FlopCounterMode(display=False) if first else nullcontext() as counter:
            right = self._right(0)
            if first:
                self._limit()
            for batch in range(1, len(self.batches)):
                right += self._right(batch)
        self.flops = self.flops if counter is None else counter.get_total_flops()
        self._last = genome
        total = sum(labels.numel() for _, labels in self.batches)
        return Score(int(right) / total, 1 - shared / len(self.units))

    def _fold(self, genome: Genome) -> None:
        """Fold the layers whose path is not that of the last candidate."""
        before = self.space.genome(self.space.current())
        self.space.set(genome)
        for path, genes in self._genes.items():
            if self._folded.get(path) != genome[genes]:
                fill(self.layers[path], *self.wrappers[path].folded())
                self._folded[path] = genome[genes]
        self.space.set(before)

    def passes(self, candidates: Iterable[Genome]) -> float:
        """Forward passes of the whole network that it takes to score these paths one after the other.

        A function of the paths alone, wherever an interruption made the evaluator begin anew. At least one path must
        have been scored: only then is it known of how many blocks the outputs are kept.
        """
        total, before = 0.0, None
        for genome in candidates:
            total += round(1 - self._shared(before, genome) / len(self.units), 4)
            before = genome
        return total

    def _share(self, genome: Genome) -> int:
        """Let the first blocks, which are those of the last candidate, give their last outputs; how many do."""
        shared = self._shared(self._last, genome)
        for index, unit in enumerate(self.units):
            unit.reuse = index < shared
        return shared

    def _shared(self, before: Genome | None, genome: Genome) -> int:
        """How many of the first blocks are the same in two paths, and keep their outputs."""
        if before is None:
            return 0
        same = next((i for i, (a, b) in enumerate(zip(before, genome, strict=True)) if a != b), len(genome))
        return sum(unit.keep and end <= same for unit, end in zip(self.units, self._ends, strict=True))

    def _limit(self) -> None:
        """After the first batch: keep no more than KEPT_BYTES of all."""
        (_, labels), foreseen = self.batches[0], 0.0
        for unit in self.units:
            foreseen += _bytes(unit) / labels.numel() * sum(labels.numel() for _, labels in self.batches)
            unit.keep = foreseen <= KEPT_BYTES
            if not unit.keep:
                unit.outputs.clear()

    def _right(self, batch: int) -> Tensor:
        """How many of a batch are predicted right, on the device."""
        inputs, labels = self.batches[batch]
        for unit in self.units:
            unit.batch = batch
        with self.context():
            return (self.predict(self.plain(inputs)) == labels).sum()


def _bytes(unit: Kept) -> int:
    outputs = [o[0] if isinstance(o, tuple) else o for o in unit.outputs.values()]
    return sum(o.nbytes for o in outputs if isinstance(o, Tensor))
