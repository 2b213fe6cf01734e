"""What a training step on Llama-7B counts: FLOPs, bytes kept for backward, and the memory of the whole step.

    python benchmarks/text_counters.py                        # prints the tables
    python benchmarks/text_counters.py --into docs/text.md    # writes them between the markers table:training_cost

A step is computed on tensors without memory (torch's FakeTensor), through the loss of a run: weights in bfloat16,
autocast to bfloat16, 512 tokens a row, all scored. FLOPs are two for a multiply-add; attention is counted, element-wise
work is not. The floor of some layers is a step that trains a bias of each of them and nothing else: a forward pass, and
the gradients of activations down to the lowest of these layers. Memory is that of every tensor which an operation
makes, from the operation to the release of its last reference.
"""

from __future__ import annotations

import argparse
import copy
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from glorabench.backbones.base import Backbone
from glorabench.backbones.recomputation import recompute_blocks
from glorabench.config.compose import compose
from glorabench.config.instantiate import BACKBONE, METHOD, make
from glorabench.data.text.batches import TextBatch
from glorabench.reports.rendering import embed, grid
from glorabench.search.space import PathSpace
from glorabench.training.measure.profiling import FlopCount
from glorabench.training.objectives.language import LanguageModelling

TOKENS, LAYERS, CARD = 512, 32, 80e9
_PERIOD = 12  # blocks after which every choice of a support has occurred equally often
LLAMA_7B = ("backbone=llama_7b", "backbone.weights_from=null", "backbone.dtype=bfloat16")
BLOCK = "table:training_cost"


@dataclass(frozen=True)
class Variant:
    """A row: what is trained on the layers of `targets`; no words is the floor."""

    label: str
    targets: str
    words: tuple[str, ...] = ()

    def overrides(self) -> list[str]:
        """The words of its method."""
        return [*self.words, f"method.targets=[{self.targets}]"]


ATTENTION, LINEARS = "q,v", "q,k,v,o,gate,up,down"
FLOOR, SUPERNET = "floor", "glora supernet"
_AB = "method.path={A: lora, B: lora, C: none, D: none, E: none}"
_METHODS: dict[str, tuple[str, ...]] = {
    FLOOR: (),
    "lora": ("method=lora",),
    "lora of peft": ("method=peft", "method.args={r: 8, lora_alpha: 8}"),
    SUPERNET: ("method=glora", "method.path=supernet"),
    "glora, A and B lora": ("method=glora", _AB),
    "the same of peft": (
        "method=peft",
        "method.config=GloraConfig",
        "method.args={r: 4, config_A_B: lora, config_C: none, config_D_E: none}",
    ),
}
VARIANTS = [Variant(label, targets, words) for targets in (ATTENTION, LINEARS) for label, words in _METHODS.items()]


