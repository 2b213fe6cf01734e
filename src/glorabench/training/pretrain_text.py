"""The recipe behind the weights of `llama_mini` that ship with the package.

A Llama is trained to predict the next token of WordNet's glosses and of the small world's texts
(`data/text/upstream.py`), and to go on with repeated random tokens, which teaches it to copy. The text of a step is a
function of the seed and the number of the step: a training that was stopped goes on from its last checkpoint with the
same numbers.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from glorabench.backbones.llama_mini import LLAMA_MINI
from glorabench.checksum import sha256_of
from glorabench.data.text.copying import repeat_tokens
from glorabench.data.text.tokenizer import SPECIAL_TOKENS, train_tokenizer
from glorabench.data.text.upstream import MIXTURES, documents
from glorabench.files import check_writable, whole_file, write_text
from glorabench.training.measure.text_skills import TextSkills, measure_skills

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

IGNORED: Final = -100  # the label of a token without loss
_TOKENIZER_DOCUMENTS: Final = 60_000


@dataclass(frozen=True)
class TextStage:
    """A part of the training.

    Attributes:
        end: the step before which it ends.
        repeated: how many of the rows of a step repeat random tokens.
        longest: the most tokens before they repeat.
        mixture: the shares of the kinds of documents, a name of `MIXTURES`.
    """

    end: int
    repeated: int
    longest: int
    mixture: str


@dataclass(frozen=True)
class TextRecipe:
    """Every value that decides the weights, besides the code.

    Attributes:
        steps: optimiser steps.
        rows: sequences a step, and `length` tokens each.
        stages: of the texts; the last one goes on to the end. Copying does not begin by itself: in the second stage
            half of the rows are short repetitions. Then the third stage dwells on the facts of the small world.
        muon_lr: peak learning rate of Muon, which trains the matrices of the blocks.
        adam_lr: peak learning rate of AdamW, which trains everything else.
        warmup: steps up to the peak.
        decay: share of the steps, at the end, over which the rate falls to zero.
        weight_decay: of both.
        clip: largest norm of the gradient.
    """

    steps: int = 4500
    rows: int = 16
    length: int = 256
    stages: tuple[TextStage, ...] = (
        TextStage(1000, 2, 128, "broad"),
        TextStage(2000, 8, 32, "broad"),
        TextStage(4500, 1, 128, "facts"),
    )
    muon_lr: float = 4e-3
    adam_lr: float = 3e-3
    warmup: int = 200
    decay: float = 0.25
    weight_decay: float = 0.05
    clip: float = 1.0

    def stage(self, step: int) -> TextStage:
        """The stage of a step."""
        return next((stage for stage in self.stages if step < stage.end), self.stages[-1])


def pretrain_llama(out: Path, seed: int = 0, recipe: TextRecipe | None = None, every: int = 500) -> dict[str, Any]:
    """Train `llama_mini` from scratch and write its folder and its record. The same call goes on after a stop.

    Args:
        out: folder of `llama_mini.json` and of the folder `llama_mini`, which holds configuration, weights (half
            precision) and tokenizer as transformers saves them.
        seed: of the initialisation and of the texts.
        recipe: the values to train with; the shipped ones if None.
        every: steps between two checkpoints, at which the skills are measured, too.

    Returns:
        The record, as written to `llama_mini.json`.
    """
    recipe = recipe or TextRecipe()
    check_writable(out, "give another folder with --out")
    tokenizer = train_tokenizer(
        islice(documents(Random(f"{seed}/tokenizer"), MIXTURES["broad"]), _TOKENIZER_DOCUMENTS),
        LLAMA_MINI["vocab_size"],
    )
    torch.manual_seed(seed)
    net = LlamaForCausalLM(LlamaConfig(**LLAMA_MINI))
    training = _Training(net, tokenizer, recipe, seed, out)
    training.resume()
    while training.step < recipe.steps:
        training.advance()
        if training.step % every == 0 or training.step == recipe.steps:
            training.save()
    return _write(training)


class _Training:
    """A training between two steps."""

    def __init__(
        self, net: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, recipe: TextRecipe, seed: int, out: Path
    ) -> None:
        self.net, self.tokenizer, self.recipe, self.seed, self.out = net, tokenizer, recipe, seed, out
        self.optimisers = _optimisers(net, recipe)
        self.step, self.seconds, self.loss = 0, 0.0, 0.0
        self.history: list[dict[str, float]] = []
        self.start = time.monotonic()

    @property
    def checkpoint(self) -> Path:
        return self.out / "pretraining.ckpt"

    def advance(self) -> None:
        """One step of both optimisers."""
        tokens, labels = draw_rows(self.tokenizer, self.recipe, self.seed, self.step)
        with torch.autocast("cpu", torch.bfloat16):  # a quarter less time than in full precision
            logits = self.net(input_ids=tokens[:, :-1], use_cache=False).logits
        loss = F.cross_entropy(logits.float().flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED)
        self.net.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.clip)
        for optimiser, peak in zip(self.optimisers, (self.recipe.muon_lr, self.recipe.adam_lr), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = peak * _rate(self.recipe, self.step)
            optimiser.step()
        self.step += 1
        self.loss = float(loss.detach())

    def save(self) -> None:
        """Write a checkpoint, and add the skills to the history."""
        self.seconds, self.start = self.seconds + time.monotonic() - self.start, time.monotonic()
        skills = measure_skills(self.net, self.tokenizer)
        self.history.append({"step": self.step, "loss": self.loss, "seconds": round(self.seconds), **asdict(skills)})
        state = {
            "net": self.net.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
        }
        with whole_file(self.checkpoint) as draft:
            torch.save(state, draft)
        print(" ".join(f"{key} {value:.4g}" for key, value in self.history[-1].items()), flush=True)

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        if not self.checkpoint.is_file():
            return
        state = torch.load(self.checkpoint, weights_only=True)
        self.net.load_state_dict(state["net"])
        for optimiser, values in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(values)
        self.step, self.seconds, self.history = state["step"], state["seconds"], state["history"]


def draw_rows(tokenizer: PreTrainedTokenizerFast, recipe: TextRecipe, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """The tokens and the labels of a step: rows x (length + 1).

    Documents follow each other, each between the tokens that begin and end one. Of the rows of random tokens only the
    repetitions have labels, as nothing predicts the first time.
    """
    random, stage = Random(f"{seed}/{step}"), recipe.stage(step)
    width, vocabulary = recipe.length + 1, range(len(SPECIAL_TOKENS), LLAMA_MINI["vocab_size"])
    stream = chain.from_iterable(_encoded(tokenizer, documents(random, MIXTURES[stage.mixture])))
    texts = [list(islice(stream, width)) for _ in range(recipe.rows - stage.repeated)]
    repeats = [repeat_tokens(random, vocabulary, width, stage.longest) for _ in range(stage.repeated)]
    labels = [*texts, *([IGNORED] * period + row[period:] for row, period in repeats)]
    return torch.tensor([*texts, *(row for row, _ in repeats)]), torch.tensor(labels)


def _encoded(tokenizer: PreTrainedTokenizerFast, texts: Iterator[str], chunk: int = 32) -> Iterator[Sequence[int]]:
    bos, eos = LLAMA_MINI["bos_token_id"], LLAMA_MINI["eos_token_id"]
    while True:
        for ids in tokenizer(list(islice(texts, chunk)), add_special_tokens=False)["input_ids"]:  # type: ignore[union-attr]
            yield [bos, *ids, eos]


def _optimisers(net: nn.Module, recipe: TextRecipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of hidden layers, which it is made for, and AdamW for everything else."""
    matrices = [p for name, p in net.named_parameters() if p.ndim == 2 and ".layers." in name]
    matrix_ids = {id(p) for p in matrices}
    others = [p for p in net.parameters() if id(p) not in matrix_ids]
    return [
        torch.optim.Muon(matrices, recipe.muon_lr, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, recipe.adam_lr, betas=(0.9, 0.98), weight_decay=recipe.weight_decay),
    ]


def _rate(recipe: TextRecipe, step: int) -> float:
    """Share of the peak learning rate: a linear warm-up, a plateau, and a linear fall to zero."""
    return min(1.0, (step + 1) / recipe.warmup, (recipe.steps - step) / max(1, recipe.decay * recipe.steps))


def _write(training: _Training) -> dict[str, Any]:
    """Write the folder that ships; the skills on record are those of the rounded weights."""
    net, out, recipe = training.net, training.out, training.recipe
    folder = out / "llama_mini"
    net.half().save_pretrained(folder)
    training.tokenizer.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    skills: TextSkills = measure_skills(net.float(), training.tokenizer)
    record = {
        "architecture": "llama_mini",
        "parameters": sum(p.numel() for p in net.parameters()),
        "recipe": asdict(recipe),
        "seed": training.seed,
        "tokens": recipe.steps * recipe.rows * recipe.length,
        "upstream": asdict(skills),
        "history": training.history,
        "seconds": round(training.seconds),
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "sha256": sha256_of(folder),
    }
    write_text(out / "llama_mini.json", json.dumps(record, indent=2) + "\n")
    return record
