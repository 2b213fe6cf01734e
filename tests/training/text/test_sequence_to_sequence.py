"""A T5 in the text tasks: losses, likelihoods and generation, against transformers and lm-evaluation-harness."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader
from transformers import AutoTokenizer, PreTrainedTokenizerBase, T5ForConditionalGeneration

from glorabench.backbones.generation import generate
from glorabench.backbones.llama_mini import llama_mini_folder
from glorabench.backbones.t5 import T5
from glorabench.data.datamodule import as_is
from glorabench.data.text.batches import PairCollator
from glorabench.data.text.datamodule import Rows, TextData
from glorabench.data.text.encoding import Encoder
from glorabench.data.text.mini_text import draw_mini_text
from glorabench.data.text.task import TextSettings, TextTask
from glorabench.data.text.templates import TEMPLATES
from glorabench.errors import BadInput
from glorabench.training.finetuner import FineTuner
from glorabench.training.objectives.language import Generation, MultipleChoice, token_losses
from glorabench.training.optimizers import SGD
from tiny_text_models import tiny_text_network

SETTINGS = TextSettings("question", 128, None, "response", 16)
SILENT = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(llama_mini_folder(), local_files_only=True)


def reference() -> T5ForConditionalGeneration:
    """A random T5 of transformers in double precision, its logits far enough apart that rounding decides nothing."""
    net = tiny_text_network("t5").double().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1.5)
    return net


def ours(theirs: T5ForConditionalGeneration) -> T5:
    net = T5(theirs.config).double().eval()
    net.lm_head.weight = torch.nn.Parameter(torch.empty_like(net.lm_head.weight))
    net.load_state_dict(theirs.state_dict())
    return net


def collator(tokenizer, examples, all_choices: bool = False) -> PairCollator:
    encoded = Encoder(tokenizer, "", SETTINGS, None, start=0).encode(examples, all_choices)
    return PairCollator(encoded, examples, pad=0, start=0)


def test_the_loss_and_its_gradients_are_those_of_transformers(tokenizer) -> None:
    """Labels of padding are -100, the mean goes over all tokens of the batch."""
    theirs = reference()
    net = ours(theirs)
    batch = collator(tokenizer, draw_mini_text("record_form")["train"][:8])(range(8))
    labels = torch.full_like(batch.tokens, -100)
    labels.view(-1)[batch.at] = batch.targets
    expected = theirs(input_ids=batch.sources, attention_mask=batch.source_mask, labels=labels).loss
    loss = Generation(["exact_match"], tokenizer, 16).loss(net, batch)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)  # ours is computed in single precision
    exact = F.cross_entropy(net.logits(net.hidden(**batch.inputs).flatten(0, 1)[batch.at]), batch.targets)
    assert exact.item() == pytest.approx(expected.item(), abs=1e-12)
    expected.backward()
    loss.backward()
    gradients = dict(net.named_parameters())
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(gradients[name].grad, parameter.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_an_encoder_reads_what_the_tokenizer_makes_of_a_prompt(tokenizer) -> None:
    examples = draw_mini_text("dialogue")["train"][:6]
    batch = collator(tokenizer, examples)(range(6))
    for line, example in enumerate(examples):
        prompt = TEMPLATES["question"].render(example)
        assert batch.sources[line][batch.source_mask[line] == 1].tolist() == tokenizer(prompt)["input_ids"]
        scored = batch.targets[batch.rows == line].tolist()
        assert scored[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(scored[:-1]).strip() == example.completion
        assert batch.tokens[line][: len(scored)].tolist() == [0, *scored[:-1]]


def test_special_tokens_behind_a_prompt_are_never_cut(tokenizer) -> None:
    from tokenizers.processors import TemplateProcessing

    ending = AutoTokenizer.from_pretrained(llama_mini_folder(), local_files_only=True)
    ending.backend_tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    examples = draw_mini_text("dialogue")["train"][:3]
    settings = TextSettings("plain", 48, "left", "response", 16)
    encoded = Encoder(ending, "", settings, None, start=0).encode(examples, False)
    assert encoded.truncated == 3
    for i, example in enumerate(examples):
        prompt = encoded.row(i)[: encoded.prompts[i]].tolist()
        assert len(encoded.row(i)) == 48
        assert prompt == ending(example.prompt)["input_ids"][-len(prompt) :]
        assert prompt[-1] == 2


@pytest.mark.parametrize("size", [1, 3, 8])
def test_generation_is_that_of_transformers(tokenizer, size: int) -> None:
    """Token for token, whatever the batch; one row ends early."""
    theirs = reference()
    net = ours(theirs)
    make = collator(tokenizer, draw_mini_text("record_form")["train"][:8])
    for start in range(0, 8, size):
        batch = make(list(range(start, min(8, start + size))))
        settings = {"attention_mask": batch.source_mask, "max_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
        free = theirs.generate(batch.sources, eos_token_id=None, **settings)
        assert len({tuple(row.tolist()) for row in free}) > 1 or size == 1
        end = int(free[0, 5])
        expected = theirs.generate(batch.sources, eos_token_id=end, **settings)[:, 1:].tolist()
        rows = [row[: row.index(end)] if end in row else row for row in expected]
        with torch.no_grad():
            writer = net.writer(batch.sources, batch.source_mask)
        assert generate(writer, batch.prompts, batch.mask, 12, end) == rows
        assert len(rows[0]) <= 4


def test_a_batch_changes_no_loss(tokenizer) -> None:
    net = ours(reference())
    make = collator(tokenizer, draw_mini_text("dialogue")["train"][:8])
    alone = torch.cat([token_losses(net, make([i])) for i in range(8)])
    torch.testing.assert_close(token_losses(net, make(range(8))), alone, rtol=0, atol=1e-6)


def test_likelihoods_and_choices_are_those_of_lm_evaluation_harness(tokenizer) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    theirs = reference()
    examples = draw_mini_text("gloss_category")["test"][:6]
    judge = HFLM(
        pretrained=theirs, backend="seq2seq", tokenizer=tokenizer, batch_size=4, max_length=256, add_bos_token=True,
        device="cpu",
    )  # fmt: skip
    requests = [
        Instance("loglikelihood", {}, (TEMPLATES["question"].render(e), choice), i)
        for e in examples
        for i, choice in enumerate(e.choices)
    ]
    scores = np.array([score for score, _ in judge.loglikelihood(requests, disable_tqdm=True)]).reshape(6, -1)
    net = ours(theirs)
    make = collator(tokenizer, examples, all_choices=True)
    batch = make(range(len(make.encoded)))
    likelihoods = -torch.zeros(60).double().index_add(0, batch.rows, token_losses(net, batch).double()).detach()
    np.testing.assert_allclose(likelihoods.reshape(6, -1).numpy(), scores, atol=1e-4)
    values = MultipleChoice(["acc"]).evaluate(net, batch).values
    assert values["acc"].tolist() == (scores.argmax(1) == np.array([e.answer for e in examples])).tolist()


def trained(tokenizer, batch: int, accumulate: int) -> dict[str, torch.Tensor]:
    make = collator(tokenizer, draw_mini_text("dialogue")["train"][:24])
    tuner = FineTuner(
        ours(reference()), Generation(["exact_match"], tokenizer, 8), lr=0.5, weight_decay=0.0, decay="all",
        total_steps=3, lr_factor=lambda _: 1.0, clip=0.5, seed=0, accumulate=accumulate, optimizer=SGD(0.9, False),
    )  # fmt: skip
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, accumulate_grad_batches=accumulate, limit_val_batches=0, **SILENT
    )
    trainer.fit(tuner, DataLoader(Rows(make), batch, collate_fn=as_is))
    assert trainer.global_step == 3
    return {name: tensor.clone() for name, tensor in tuner.net.state_dict().items()}


def test_one_by_eight_is_eight_by_one(tokenizer) -> None:
    whole, parts = trained(tokenizer, 8, 1), trained(tokenizer, 1, 8)
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, rtol=0, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("language_modelling", {}, "texts without prompts"),
        ("generation", {"loss_on": "all"}, "data.loss_on=response"),
        ("generation", {"pack": True}, "data.pack=false"),
    ],
)
def test_what_an_encoder_decoder_cannot_do_is_refused(tokenizer, kind, changes, message) -> None:
    settings = TextSettings(**{**vars(SETTINGS), **changes})
    task = TextTask("s", "t", "g", kind, ("exact_match",), draw_mini_text("facts"), "f", settings, "")
    with pytest.raises(BadInput, match=message):
        TextData(
            task, Encoder(tokenizer, "", settings, None, start=0), fit_on="trainval", report_on="test", batch_size=8,
            eval_batch_size=8, seed=0,
        )  # fmt: skip
