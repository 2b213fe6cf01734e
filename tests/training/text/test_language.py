"""Losses, likelihoods and generation of language models, against transformers and lm-evaluation-harness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from glorabench.backbones.generation import generate
from glorabench.backbones.llama import Llama
from glorabench.backbones.llama_mini import llama_mini_folder
from glorabench.data.text.batches import Collator
from glorabench.data.text.encoding import Encoder
from glorabench.data.text.mini_text import draw_mini_text
from glorabench.data.text.task import TextExample, TextSettings
from glorabench.data.text.templates import TEMPLATES
from glorabench.training.objectives.language import Generation, LanguageModelling, MultipleChoice, token_losses

SETTINGS = TextSettings("question", 128, None, "response", 16)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(llama_mini_folder(), local_files_only=True)


@pytest.fixture(scope="module")
def net() -> Llama:
    """A random Llama in double precision whose logits are far enough apart that rounding decides nothing."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=2048, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, initializer_range=0.3,
    )  # fmt: skip
    return Llama(config).double().eval()


def collator(tokenizer: PreTrainedTokenizerBase, examples: Sequence[TextExample], **settings) -> Collator:
    encoded = Encoder(tokenizer, "", SETTINGS, 256).encode(examples, all_choices=settings.pop("all_choices", False))
    return Collator(encoded, examples, pad=0, **settings)


def test_the_loss_is_that_of_transformers(net: Llama, tokenizer: PreTrainedTokenizerBase) -> None:
    """Labels of the prompt are -100, the mean goes over all tokens of the batch, gradients agree, too."""
    batch = collator(tokenizer, draw_mini_text("record_form")["train"][:8])(range(8))
    labels = torch.full_like(batch.tokens, -100)
    labels.view(-1)[batch.at + 1] = batch.targets
    reference = LlamaForCausalLM(net.config).double()
    reference.load_state_dict(net.state_dict())
    expected = reference(input_ids=batch.tokens, labels=labels, attention_mask=batch.tokens.ne(0)).loss
    loss = Generation(["exact_match"], tokenizer, 16).loss(net, batch)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)  # transformers computes it in single precision
    expected.backward()
    loss.backward()
    for (name, ours), theirs in zip(net.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6, msg=name)
    net.zero_grad()


def test_every_scored_token_is_a_token_of_the_completion(tokenizer: PreTrainedTokenizerBase) -> None:
    examples = draw_mini_text("dialogue")["train"][:6]
    batch = collator(tokenizer, examples)(range(6))
    for line, example in enumerate(examples):
        scored = batch.targets[batch.rows == line].tolist()
        assert scored[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(scored[:-1]).strip() == example.completion
        first = int(batch.at[batch.rows == line][0]) - line * batch.tokens.shape[1]
        prompt = tokenizer.decode(batch.tokens[line, 1 : first + 1]).strip()
        assert prompt == TEMPLATES["question"].render(example)


def test_the_loss_on_all_covers_the_prompt(tokenizer: PreTrainedTokenizerBase) -> None:
    examples = draw_mini_text("facts")["train"][:4]
    whole = collator(tokenizer, examples, loss_on_prompt=True)(range(4))
    assert len(whole.targets) == int(whole.tokens.ne(0).sum()) - 4  # nothing predicts the first token


def test_packed_rows_are_separate_rows(net: Llama, tokenizer: PreTrainedTokenizerBase) -> None:
    examples = draw_mini_text("record_form")["train"][:9]
    separate, packed = collator(tokenizer, examples)(range(9)), collator(tokenizer, examples, pack=120)(range(9))
    assert len(packed.tokens) < len(separate.tokens)
    assert packed.targets.tolist() == separate.targets.tolist()
    torch.testing.assert_close(token_losses(net, packed), token_losses(net, separate), rtol=0, atol=1e-6)


def test_a_batch_changes_no_loss_and_padding_none_either(net: Llama, tokenizer: PreTrainedTokenizerBase) -> None:
    make = collator(tokenizer, draw_mini_text("dialogue")["train"][:8])
    alone = torch.cat([token_losses(net, make([i])) for i in range(8)])
    torch.testing.assert_close(token_losses(net, make(range(8))), alone, rtol=0, atol=1e-6)
    padded = make(range(8))
    wide = F.pad(padded.tokens, (0, 5), value=7)
    at = padded.at // padded.tokens.shape[1] * wide.shape[1] + padded.at % padded.tokens.shape[1]
    padded.tokens, padded.at = wide, at
    torch.testing.assert_close(token_losses(net, padded), alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 8])
