"""Score a candidate: merge its supports into plain layers, then run the plain network.

Only layers whose path differs from that of the last candidate are merged again. Blocks before the first of them are not
computed again, because every block keeps its last output.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from glorabench.backbones.base import Backbone, Role
from glorabench.methods.reparam import Reparametrized, merge, set_weights
from glorabench.search.space import Genome, PathSpace

CACHE_BYTES = 2 << 30  # limit of the kept outputs; blocks beyond it are always computed again


class CachedBlock(nn.Module):
    """A block that can give its last output instead of computing it again, batch by batch."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block
        self.outputs: dict[int, Any] = {}
        self.batch, self.reuses_output, self.keeps_output = 0, False, True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The block's output."""
        if self.reuses_output:
            return self.outputs[self.batch]
        output = self.block(*args, **kwargs)
        if self.keeps_output:
            self.outputs[self.batch] = output
        return output


@dataclass(frozen=True)
class Score:
    """The score of a candidate and its cost.

    Args:
        value: mean over the examples; the higher the better.
        computed_share: share of the blocks of the network that were computed for it.
    """

    value: float
    computed_share: float


class Evaluator:
    """Score paths of a trained supernet on batches that stay on the device.

    Args:
        backbone: the trained backbone with a supernet in it; it is not changed.
        batches: batches on the device of the network, ready for it.
        values: (network, batch) -> one value for each example; higher is better.
        context: makes the context of every forward pass (autocast).
    """

    def __init__(
        self,
        backbone: Backbone,
        batches: Sequence[Any],
        values: Callable[[nn.Module, Any], Tensor],
        context: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self.space = PathSpace(backbone.net)
        self.batches, self.values, self.context = batches, values, context
        self.wrappers = {n: m for n, m in backbone.net.named_modules() if isinstance(m, Reparametrized)}
        self._genes = self._genes_of_wrappers()
        self.merged_net = merge(copy.deepcopy(backbone.net)).eval()
        self.layers = {path: self.merged_net.get_submodule(path) for path in self.wrappers}
        self._current: dict[str, Genome] = {}
        self._previous: Genome | None = None
        self.blocks, self._gene_ends = self._cached_blocks(backbone)
        self._sizes = [0] * len(batches)
        self.flops = 0  # FLOPs of a candidate that shares no block; counted on the first one

    def _genes_of_wrappers(self) -> dict[str, slice]:
        """The genes of each wrapper; `PathSpace` has the layers in the same order."""
        genes, start = {}, 0
        for path, wrapper in self.wrappers.items():
            count = len(PathSpace(wrapper).options)
            genes[path] = slice(start, start + count)
            start += count
        return genes

    def _cached_blocks(self, backbone: Backbone) -> tuple[list[CachedBlock], list[int]]:
        """The stem and the blocks of the plain network, and how many genes come before the end of each."""
        names = [name for name, _ in backbone.net.named_modules()]
        # the module that holds the stem is a block where a table names it; elsewhere it may hold the blocks
        stems = backbone.paths_of("stem", names) if isinstance(backbone.roles.get("stem"), Role) else []
        paths = [*dict.fromkeys(path.split(".")[0] for path in stems), *backbone.paths_of("block", names)]
        ends, genes = dict.fromkeys(paths, 0), 0
        for name in names:
            if name in self._genes:
                genes = self._genes[name].stop
            for path in paths:
                if name == path or name.startswith(f"{path}."):
                    ends[path] = genes
        blocks = []
        for path in paths:
            block = CachedBlock(self.merged_net.get_submodule(path))
            parent, _, child = path.rpartition(".")
            setattr(self.merged_net.get_submodule(parent), child, block)
            blocks.append(block)
        return blocks, list(ends.values())

    @torch.no_grad()
    def __call__(self, genome: Genome) -> Score:
        """The score of the path `genome`."""
        self._fold(genome)
        shared, is_first = self._reuse_shared_blocks(genome), self._previous is None
        with FlopCounterMode(display=False) if is_first else nullcontext() as counter:
            sums = [self._sum(0)]
            if is_first:
                self._limit_cache()
            sums += [self._sum(batch) for batch in range(1, len(self.batches))]
        if counter is not None:
            self.flops = counter.get_total_flops()
        self._previous = genome
        return Score(float(torch.stack(sums).sum()) / sum(self._sizes), 1 - shared / (len(self.blocks) or 1))

    def _fold(self, genome: Genome) -> None:
        """Fold the layers whose path is not that of the last candidate."""
        path_of_net = self.space.genome(self.space.current())
        self.space.set(genome)
        for path, genes in self._genes.items():
            if self._current.get(path) != genome[genes]:
                set_weights(self.layers[path], *self.wrappers[path].fold())
                self._current[path] = genome[genes]
        self.space.set(path_of_net)

    def passes(self, candidates: Iterable[Genome]) -> float:
        """How many forward passes of the whole network it takes to score these paths one after the other.

        This depends on the paths alone, also if an interruption made the evaluator start again. At least one path must
        have been scored before: it decides how many blocks keep their outputs.
        """
        total, last_genome = 0.0, None
        for genome in candidates:
            total += round(1 - self._shared_blocks(last_genome, genome) / (len(self.blocks) or 1), 4)
            last_genome = genome
        return total

    def _reuse_shared_blocks(self, genome: Genome) -> int:
        """Let the first blocks that equal those of the last candidate reuse their outputs; return their number."""
        shared = self._shared_blocks(self._previous, genome)
        for index, block in enumerate(self.blocks):
            block.reuses_output = index < shared
        return shared

    def _shared_blocks(self, last_genome: Genome | None, genome: Genome) -> int:
        """How many of the first blocks are the same in two paths and keep their outputs."""
        if last_genome is None:
            return 0
        equal_genes = 0
        while equal_genes < len(genome) and genome[equal_genes] == last_genome[equal_genes]:
            equal_genes += 1
        ends = zip(self.blocks, self._gene_ends, strict=True)
        return sum(block.keeps_output and end <= equal_genes for block, end in ends)

    def _limit_cache(self) -> None:
        """After the first batch: keep the outputs of as many first blocks as fit into CACHE_BYTES for all batches."""
        cache_size = 0.0
        for block in self.blocks:
            cache_size += _output_bytes(block) * len(self.batches)
            block.keeps_output = cache_size <= CACHE_BYTES
            if not block.keeps_output:
                block.outputs.clear()

    def _sum(self, batch: int) -> Tensor:
        """The sum of the values of a batch, on the device."""
        for block in self.blocks:
            block.batch = batch
        with self.context():
            values = self.values(self.merged_net, self.batches[batch])
        self._sizes[batch] = len(values)
        return values.double().sum()


def _output_bytes(block: CachedBlock) -> int:
    outputs = [output[0] if isinstance(output, tuple) else output for output in block.outputs.values()]
    return sum(output.nbytes for output in outputs if isinstance(output, Tensor))
