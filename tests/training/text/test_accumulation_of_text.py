"""Eight batches of one text train as one batch of eight: the loss of a step is a mean over its tokens."""

from __future__ import annotations

import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader
from transformers import AutoTokenizer, LlamaConfig

from glorabench.backbones.llama import Llama
from glorabench.backbones.llama_mini import llama_mini_folder
from glorabench.data.text.batches import Collator
from glorabench.data.text.datamodule import Rows
from glorabench.data.text.encoding import Encoder
from glorabench.data.text.mini_text import draw_mini_text
from glorabench.data.text.task import TextSettings
from glorabench.training.finetuner import FineTuner
from glorabench.training.objectives.language import Generation
from glorabench.training.optimizers import SGD

SILENT = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


def trained(batch: int, accumulate: int) -> dict[str, torch.Tensor]:
    tokenizer = AutoTokenizer.from_pretrained(llama_mini_folder(), local_files_only=True)
    examples = draw_mini_text("dialogue")["train"][:24]
    encoded = Encoder(tokenizer, "", TextSettings("plain", 128, None, "response", 8), 256).encode(examples, False)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    net = Llama(LlamaConfig(vocab_size=2048, **sizes)).double()
    tuner = FineTuner(
        net, Generation(["exact_match"], tokenizer, 8), lr=0.5, weight_decay=0.0, decay="all", total_steps=3,
        lr_factor=lambda _: 1.0, clip=0.5, seed=0, accumulate=accumulate, optimizer=SGD(0.9, False),
    )  # fmt: skip
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, accumulate_grad_batches=accumulate, limit_val_batches=0, **SILENT
    )
    trainer.fit(tuner, DataLoader(Rows(Collator(encoded, examples, 0)), batch, collate_fn=lambda made: made))
    assert trainer.global_step == 3
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def test_one_by_eight_is_eight_by_one() -> None:
    whole, parts = trained(8, 1), trained(1, 8)
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, rtol=0, atol=1e-6, msg=name)