class Memory(TorchDispatchMode):
    """Bytes of the tensors that operations make while it is entered: those alive, and the most at one time.

    Args:
        existing: tensors that are not counted.
    """

    def __init__(self, existing: Sequence[Tensor]) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._alive = {tensor.untyped_storage()._cdata for tensor in existing}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute, and note what is new."""
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self._alive:
                    self._alive.add(storage._cdata)
                    self.live += storage.nbytes()
                    self.peak = max(self.peak, self.live)
                    weakref.finalize(storage, self._release, storage._cdata, storage.nbytes())
        return result

    def _release(self, address: int, size: int) -> None:
        self._alive.discard(address)
        self.live -= size


@dataclass(frozen=True)
class StepCost:
    """What one step counts.

    Args:
        flops: of forward and backward pass.
        kept: bytes alive between the two passes, without the network.
        peak: the most bytes at one time, without the network.
        weights: bytes of the frozen network.
        trained: trained numbers.
    """

    flops: float
    kept: float
    peak: float
    weights: float
    trained: float


def floor(backbone: Backbone, targets: Sequence[str]) -> None:
    """Train a bias of each layer of the targets and nothing else."""
    backbone.net.requires_grad_(False)
    for site in backbone.sites(targets):
        layer = backbone.net.get_submodule(site.path)
        layer.bias = nn.Parameter(layer.get_parameter("weight").new_zeros(site.width))


@cache
def _node(words: tuple[str, ...], group: str) -> dict[str, Any]:
    return compose(words)[group]


@cache
def _bare(words: tuple[str, ...], layers: int) -> Backbone:
    node = copy.deepcopy(_node(words, "backbone"))
    node["model_args"]["num_hidden_layers"] = layers
    with torch.device("meta"):
        return make(node, BACKBONE)


def adapted(variant: Variant, words: tuple[str, ...], layers: int, recompute: bool) -> Backbone:
    """The backbone that the words choose, of so many blocks, with the method of a variant, on the meta device."""
    backbone = copy.deepcopy(_bare(words, layers))
    with torch.device("meta"):
        if variant.words:
            make(copy.deepcopy(_node((*words, *variant.overrides()), "method")), METHOD).inject(backbone)
        else:
            floor(backbone, variant.targets.split(","))
    if recompute:
        recompute_blocks(backbone)
    backbone.set_training(True)
    return backbone


def without_memory(net: nn.Module, mode: FakeTensorMode) -> None:
    """Turn the meta tensors of a network into tensors that count as the CPU's, and still have no memory."""
    cpu, convert = torch.device("cpu"), mode.fake_tensor_converter.from_meta_and_device
    copies: dict[int, nn.Parameter] = {}
    for module in net.modules():
        for name, tensor in module._parameters.items():
            if tensor is not None:
                if id(tensor) not in copies:
                    copies[id(tensor)] = nn.Parameter(convert(mode, tensor.data, cpu), tensor.requires_grad)
                module._parameters[name] = copies[id(tensor)]
        for name, tensor in module._buffers.items():
            module._buffers[name] = None if tensor is None else convert(mode, tensor, cpu)


