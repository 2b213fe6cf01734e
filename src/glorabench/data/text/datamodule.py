"""Batches of a text task for the Trainer: training batches of similar lengths, evaluation in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from glorabench.data.datamodule import TaskData, as_is
from glorabench.data.samplers import Shuffle
from glorabench.data.text.batches import Collator, PairCollator, TextBatch
from glorabench.data.text.encoding import Encoded, Encoder
from glorabench.data.text.task import TextExample, TextTask
from glorabench.errors import BadInput, one_of

_WINDOW = 16  # batches within which rows are sorted by length


def check_choices(examples: Sequence[TextExample]) -> None:
    """Refuse an answer that is none of the choices of its example.

    Raises:
        BadInput: naming the example.
    """
    for index, example in enumerate(examples):
        if example.completion not in example.choices:
            raise BadInput(f"the answer of example {index} is none of its choices: mend the data")


class TextData(TaskData):
    """Batches of one text task; see `TaskData` for the further arguments.

    Args:
        task: the task.
        encoder: how examples become the tokens that the backbone reads.
    """

    def __init__(self, task: TextTask, encoder: Encoder, **settings: Any) -> None:
        super().__init__(task, **settings)
        one_of("data.loss_on", task.settings.loss_on, ("response", "all"))
        if encoder.start is not None:
            _check_pairs(task)
        self.texts, self.encoder = task, encoder
        pad = encoder.tokenizer.pad_token_id
        self.pad = int(encoder.tokenizer.eos_token_id if pad is None else pad)  # type: ignore[arg-type]
        self._rows: dict[tuple[str, bool, bool], Encoded] = {}

    def facts(self) -> dict[str, Any]:
        """What a record says of the data; records that differ in it do not compare."""
        rows = {split: self.rows(split, all_choices=split != self.fit_on) for split in (self.fit_on, self.report_on)}
        dropped = {split: encoded.dropped for split, encoded in rows.items()}
        return super().facts() | {
            "tokenizer": self.encoder.digest,
            "truncated": {split: encoded.truncated for split, encoded in rows.items()},
            **({"dropped": dropped} if any(dropped.values()) else {}),
            **self.texts.facts,
        }

    def read_all(self) -> None:
        """Tokenise what is trained on and what is reported.

        Raises:
            BadInput: an example cannot be put to the backbone; the message names it, or the key to change.
        """
        for split in (self.fit_on, *(self.texts.tests if self.report_on == "test" else ("val",))):
            rows = self.rows(split, split != self.fit_on)
            if split != self.fit_on and self.texts.kind == "generation":
                self._check_room(int(rows.prompts.max(initial=0)))

    def _check_room(self, longest: int) -> None:
        """Refuse completions that would leave the positions of the backbone.

        Raises:
            BadInput: with the number of tokens that fits.
        """
        if self.encoder.context is None or self.encoder.start is not None:  # of a decoder's own tokens none is prompt
            return
        room, wanted = self.encoder.context - longest, self.texts.settings.max_new_tokens
        if wanted > room:
            raise BadInput(
                f"data.max_new_tokens is {wanted}, but behind the longest prompt the backbone has room for {room} "
                f"tokens: data.max_new_tokens={max(room, 1)}"
            )

    def rows(self, split: str, all_choices: bool = False) -> Encoded:
        """The tokens of a split; in multiple choice of every choice, or of the right one.

        Where ends are cut in training, a prompt that is to be answered is whole: its end is what asks.
        """
        kind, cuts_ends = self.texts.kind, self.texts.settings.truncate == "end"
        key = split, all_choices and kind == "multiple_choice", all_choices and kind == "generation" and cuts_ends
        if key not in self._rows:
            cache = Path(self.texts.cache_dir).expanduser() / self.texts.suite
            examples, fingerprint = self.texts.splits[split], f"{self.texts.fingerprint}/{split}"
            if kind == "multiple_choice":
                check_choices(examples)
            self._rows[key] = self.encoder.split(examples, fingerprint, key[1], cache, whole=key[2])
        return self._rows[key]

    def _collator(self, split: str, training: bool) -> Collator | PairCollator:
        settings, kind = self.texts.settings, self.texts.kind
        parts = self.rows(split, all_choices=not training), self.texts.splits[split], self.pad
        if self.encoder.start is not None:
            return PairCollator(*parts, start=self.encoder.start)
        return Collator(
            *parts,
            loss_on_prompt=training and settings.loss_on == "all",
            pack=settings.max_length if training and settings.pack else None,
            with_prompts=not training and kind == "generation",
        )

    def training_batches(self, split: str) -> DataLoader[TextBatch]:
        """Batches of similar lengths, in an order of (seed, epoch); the last incomplete one is dropped."""
        self.texts.split(split)
        rows = Rows(self._collator(split, training=True))
        size = min(self.batch_size, len(rows))
        order = LengthBuckets(rows.collator.encoded.lengths, size, self.seed)
        return DataLoader(rows, size, sampler=order, drop_last=True, collate_fn=as_is)

    def evaluation_batches(self, split: str) -> list[TextBatch]:
        """All of a split, or of a test set, in order."""
        return self._evaluation(split, np.arange(len(self.texts.splits[split])))

    def _evaluation(self, split: str, examples: Sequence[int] | np.ndarray) -> list[TextBatch]:
        """Batches of whole examples, in this order. Those that have no row are left out."""
        collator = self._collator(split, training=False)
        rows_of: dict[int, list[int]] = {}
        for row, owner in enumerate(collator.encoded.owners.tolist()):
            rows_of.setdefault(owner, []).append(row)
        present, size = [int(example) for example in examples if int(example) in rows_of], self.eval_batch_size
        return [
            collator([row for example in present[start : start + size] for row in rows_of[example]])
            for start in range(0, len(present), size)
        ]

    def example(self, count: int, device: torch.device) -> Tensor:
        """Tokens of the first `count` training examples, rows x width; of an encoder those of their prompts."""
        collator = self._collator(self.fit_on, training=True).whole_examples()
        return collator(range(min(count, len(collator.encoded)))).example_inputs.to(device)

    def search_batches(self, on: str, held_out: float, device: torch.device) -> tuple[list[TextBatch], list[TextBatch]]:
        """Batches that choose, and that are held out; see `TaskData`."""
        self.check_search(on)
        split = self.texts.splits["test"] if on == "test" else self.texts.split(on)
        order = torch.randperm(len(split), generator=torch.Generator().manual_seed(self.seed)).numpy()
        n = len(split) - round(held_out * len(split))
        parts = (self._evaluation(on, part) if len(part) else [] for part in (order[:n], order[n:]))
        choosing, rest = ([batch.to(device) for batch in part] for part in parts)
        return choosing, rest


def _check_pairs(task: TextTask) -> None:
    """Refuse what a model cannot do that reads prompts with an encoder.

    Raises:
        BadInput: naming the task or the setting.
    """
    if task.kind == "language_modelling":
        raise BadInput(f"task {task.name} has texts without prompts, of which an encoder-decoder has nothing to read")
    if task.settings.loss_on == "all":
        raise BadInput("data.loss_on=all: an encoder-decoder predicts no token of the prompt: data.loss_on=response")
    if task.settings.pack:
        raise BadInput("data.pack=true: an encoder sees its whole row, so rows are not shared: data.pack=false")


class Rows(Dataset[TextBatch]):
    """The rows of a split, handed out as whole batches."""

    def __init__(self, collator: Collator | PairCollator) -> None:
        self.collator = collator

    def __len__(self) -> int:
        return len(self.collator.encoded)

    def __getitem__(self, index: int) -> TextBatch:
        return self.collator([index])

    def __getitems__(self, indices: list[int]) -> TextBatch:
        """A batch."""
        return self.collator(indices)


class LengthBuckets(Shuffle):
    """An order, drawn from (seed, epoch), in which the rows of a batch have similar lengths.

    The rows are shuffled and sorted by length within windows of 16 batches; the batches of a window are shuffled again.
    """

    def __init__(self, lengths: np.ndarray, batch: int, seed: int) -> None:
        super().__init__(len(lengths), seed)
        self.lengths, self.batch = lengths, batch

    def __iter__(self) -> Iterator[int]:
        random = np.random.default_rng([self.seed, self.epoch])
        order = random.permutation(self.size)[: self.size // self.batch * self.batch]
        for start in range(0, len(order), self.batch * _WINDOW):
            window = order[start : start + self.batch * _WINDOW]
            batches = window[np.argsort(self.lengths[window], kind="stable")].reshape(-1, self.batch)
            yield from batches[random.permutation(len(batches))].ravel().tolist()
