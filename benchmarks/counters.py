"""What a training step of every method and variant counts: FLOPs, and bytes that are kept for backward.

FLOPs are counted on the meta device: two for a multiply-add, attention counted, element-wise work not, batches of 8; no
weights, data or accelerator. The floor is a forward pass and the gradients with respect to the activations of every
block: nothing trainable but the class token, below all of them, and the head. Below the floor is what needs no gradient
in the first layers of the first block (pfeiffer, lora) or in any (linear). There are two settings, each with its own
floor: the last block computed for the class token that the head reads, which is the default, and for all tokens, which
is how Hugging Face peft is compared: its layers cannot compute a part of a fused projection. Kept are the bytes that
autograd saves from the forward pass for the backward pass, all tokens, float32 on a CPU: every storage once, without
parameters. A `vector` in A of GLoRA keeps the frozen output, for its gradient: W0 x in place of x.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import fmean
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from glorabench.backbones.base import Backbone
from glorabench.config.compose import compose
from glorabench.config.instantiate import METHOD, make
from glorabench.config.paths import options
from glorabench.methods.glora import Supports
from glorabench.methods.reparam import Reparam
from glorabench.search.space import PathSpace
from glorabench.training.measure.profiling import bare_backbone, flops

BATCH, CLASSES, DRAWS = 8, 100, 24
FLOOR = "frozen floor"
SETTINGS = ("class_token", "all")  # of backbone.last_block
_EVERY = "method.targets=[qkv,o,fc1,fc2]"
_PROMPTS = ["method=vpt_deep", "method.prompts=50"]
VARIANTS: dict[str, list[str]] = {  # beside every method of conf/method/ as it is there
    "lora, fused qkv": ["method=lora", "method.targets=[qkv]"],
    "lora, all linear layers": ["method=lora", _EVERY],
    "dora, fused qkv": ["method=dora", "method.targets=[qkv]"],
    "ia3, fused qkv and fc2": ["method=ia3", "method.targets=[qkv,fc2]"],
    "vpt_deep, 50 prompts": _PROMPTS,
    "glora, all vectors": ["method=glora", "method.path={A: vector, B: vector, C: vector, D: vector, E: vector}"],
    "glora, A none, the rest lora": ["method=glora", "method.path={A: none, B: lora, C: lora, D: vector, E: vector}"],
    "glora, all lora": ["method=glora", "method.path={A: lora, B: lora, C: lora, D: vector, E: vector}"],
    f"glora supernet, mean of {DRAWS} draws": ["method=glora", "method.path=supernet"],
}
_GLORA = ["method=peft", "method.config=GloraConfig", _EVERY]
_IA3 = ["method=peft", "method.config=IA3Config", "method.args={feedforward_modules: [fc2]}"]
PEFT: dict[str, list[str]] = {  # the same in Hugging Face peft
    "lora, fused qkv": ["method=peft", "method.args={r: 8, lora_alpha: 8}", "method.targets=[qkv]"],
    "lora, all linear layers": ["method=peft", "method.args={r: 8, lora_alpha: 8}", _EVERY],
    "dora, fused qkv": ["method=peft", "method.args={r: 8, lora_alpha: 8, use_dora: true}", "method.targets=[qkv]"],
    "ia3, fused qkv and fc2": [*_IA3, "method.targets=[qkv,fc2]"],
    "glora, all vectors": [*_GLORA, "method.args={config_A_B: vector, config_C: vector, config_D_E: vector}"],
    "glora, all lora": [*_GLORA, "method.args={r: 4, config_A_B: lora, config_C: lora, config_D_E: vector}"],
}
_PLAIN = "backbone.last_block=all"
_APART = ["method.targets=[q,k,v,o,fc1,fc2]"]
SHORTCUTS: dict[str, tuple[list[str] | None, list[str]]] = {  # a run with it, None for the floor, and what undoes it
    "last block for the class token: frozen floor": (None, [_PLAIN]),
    "last block for the class token: full fine-tuning": (["method=full"], [_PLAIN]),
    "VPT-Deep, 50 prompts as keys and values only": (_PROMPTS, ["method.keys_only=false"]),
    "VPT-Deep, the same, no dropout of prompts": ([*_PROMPTS, "method.dropout=0"], ["method.keys_only=false"]),
    "FacT-TT, U once for q, k, v": (["method=fact_tt"], _APART),
    "FacT-TK, U once for q, k, v": (["method=fact_tk"], _APART),
    "FacT-TT, the same, last block for all tokens": (["method=fact_tt", _PLAIN], _APART),
    "FacT-TK, the same, last block for all tokens": (["method=fact_tk", _PLAIN], _APART),
}


def variants() -> dict[str, list[str] | None]:
    """Label and overrides of the floor (None), and of every method, its variants after it."""
    every = {**{name: [f"method={name}"] for name in options("method")}, **VARIANTS}
    return {FLOOR: None, **dict(sorted(every.items()))}


def floor(backbone: Backbone) -> None:
    """Leave nothing trainable but the class token, through which gradients cross every block, and the head."""
    backbone.net.requires_grad_(False)
    for parameter in (backbone.net.get_parameter("cls_token"), *backbone.head_parameters()):
        parameter.requires_grad_(True)


def injected(words: Sequence[str], overrides: Sequence[str] | None) -> Backbone:
    """The backbone that `words` choose, with the method that `overrides` choose (None: as the floor); no memory."""
    config = compose([*words, *(overrides or [])])
    backbone = copy.deepcopy(bare_backbone(json.dumps(config["backbone"]), CLASSES))
    torch.manual_seed(0)  # a random path is the same one every time
    with torch.device("meta"):
        if overrides is None:
            floor(backbone)
        else:
            make(config["method"], METHOD).inject(backbone)
    return backbone


def _per_image(backbone: Backbone, batch: int, count: Callable[[Callable[[], Tensor]], int]) -> float:
    """What `count` says of the loss of a batch, divided by it; the mean over drawn paths for a supernet."""
    assert backbone.preprocess is not None
    side, device = backbone.preprocess.size, backbone.net.get_parameter("cls_token").device
    images = torch.randn(batch, 3, side, side, device=device)
    labels = torch.zeros(batch, dtype=torch.long, device=device)
    space, counted = PathSpace(backbone.net), []
    for index in range(DRAWS if space.is_supernet else 1):
        if space.is_supernet:
            space.set(space.draw(0, index))
        counted.append(count(lambda: F.cross_entropy(backbone.net(images), labels)))
    return fmean(counted) / batch


@contextmanager
def literal() -> Iterator[None]:
    """GLoRA forms W' as its formula says, with plain autograd, while this is entered."""
    ours, Supports.through = Supports.through, Reparam.through
    try:
        yield
    finally:
        Supports.through = ours


