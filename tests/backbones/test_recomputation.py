"""Activation checkpointing: the same loss, gradients and random numbers with less kept, for every method."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.data import DataLoader

from conftest import tiny_llama
from glorabench.backbones.base import Backbone
from glorabench.backbones.recomputation import recompute_blocks
from glorabench.config.compose import compose
from glorabench.config.instantiate import METHOD, make
from glorabench.data.text.batches import TextBatch
from glorabench.data.text.task import TextExample
from glorabench.errors import BadInput
from glorabench.records import record
from glorabench.search.space import PathSpace
from glorabench.training.build import check_run
from glorabench.training.finetuner import FineTuner
from glorabench.training.objectives.language import LanguageModelling
from glorabench.training.optimizers import SGD
from test_methods import BACKBONES, MATRIX, config_of, loss, method_of

SILENT: dict[str, Any] = {
    "logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False,
}  # fmt: skip
LLAMA = [pair for pair in MATRIX if pair[1] == "llama"]
IMAGES = [pair for pair in MATRIX if pair[0] in ("lora qkv", "vpt_shallow", "adaptformer", "convpass", "fact_tk")]
SUPERNET = "method=glora method.path=supernet"


def adapted(case: str, backbone: str, dtype: torch.dtype, recompute: bool) -> Backbone:
    made = BACKBONES[backbone](dtype=dtype)
    torch.manual_seed(0)
    make(copy.deepcopy(config_of(case, backbone)), METHOD).inject(made)
    if recompute:
        recompute_blocks(made)
    made.set_training(True)
    return made


def step(case: str, backbone: str, dtype: torch.dtype, recompute: bool, autocast: bool) -> list[Tensor | None]:
    """Loss, the random number that follows, and every gradient."""
    made = adapted(case, backbone, dtype, recompute)
    torch.manual_seed(3)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        value = loss(made.net, backbone)
    value.backward()
    return [value.detach(), torch.rand(1), *(p.grad for p in made.net.parameters() if p.requires_grad)]


@pytest.mark.parametrize(("dtype", "autocast"), [(torch.float64, False), (torch.bfloat16, True)])
@pytest.mark.parametrize(("case", "backbone"), LLAMA + IMAGES)
def test_loss_and_gradients_are_those_without_it(case: str, backbone: str, dtype: torch.dtype, autocast: bool) -> None:
    """Dropout draws the same numbers again, and the generator ends where it would have."""
    plain, again = (step(case, backbone, dtype, recompute, autocast) for recompute in (False, True))
    for expected, value in zip(plain, again, strict=True):
        assert (expected is None) == (value is None)
        assert expected is None or torch.equal(expected, value)


def kept_bytes(made: Backbone) -> int:
    kept: dict[int, Tensor] = {}
    with saved_tensors_hooks(lambda t: kept.setdefault(t.untyped_storage().data_ptr(), t), lambda t: t):
        value = loss(made.net, "llama")
    own = {p.untyped_storage().data_ptr() for p in made.net.parameters()}
    assert value.requires_grad
    return sum(tensor.untyped_storage().nbytes() for at, tensor in kept.items() if at not in own)


def test_blocks_keep_their_inputs_alone() -> None:
    plain, again = (
        kept_bytes(adapted("lora on all linears", "llama", torch.float64, recompute)) for recompute in (False, True)
    )
    assert again < 0.5 * plain


def test_it_is_off_in_evaluation_and_without_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    monkeypatch.setattr("glorabench.backbones.recomputation.checkpoint", lambda f, *a, **k: calls.append(f))
    made = adapted("lora", "llama", torch.float64, recompute=True)
    with torch.no_grad():
        loss(made.net, "llama")
    made.set_training(False)
    loss(made.net, "llama")
    assert not calls


def test_a_copy_runs_its_own_blocks() -> None:
    made = adapted("lora", "llama", torch.float64, recompute=True)
    twin = copy.deepcopy(made.net)
    with torch.no_grad():
        for parameter in made.net.parameters():
            parameter.zero_()
    assert float(loss(twin, "llama").detach()) != pytest.approx(float(loss(made.net, "llama").detach()))
    assert twin.state_dict().keys() == made.net.state_dict().keys()


def rows() -> list[TextBatch]:
    """Rows of eight tokens of which ever more are scored, so that batches differ in weight."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for index in range(8):
        tokens = torch.randint(60, (1, 8), generator=generator)
        at = torch.arange(index % 7, 7)
        example = TextExample("", "x")
        made.append(TextBatch(tokens, at, tokens[0, at + 1], torch.zeros_like(at), [example]))
    return made


def joined(batches: list[TextBatch]) -> TextBatch:
    width = batches[0].tokens.shape[1]
    at = torch.cat([batch.at + width * i for i, batch in enumerate(batches)])
    tokens = torch.cat([batch.tokens for batch in batches])
    targets, owners = torch.cat([b.targets for b in batches]), at // width
    return TextBatch(tokens, at, targets, owners, [example for b in batches for example in b.examples])


def trained(recompute: bool, accumulate: int) -> dict[str, Tensor]:
    """A supernet of GLoRA after two steps of four rows."""
    made = tiny_llama(dtype=torch.float64)
    torch.manual_seed(0)
    method_of(SUPERNET, "llama", rank=2).inject(made)
    if recompute:
        recompute_blocks(made)
    made.set_training(True)
    tuner = FineTuner(
        made.net, LanguageModelling(["loss"]), lr=0.1, weight_decay=0.0, decay="all", total_steps=2,
        lr_factor=lambda _: 1.0, clip=0.5, seed=0, accumulate=accumulate, optimizer=SGD(0.9, False),
    )  # fmt: skip
    batches = rows()
    if accumulate == 1:
        batches = [joined(batches[:4]), joined(batches[4:])]
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, accumulate_grad_batches=accumulate, limit_val_batches=0, **SILENT
    )
    trainer.fit(tuner, DataLoader(batches, None))  # type: ignore[arg-type]
    assert trainer.global_step == 2
    assert PathSpace(made.net).is_supernet
    return {name: p.detach().clone() for name, p in made.net.named_parameters() if p.requires_grad}


def test_a_step_of_several_batches_trains_a_supernet_as_one_batch_does() -> None:
    """One path for all parts of a step, drawn outside of the blocks; the loss is the mean over all scored tokens."""
    whole = trained(recompute=False, accumulate=1)
    for accumulate, rounding in ((1, 0.0), (4, 1e-6)):  # the loss is computed in single precision
        for name, tensor in trained(recompute=True, accumulate=accumulate).items():
            torch.testing.assert_close(tensor, whole[name], rtol=0, atol=rounding, msg=name)


def test_false_is_as_before_and_true_another_run() -> None:
    key = "train.checkpoint_activations"
    plain, off, on = (record.run_id(compose(words)) for words in ([], [f"{key}=false"], [f"{key}=true"]))
    assert plain == off != on


def test_a_backbone_without_known_blocks_is_refused_before_anything_starts() -> None:
    made = BACKBONES["vit"](dtype=torch.float32)
    made.roles = {role: place for role, place in made.roles.items() if role != "block"}
    with pytest.raises(BadInput, match=r"train\.checkpoint_activations: the blocks of tiny_vit are not known"):
        recompute_blocks(made)
    check_run(compose(["train.checkpoint_activations=true"]))
