"""What a training step on Llama-7B counts, ours beside peft's: bounds, closed forms, and counts on real tensors."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from glorabench.data.text.batches import TextBatch
from glorabench.training.measure.profiling import FlopCount
from glorabench.training.objectives.language import LanguageModelling

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import counters
import text_counters
import text_steps
from text_counters import ATTENTION, FLOOR, LINEARS, SUPERNET, VARIANTS, StepCost, Variant, cost, mean_cost

ROOT = Path(__file__).resolve().parents[1]
_ARGS = "backbone.model_args."
TINY = (
    "backbone=llama_7b", "backbone.weights_from=null", "backbone.dtype=bfloat16", f"{_ARGS}vocab_size=64",
    f"{_ARGS}hidden_size=64", f"{_ARGS}intermediate_size=172", f"{_ARGS}num_attention_heads=4",
    f"{_ARGS}num_key_value_heads=4",
)  # fmt: skip


def variant(label: str, targets: str) -> Variant:
    return next(each for each in VARIANTS if (each.label, each.targets) == (label, targets))


@pytest.mark.parametrize(
    ("label", "targets", "bound"), [("lora", ATTENTION, 1.02), (SUPERNET, ATTENTION, 1.05), (SUPERNET, LINEARS, 1.20)]
)
def test_a_step_costs_little_more_than_the_floor(label: str, targets: str, bound: float) -> None:
    ratio = mean_cost(variant(label, targets)).flops / cost(variant(FLOOR, targets)).flops
    assert 1 < ratio <= bound


def test_the_floor_and_lora_count_what_the_formulas_say() -> None:
    T, L, d, f, V, r = 512, 32, 4096, 11008, 32000, 8
    block, scored = 4 * d**2 + 3 * d * f, T - 1
    products = 2 * T * block * L + 2 * T * (block * L - 3 * d**2)  # in block 0 the inputs of q, k, v need no gradient
    attention = L * (2 + 5) * 2 * T**2 * d  # a backward pass computes the scores again
    floor = products + attention + 3 * 2 * scored * d * V  # logits forward, again, and the gradient of the states
    assert cost(variant(FLOOR, ATTENTION)).flops == floor
    without_inputs = 2 * 2 * T * r * d  # of q and v in block 0
    assert cost(variant("lora", ATTENTION)).flops - floor == 2 * L * 6 * T * r * 2 * d - without_inputs


def test_peft_computes_lora_at_the_same_and_glora_at_twice_the_products() -> None:
    assert cost(variant("lora of peft", ATTENTION)).flops == cost(variant("lora", ATTENTION)).flops
    assert cost(variant("lora of peft", ATTENTION)).kept > cost(variant("lora", ATTENTION)).kept
    ours, theirs = (cost(variant(name, LINEARS)) for name in ("glora, A and B lora", "the same of peft"))
    assert ours.flops < 0.65 * theirs.flops
    assert ours.kept < 0.25 * theirs.kept


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("label", ["lora", "glora, A and B lora", "lora of peft"])
def test_counts_without_memory_are_those_of_real_tensors(label: str, recompute: bool) -> None:
    found: list[StepCost] = []
    for is_real in (False, True):
        backbone = text_counters.adapted(variant(label, LINEARS), TINY, 3, recompute)
        mode = nullcontext() if is_real else FakeTensorMode()
        if isinstance(mode, FakeTensorMode):
            text_counters.without_memory(backbone.net, mode)
        else:
            backbone.net.to_empty(device="cpu")
            with torch.no_grad():
                for tensor in (*backbone.net.parameters(), *backbone.net.buffers()):
                    tensor.fill_(1e-2)
        with mode:
            found.append(text_counters.step(backbone, 4, 64))
    assert found[0] == found[1]


def test_all_blocks_cost_the_same() -> None:
    for recompute in (False, True):
        lora = variant("lora", LINEARS)
        direct = text_counters.counted(lora, 6, recompute, 4, TINY, even=False)
        along = cost(lora, recompute, 4, TINY, 6)
        assert (along.flops, along.kept, along.weights) == (direct.flops, direct.kept, direct.weights)
        assert cost(lora, recompute, 4, TINY, 6, first=2).peak == direct.peak


def small_net(recompute: bool = False, layers: int = 2) -> tuple[torch.nn.Module, TextBatch]:
    torch.manual_seed(0)
    backbone = text_counters.adapted(variant("lora", LINEARS), TINY, layers, recompute)
    net = backbone.net.to_empty(device="cpu").float()
    with torch.no_grad():
        for tensor in (*net.parameters(), *net.buffers()):
            tensor.fill_(1e-2)
    at = torch.arange(20)
    return net, TextBatch(torch.zeros(3, 8, dtype=torch.long), at, torch.zeros_like(at), at // 8, [])


def test_what_is_alive_after_the_forward_pass_is_what_autograd_saved() -> None:
    net, batch = small_net()
    own = [*net.parameters(), *net.buffers(), batch.tokens, batch.at, batch.targets]
    saved = counters.kept(lambda: LanguageModelling(["loss"]).loss(net, batch), own)
    with text_counters.Memory(own) as memory:
        loss = LanguageModelling(["loss"]).loss(net, batch)
    assert loss.requires_grad
    assert memory.live == pytest.approx(saved, rel=0.05)  # states of the scored tokens wait for the head besides


class Questions(TorchDispatchMode):
    """The operations that make a program wait for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select"):
            self.asked.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("recompute", [False, True])