def test_generation_is_that_of_transformers(net: Llama, tokenizer: PreTrainedTokenizerBase, size: int) -> None:
    """Token for token, whatever the batch; one row ends early."""
    make = collator(tokenizer, draw_mini_text("record_form")["train"][:8], with_prompts=True)
    reference = LlamaForCausalLM(net.config).double().eval()
    reference.load_state_dict(net.state_dict())
    for start in range(0, 8, size):
        batch = make(list(range(start, min(8, start + size))))
        assert batch.prompts is not None
        assert batch.mask is not None
        free = reference.generate(batch.prompts, attention_mask=batch.mask, max_new_tokens=12, do_sample=False,
                                  eos_token_id=None, pad_token_id=0)  # fmt: skip
        end = int(free[0, batch.prompts.shape[1] + 4])  # the fifth token of the first row ends a row now
        expected = reference.generate(batch.prompts, attention_mask=batch.mask, max_new_tokens=12, do_sample=False,
                                      eos_token_id=end, pad_token_id=end)[:, batch.prompts.shape[1] :]  # fmt: skip
        rows = [row[: row.index(end)] if end in row else row for row in expected.tolist()]
        assert generate(net, batch.prompts, batch.mask, 12, end) == rows
        assert len(rows[0]) <= 4


def test_choices_are_scored_as_lm_evaluation_harness_scores_them(
    net: Llama, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    examples = draw_mini_text("gloss_category")["test"][:6]
    reference = LlamaForCausalLM(net.config).double().eval()
    reference.load_state_dict(net.state_dict())
    judge = HFLM(
        pretrained=reference, tokenizer=tokenizer, batch_size=4, max_length=256, add_bos_token=True, device="cpu"
    )
    requests = [
        Instance("loglikelihood", {}, (TEMPLATES["question"].render(e), f" {choice}"), i)
        for e in examples
        for i, choice in enumerate(e.choices)
    ]
    scores = np.array([score for score, _ in judge.loglikelihood(requests, disable_tqdm=True)]).reshape(6, -1)
    make = collator(tokenizer, examples, all_choices=True)
    batch = make(range(len(make.encoded)))
    objective = MultipleChoice(["acc", "acc_norm"])
    ours = -torch.zeros(60).double().index_add(0, batch.rows, token_losses(net, batch).double()).detach()
    np.testing.assert_allclose(ours.reshape(6, -1).numpy(), scores, atol=1e-4)
    lengths = np.array([len(choice) for choice in examples[0].choices])  # as its task multiple_choice divides
    values = objective.evaluate(net, batch).values
    answers = np.array([e.answer for e in examples])
    assert values["acc"].tolist() == (scores.argmax(1) == answers).tolist()
    assert values["acc_norm"].tolist() == ((scores / lengths).argmax(1) == answers).tolist()


def test_perplexity_and_bits_per_byte_of_plain_text(net: Llama, tokenizer: PreTrainedTokenizerBase) -> None:
    examples = [TextExample("", text) for text in ("a small grey cat", "Öl and 12 more words of text")]
    batch = collator(tokenizer, examples, loss_on_prompt=True)(range(2))
    values = LanguageModelling(["loss", "bits_per_byte"]).evaluate(net, batch).values
    for i, example in enumerate(examples):
        ids = tokenizer(example.completion)["input_ids"] + [tokenizer.eos_token_id]
        logits = net(torch.tensor([ids]))[0, :-1]
        nats = F.cross_entropy(logits, torch.tensor(ids[1:]), reduction="sum").item()
        assert values["loss"][i].item() == pytest.approx(nats / (len(ids) - 1), rel=1e-5)
        assert values["bits_per_byte"][i].item() == pytest.approx(
            nats / np.log(2) / len(example.completion.encode()), rel=1e-5
        )


def test_logits_never_exist_for_all_tokens(net: Llama, tokenizer: PreTrainedTokenizerBase, monkeypatch) -> None:
    shapes: list[int] = []
    head = Llama.logits
    monkeypatch.setattr(Llama, "logits", lambda self, states: (shapes.append(len(states)), head(self, states))[1])
    monkeypatch.setattr("glorabench.training.objectives.language._CHUNK", 16)
    batch = collator(tokenizer, draw_mini_text("dialogue")["train"][:8])(range(8))
    Generation(["exact_match"], tokenizer, 4).loss(net, batch).backward()
    net.zero_grad()
    assert max(shapes) <= 16
    assert sum(shapes) == 2 * len(batch.targets)  # forward, and once more for the backward pass


def test_settings_decide_what_the_cache_is_asked_for(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    examples = draw_mini_text("facts")["train"][:20]
    for settings in (SETTINGS, replace(SETTINGS, template="plain"), replace(SETTINGS, max_length=100)):
        encoder = Encoder(tokenizer, "digest", settings, 256)
        first = encoder.split(examples, "print", all_choices=False, cache=tmp_path)
        again = encoder.split(examples, "print", all_choices=False, cache=tmp_path)
        assert first.tokens.tolist() == again.tokens.tolist() == encoder.encode(examples, False).tokens.tolist()
    assert len([path for path in (tmp_path / "tokens").iterdir() if path.is_dir()]) == 3
    other = replace(SETTINGS, max_new_tokens=3, loss_on="all", pack=True)  # the tokens do not depend on these
    Encoder(tokenizer, "digest", other, 256).split(examples, "print", all_choices=False, cache=tmp_path)
    assert len([path for path in (tmp_path / "tokens").iterdir() if path.is_dir()]) == 3
