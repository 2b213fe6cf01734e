"""Measure the cost of a method (parameters, FLOPs, memory, latency), and check that merging changes no prediction."""

from __future__ import annotations

import copy
import json
import math
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from glorabench.backbones.base import Backbone
from glorabench.backbones.quantized import frozen_bytes, numbers_of
from glorabench.config.compose import compose
from glorabench.config.instantiate import BACKBONE, METHOD, make
from glorabench.errors import BadInput, UnsuitableBackbone
from glorabench.search.space import PathSpace


def parameters(backbone: Backbone) -> dict[str, int | None]:
    """Exact parameter counts of a backbone with a method in it.

    Returns:
        method: trained parameters without the head; of a supernet, those of the current path. head: parameters of the
        head. total: all parameters of the network that runs. stored_bytes: size of the trained tensors and the head,
        which a task has to keep. supernet: trained parameters of all paths without the head, or None. base_bytes: size
        of what is not trained, with the scales of quantised weights.
    """
    head_ids = {id(p) for p in backbone.head_parameters()}
    trainable = [p for p in backbone.net.parameters() if p.requires_grad]
    head = sum(p.numel() for p in trainable if id(p) in head_ids)
    allocated_size = sum(p.numel() for p in trainable if id(p) not in head_ids)
    space = PathSpace(backbone.net)
    method = space.size(space.genome(space.current())) if space.is_supernet else allocated_size
    frozen = [p for p in backbone.net.parameters() if not p.requires_grad]
    stored_bytes = sum(p.numel() * p.element_size() for p in trainable)
    return {
        "method": method,
        "head": head,
        "total": numbers_of(backbone.net, frozen) + method + head,
        "stored_bytes": stored_bytes * (method + head) // (allocated_size + head),  # of a supernet, its path alone
        "supernet": allocated_size if space.is_supernet else None,
        "base_bytes": frozen_bytes(backbone.net),
    }


class _OneModule:
    """Stands for torch's tracker of modules: all operations belong to the whole."""

    parents: Final = frozenset({"Global"})

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


class FlopCount(FlopCounterMode):
    """FLOPs of the operations in a `with` block, of all modules together.

    Torch's own counter follows modules by hooks. What a checkpointed block computes again in the backward pass is then
    held until Python collects its garbage, which takes the memory that checkpointing saves.
    """

    def __init__(self) -> None:
        super().__init__(display=False)
        self.mod_tracker: Any = _OneModule()


def flops(step: Callable[[], Tensor]) -> int:
    """FLOPs (two per multiply-add) of `step`, which returns a loss, and of its backward pass; also on meta tensors."""
    with FlopCount() as counter:
        step().backward()
    return counter.get_total_flops()


class PeakMemory:
    """The peak memory of a `with` block: allocated bytes on CUDA, elsewhere the resident set of the process."""

    _refs, _status = Path("/proc/self/clear_refs"), Path("/proc/self/status")

    def __enter__(self) -> PeakMemory:
        self.kind = "cuda_allocated" if torch.cuda.is_available() else "resident_set"
        if self.kind == "cuda_allocated":
            torch.cuda.reset_peak_memory_stats()
        else:
            try:
                self._refs.write_text("5")  # Linux: the high-water mark starts again from here
            except OSError:
                self.kind = "resident_set_of_process"
        return self

    def __exit__(self, *_: object) -> None:
        self.bytes = self._peak()

    def _peak(self) -> int:
        if self.kind == "cuda_allocated":
            return torch.cuda.max_memory_allocated()
        if self._status.exists():
            line = next(x for x in self._status.read_text().splitlines() if x.startswith("VmHWM"))
            return int(line.split()[1]) * 1024
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@torch.inference_mode()
def latency(
    nets: Mapping[str, nn.Module], inputs: Tensor, rounds: int, seconds: float = math.inf
) -> dict[str, dict[str, float]]:
    """Milliseconds of a forward pass of each network. The networks take turns, so that drift affects all alike.

    Args:
        nets: the networks by name.
        inputs: one batch for all networks.
        rounds: number of rounds; in each, every network runs for at least 5 ms.
        seconds: no new round begins after so many seconds.

    Returns:
        name -> {median, iqr} over the rounds.
    """
    start = time.perf_counter()
    threads = torch.get_num_threads()
    timers = {
        name: Timer("net(inputs)", globals={"net": net.eval(), "inputs": inputs}, num_threads=threads)
        for name, net in nets.items()
    }
    single = {name: max(timer.timeit(2).mean, 1e-6) for name, timer in timers.items()}  # also warms up
    repeats = {name: max(1, round(5e-3 / duration)) for name, duration in single.items()}
    samples: dict[str, list[float]] = {name: [] for name in nets}
    for _ in range(rounds):
        for name, timer in timers.items():
            samples[name].append(timer.timeit(repeats[name]).mean * 1e3)
        if time.perf_counter() - start > seconds:
            break
    result = {}
    for name, times in samples.items():
        low, median, high = torch.tensor(times).quantile(torch.tensor([0.25, 0.5, 0.75]))
        result[name] = {"median": round(float(median), 4), "iqr": round(float(high - low), 4)}
    return result