def test_a_training_step_never_waits_for_the_device(recompute: bool) -> None:
    net, batch = small_net(recompute)
    trained = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, fused=True)
    with Questions() as questions:
        LanguageModelling(["loss"]).loss(net, batch).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
    assert not questions.asked
    with Questions() as questions:
        assert bool(torch.ones(1) > 0)
    assert questions.asked


def test_flops_are_those_of_torch_and_counting_holds_no_recomputed_block() -> None:
    totals, peaks = [], []
    for counter in (FlopCount(), FlopCounterMode(display=False), None):
        net, batch = small_net(recompute=True, layers=8)
        with text_counters.Memory([*net.parameters(), *net.buffers()]) as memory, counter or nullcontext():
            LanguageModelling(["loss"]).loss(net, batch).backward()
        totals.append(None if counter is None else counter.get_total_flops())
        peaks.append(memory.peak)
    assert totals[0] == totals[1]
    assert peaks[2] <= peaks[0] < 0.6 * peaks[1]


def test_the_page_has_the_counts_of_the_code() -> None:
    page = (ROOT / "docs" / "text.md").read_text()
    base = cost(variant(FLOOR, ATTENTION))
    for label in ("lora", "lora of peft"):
        found = cost(variant(label, ATTENTION))
        row = (
            f"| {label} | q, v | {found.flops / 1e12:.2f} | {found.flops / base.flops:.3f} | {found.kept / 1e6:,.0f} |"
        )
        assert row in page


@pytest.mark.campaign
def test_the_page_is_what_the_command_writes() -> None:
    assert f"<!-- {text_counters.BLOCK} -->\n{text_counters.text()}<!-- /" in (ROOT / "docs" / "text.md").read_text()


def test_the_clock_takes_all_variants_in_turn_and_needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = text_steps.measure(text_steps.Shape((*TINY[:2], *TINY[3:]), 1, 2, 16, "cpu"), rounds=1)
    assert [row[:2] for row in rows][:2] == [(FLOOR, "q, v"), ("lora", "q, v")]
    assert len(rows) == len(VARIANTS)
    assert all(float(row[2]) > 0 for row in rows)
    monkeypatch.setattr("sys.argv", ["text_steps.py"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="needs a CUDA GPU, and there is none"):
        text_steps.main()
