"""Every method of conf/method trains a tiny random Llama on text by the Trainer, or says why it cannot."""

from __future__ import annotations

import copy
import re
from functools import cache
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader
from transformers import AutoTokenizer

from glorabench.backbones.base import Backbone
from glorabench.backbones.generation import generate
from glorabench.backbones.llama import llama_backbone
from glorabench.backbones.llama_mini import llama_mini_folder
from glorabench.config.compose import compose
from glorabench.config.instantiate import METHOD, make
from glorabench.config.paths import options
from glorabench.data.text.batches import Collator, TextBatch
from glorabench.data.text.datamodule import Rows
from glorabench.data.text.encoding import Encoder
from glorabench.data.text.mini_text import draw_mini_text
from glorabench.data.text.task import TextSettings
from glorabench.errors import BadInput
from glorabench.methods.reparam import has_foldable, merge, merge_obstacle
from glorabench.training.finetuner import FineTuner
from glorabench.training.measure.profiling import certificate
from glorabench.training.objectives.language import LanguageObjective

REFUSALS = {  # on a Llama whose keys and values are shared by heads, as those of llama_mini
    "linear": "Linear trains nothing on tiny: it has no head",
    "bitfit": "BitFit trains nothing on tiny: it has no biases. Use LoRA or (IA)3.",
    "convpass": "Convpass needs the patch tokens of a ViT; tiny has none: choose another method",
    **dict.fromkeys(
        ("fact_tt", "fact_tk"),
        "FacT cuts weights into 32 x 32 slices; role 'k' (model.layers.0.self_attn.k_proj) is 16 x 32: take it out of "
        "targets",
    ),
}
WORDS = {  # what a method needs to train there, and further forms
    **{f"method={name}": name for name in options("method")},
    "method=fact_tt method.targets=[q,o]": "fact_tt",
    "method=fact_tk method.targets=[q,o]": "fact_tk",
    "method=glora method.path=supernet": "glora",
    "method=lora method.dropout=0.1": "lora",
}
TRAINED = [words for words, name in WORDS.items() if name not in REFUSALS or " " in words]
BRANCHES = {"vpt_deep", "vpt_shallow", "pfeiffer", "houlsby", "adapter_plus", "adaptformer"}
SILENT: dict[str, Any] = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def injected(words: str) -> Backbone:
    """A Llama of width 32 with a method in it, in single precision as in a run."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 2048, "hidden_size": 32, "intermediate_size": 88, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128, "pad_token_id": 0}
    backbone = llama_backbone("tiny", "llama", None, None, "float32", {**sizes, **heads, "initializer_range": 0.1})
    config = compose([*words.split(), "backbone=llama_mini"])["method"]
    make(config | ({"rank": min(config["rank"], 4)} if "rank" in config else {}), METHOD).inject(backbone)
    return backbone


@cache
def collator() -> Collator:
    tokenizer = AutoTokenizer.from_pretrained(llama_mini_folder(), local_files_only=True)
    examples = draw_mini_text("record_form")["train"][:16]
    encoded = Encoder(tokenizer, "", TextSettings("question", 100, None, "response", 8), 128).encode(examples, False)
    return Collator(encoded, examples, pad=0, with_prompts=True)


def train(backbone: Backbone) -> list[float]:
    """The loss of two steps by the Trainer, each on all of the text, and the loss after them."""
    losses: list[float] = []

    class Spied(LanguageObjective):
        def loss(self, net: torch.nn.Module, batch: TextBatch) -> torch.Tensor:
            losses.append((value := super().loss(net, batch)).item())
            return value

    tuner = FineTuner(
        backbone.net, Spied(["loss"]), lr=1e-2, weight_decay=0.0, decay="matrices", total_steps=2,
        lr_factor=lambda _: 1.0, clip=1.0, seed=0,
    )  # fmt: skip
    loader = DataLoader(Rows(collator()), 16, collate_fn=lambda made: made)
    Trainer(accelerator="cpu", max_epochs=2, limit_val_batches=0, **SILENT).fit(tuner, loader)
    with torch.no_grad():
        backbone.net.eval()
        Spied(["loss"]).loss(backbone.net, collator()(range(16)))
    return losses


def test_each_method_of_conf_is_here() -> None:
    assert set(WORDS.values()) == set(options("method"))


@pytest.mark.parametrize("method", REFUSALS)
def test_what_cannot_train_on_text_says_why_in_one_line(method: str) -> None:
    with pytest.raises(BadInput) as refusal:
        injected(f"method={method}")
    assert str(refusal.value) == REFUSALS[method]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("words", TRAINED)
def test_a_method_learns_from_text_and_changes_what_it_trains_alone(words: str) -> None:
    backbone = injected(words)
    before = {name: p.detach().clone() for name, p in backbone.net.named_parameters()}
    first, _, last = train(backbone)
    assert 0 < last < first < 20
    for name, parameter in backbone.net.named_parameters():
        changed = not torch.equal(parameter, before[name])
        assert changed <= parameter.requires_grad, f"{name} is frozen and has changed"
        is_idle = "supernet" in words and ".supports." in name  # two paths leave some supports out
        assert changed or not parameter.requires_grad or is_idle, f"{name} has not changed"


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("words", TRAINED)
def test_what_merges_has_the_logits_and_the_text_of_the_trained_network(words: str) -> None:
    backbone = injected(words)
    train(backbone)
    reason = merge_obstacle(backbone.net)
    assert (reason is not None) == (WORDS[words] in BRANCHES), reason
    if reason is not None:
        with pytest.raises(BadInput, match=re.escape(f"cannot be merged: {reason}")):
            merge(backbone.net)
        return
    assert has_foldable(backbone.net) == (words != "method=full")
    merged: Any = merge(copy.deepcopy(backbone.net))
    batch = collator()(range(16))
    with torch.no_grad():
        logits = backbone.net(batch.tokens)
        assert (merged(batch.tokens) - logits).abs().max() <= 1e-4 * logits.abs().max()
        assert certificate(backbone.net, merged, batch.tokens)["max_abs_diff"] <= 1e-4 * float(logits.abs().max())
    texts = [generate(net, batch.prompts, batch.mask, 4, end=2) for net in (backbone.net, merged)]  # type: ignore[arg-type]
    assert texts[0] == texts[1]