@torch.inference_mode()
def certificate(unmerged: nn.Module, merged: nn.Module, inputs: Tensor) -> dict[str, Any]:
    """Compare the outputs of the merged network with those of the trained one on real inputs.

    Returns:
        max_abs_diff: largest difference of a logit. flipped: number of predictions that differ. n: number of
        predictions, of each image or each token. dtype: type of the logits.
    """
    logits, merged_logits = unmerged.eval()(inputs), merged.eval()(inputs)
    return {
        "max_abs_diff": float((logits - merged_logits).abs().max()),
        "flipped": int((logits.argmax(-1) != merged_logits.argmax(-1)).sum()),
        "n": logits[..., 0].numel(),
        "dtype": str(merged_logits.dtype).removeprefix("torch."),
    }


@lru_cache(maxsize=2)  # the rows of a table share one or two backbones
def bare_backbone(config: str, classes: int = 1) -> Backbone:
    """The backbone of a config (JSON) on the meta device. Callers must copy it before they change it."""
    with torch.device("meta"):
        backbone = make(json.loads(config), BACKBONE)
        if backbone.head is not None:
            backbone.set_head(classes)
    return backbone


def backbone_without_method(overrides: Sequence[str]) -> Backbone:
    """The backbone of a config, on the meta device and with a head of one class; `method` may be left out.

    Raises:
        BadInput: the words are wrong, or there is no such network.
    """
    return bare_backbone(json.dumps(compose(["method=full", *overrides])["backbone"]))


def backbone_with_method(overrides: Sequence[str]) -> Backbone:
    """The backbone of a config with its method in it, on the meta device and with a head of one class.

    Raises:
        BadInput: a hyper-parameter is wrong.
        UnsuitableBackbone: the backbone cannot host the method.
    """
    try:
        config = compose(overrides)
    except BadInput as error:
        raise UnsuitableBackbone(str(error)) from error
    return backbone_of_config(config)


def backbone_of_config(config: Mapping[str, Any]) -> Backbone:
    """The same of a checked config.

    Raises:
        BadInput: a hyper-parameter is wrong.
        UnsuitableBackbone: the backbone cannot host the method.
    """
    method = make(config["method"], METHOD)
    with torch.device("meta"):
        backbone = copy.deepcopy(bare_backbone(json.dumps(config["backbone"])))
        try:
            method.inject(backbone)
        except BadInput as error:
            raise UnsuitableBackbone(str(error)) from error
    return backbone


def parameters_of(overrides: Sequence[str]) -> dict[str, int | None]:
    """What `parameters` says of a config, for a head of one class.

    Raises:
        BadInput: as `backbone_with_method`.
    """
    return parameters(backbone_with_method(overrides))


def trained_size(overrides: Sequence[str]) -> int:
    """Number of trained parameters without the head; of a supernet, those of all paths.

    Raises:
        BadInput: as `parameters_of`.
    """
    return size_of(backbone_with_method(overrides))


def size_of(backbone: Backbone) -> int:
    """The same of an injected backbone."""
    counts = parameters(backbone)
    size = counts["method"] if counts["supernet"] is None else counts["supernet"]
    assert size is not None
    return size


def head_size(backbone: Mapping[str, Any]) -> int:
    """Parameters of a head of one class on the backbone of a config; 0 if the backbone has no head."""
    return sum(p.numel() for p in bare_backbone(json.dumps(backbone)).head_parameters())