def step_flops(words: Sequence[str], overrides: Sequence[str] | None) -> float:
    """FLOPs of a training step, per image; arguments as in `injected`."""
    with torch.device("meta"):
        return _per_image(injected(words, overrides), BATCH, flops)


def saved_bytes(words: Sequence[str], overrides: Sequence[str] | None) -> float:
    """Bytes that autograd keeps from forward to backward, per image: every storage once, those of the network itself
    and of the batch not counted. Computed on the CPU in float32: what is kept depends on the kernels. Arguments as in
    `injected`.
    """
    backbone = injected(words, overrides)
    net = backbone.net.to_empty(device="cpu").train(not backbone.trunk_is_frozen())
    with torch.no_grad():
        for tensor in (*net.parameters(), *net.buffers()):
            tensor.fill_(1e-2)
    own = [*net.parameters(), *net.buffers()]
    return _per_image(backbone, 1, lambda step: kept(step, own))


def kept(step: Callable[[], Tensor], own: Iterable[Tensor]) -> int:
    """Bytes that autograd keeps after `step` for its backward pass, every storage once, those of `own` not counted."""
    found: list[Tensor] = []  # all of them until the end, so that no address is used twice
    with saved_tensors_hooks(lambda tensor: found.append(tensor.detach()), lambda _: torch.empty(0)):
        _ = step()  # nothing goes back: kept for real, an output would hold itself, and stay
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in found}
    return sum(storages.values()) - sum(storages.get(p, 0) for p in {t.untyped_storage().data_ptr() for t in own})


def _progress(runs: Mapping[str, Any], said: str) -> Iterable[tuple[str, Any]]:
    console = Console(stderr=True)
    return track(runs.items(), said, console=console, transient=True, disable=not console.is_terminal)


def counters(
    name: str,
    setting: str,
    runs: Mapping[str, Sequence[str] | None],
    count: Callable[[Sequence[str], Sequence[str] | None], float] = step_flops,
) -> dict[str, float]:
    """FLOPs (or what `count` counts) per image of every run, with one way to compute the last block."""
    words = [f"backbone={name}", f"backbone.last_block={setting}"]
    return {label: count(words, run) for label, run in _progress(runs, f"{name}, last block for {setting}")}


def shortcuts(name: str) -> dict[str, list[float]]:
    """FLOPs per image without and with each exact shortcut."""
    words = [f"backbone={name}"]
    runs = _progress(SHORTCUTS, "shortcuts")
    return {label: [step_flops([*words, *undo], run), step_flops(words, run)] for label, (run, undo) in runs}


def _literally(name: str) -> dict[str, dict[str, float]]:
    runs = {label: run for label, run in VARIANTS.items() if label.startswith("glora")}
    with literal():
        return {
            "literal_flops_per_image": counters(name, SETTINGS[1], runs),
            "literal_saved_bytes_per_image": counters(name, SETTINGS[1], runs, saved_bytes),
        }


def measure(name: str) -> dict[str, Any]:
    """All that goes into the file."""
    return {
        "backbone": name,
        "flops_per_image": {setting: counters(name, setting, variants()) for setting in SETTINGS},
        "peft_flops_per_image": counters(name, SETTINGS[1], PEFT),
        "saved_bytes_per_image": counters(name, SETTINGS[1], variants(), saved_bytes),
        "peft_saved_bytes_per_image": counters(name, SETTINGS[1], PEFT, saved_bytes),
        **_literally(name),
        "shortcuts": shortcuts(name),
    }