def step(backbone: Backbone, rows: int, tokens: int = TOKENS) -> StepCost:
    """Count a step on rows of tokens, with the path that the network has; on whatever tensors it has."""
    net = backbone.net
    existing = [*net.parameters(), *net.buffers()]
    ids = torch.zeros(rows, tokens, dtype=torch.long)
    at = torch.arange(rows * tokens).view(rows, tokens)[:, :-1].flatten()
    batch = TextBatch(ids, at, torch.zeros_like(at), at // tokens, [])
    with Memory(existing) as memory, FlopCount() as counter:
        with torch.autocast("cpu", torch.bfloat16):
            loss = LanguageModelling(["loss"]).loss(net, batch)
        kept = memory.live
        loss.backward()
    sizes = [(p.numel(), p.element_size(), p.requires_grad) for p in net.parameters()]
    weights = sum(count * width for count, width, trains in sizes if not trains)
    trained = sum(count for count, _, trains in sizes if trains)
    return StepCost(counter.get_total_flops(), kept, memory.peak, weights, trained)


def counted(variant: Variant, layers: int, recompute: bool, rows: int, words: tuple[str, ...], even: bool) -> StepCost:
    """Count a step of a variant on a network of so many blocks; `even` sets the paths of `even_paths`."""
    backbone, mode = adapted(variant, words, layers, recompute), FakeTensorMode()
    if even:
        space = PathSpace(backbone.net)
        space.set(space.genome(even_paths(space, layers)))
    without_memory(backbone.net, mode)
    with mode:
        return step(backbone, rows)


def even_paths(space: PathSpace, blocks: int) -> list[dict[str, str]]:
    """A path for each layer of a supernet: over twelve blocks, every choice of every support occurs equally often."""
    paths = []
    for index, layer in enumerate(space.layers):
        block = index // (len(space.layers) // blocks)
        turns = {"A": block, "B": block + block // 4, "C": block, "D": block, "E": block + block // 3}
        paths.append({name: options[turns[name] % len(options)] for name, options in layer.choices.items()})
    return paths


def _along(first: StepCost, second: StepCost, factor: float) -> StepCost:
    """First plus `factor` times what the second has more."""
    pairs = ((getattr(first, field.name), getattr(second, field.name)) for field in fields(StepCost))
    return StepCost(*(one + factor * (other - one) for one, other in pairs))


def _sum(first: StepCost, second: StepCost, without: StepCost) -> StepCost:
    triples = ([getattr(each, field.name) for each in (first, second, without)] for field in fields(StepCost))
    return StepCost(*(one + other - less for one, other, less in triples))


@cache
def cost(
    variant: Variant,
    recompute: bool = False,
    rows: int = 1,
    words: tuple[str, ...] = LLAMA_7B,
    layers: int = LAYERS,
    first: int = 1,
) -> StepCost:
    """Count a step of a variant; a supernet has all its supports as `lora`, its costliest path.

    FLOPs and bytes kept grow by the same number with each block after the first one, the peak after the second one. So
    two counts, of `first` blocks and of one more, give those of all.
    """
    one, more = (counted(variant, count, recompute, rows, words, even=False) for count in (first, first + 1))
    return _along(one, more, layers - first)


def mean_cost(variant: Variant, recompute: bool = False) -> StepCost:
    """Count a step of a variant; for a supernet the mean over its paths, each choice being equally likely.

    What a block costs more than the floor is the mean over twelve blocks with `even_paths`. Peak memory is no mean.
    """
    if variant.label != SUPERNET:
        return cost(variant, recompute)
    base = Variant(FLOOR, variant.targets)
    part, whole = (cost(base, recompute, layers=count) for count in (_PERIOD, LAYERS))
    ours = counted(variant, _PERIOD, recompute, 1, LLAMA_7B, even=True)
    more = _along(part, ours, LAYERS / _PERIOD)  # a part of the floor, plus what all blocks cost more
    return _sum(more, whole, part)


Table = tuple[tuple[str, ...], list[tuple[str, ...]]]


def cost_table() -> Table:
    """FLOPs and bytes kept of every variant, without and with `train.checkpoint_activations`."""
    rows, floors = [], {}
    for variant in VARIANTS:
        plain, again = (mean_cost(variant, recompute) for recompute in (False, True))
        base = floors.setdefault(variant.targets, plain.flops)
        work = [word for c in (plain, again) for word in (f"{c.flops / 1e12:.2f}", f"{c.flops / base:.3f}")]
        kept = [f"{c.kept / 1e6:,.0f}" for c in (plain, again)]
        layers = "all seven" if variant.targets == LINEARS else variant.targets.replace(",", ", ")
        rows.append((variant.label, layers, work[0], work[1], kept[0], work[2], work[3], kept[1]))
    columns = ("TFLOP", "/ floor", "kept MB")
    return ("method", "layers", *columns, *(f"{name}, checkpointed" for name in columns)), rows


def memory_table() -> Table:
    """The memory of a whole step in GB, and how many rows a card of 80 GB holds."""
    rows = []
    names = {(ATTENTION, "lora"), (ATTENTION, "lora of peft"), (LINEARS, SUPERNET)}
    for variant in (v for v in VARIANTS if (v.targets, v.label) in names):
        for recompute in (False, True):
            few, many = (cost(variant, recompute, count, first=2) for count in (4, 16))
            state, slope = 12 * many.trained, (many.peak - few.peak) / 12  # adapter and AdamW: three float32 each
            fixed = many.weights + state + many.peak - 16 * slope
            parts = (many.weights, 4 * many.trained, 4 * many.trained, 8 * many.trained, many.kept)
            peak = many.weights + state + many.peak
            rest = peak - sum(parts)
            label = f"{variant.label}, {'all seven' if variant.targets == LINEARS else 'q, v'}"
            words = [f"{size / 1e9:.2f}" for size in (*parts, rest, peak)]
            rows.append((label, "yes" if recompute else "no", *words, f"{int((CARD - fixed) / slope):,}"))
    columns = ("weights", "adapter", "gradients", "AdamW", "kept", "more at the peak", "peak", "rows in 80 GB")
    return ("method", "checkpointed", *columns), rows


def text() -> str:
    """Both tables as Markdown."""
    parts: list[str] = []
    for columns, rows in (cost_table(), memory_table()):
        parts += ["\n".join(grid(columns, rows, columns[:2])), ""]
    return "\n".join(parts)


def main() -> None:
    """Count, then print or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, help=f"a Markdown file with the markers {BLOCK}")
    into = parser.parse_args().into
    if into is None:
        print(text(), end="")
    else:
        embed(text(), BLOCK, into)


if __name__ == "__main__":
    main()
