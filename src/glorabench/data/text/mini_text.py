"""The embedded suite `mini_text`: five small text tasks, made by code and WordNet, no download.

Train, val and test of a task share no prompt, and no prompt or completion of a task stands in the texts that
`llama_mini` was pretrained on (`upstream.py`). Raise VERSION whenever an example may change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Final

from glorabench.data.text import copying, dialogues, sums, world
from glorabench.data.text.encoding import fingerprint_of_examples
from glorabench.data.text.gloss_category import CATEGORY_NAMES, entry, gloss_examples
from glorabench.data.text.task import TextExample, TextKind, TextSettings, TextTask
from glorabench.data.text.wordnet import read_wordnet
from glorabench.errors import BadInput, nearest

MINI_TEXT_SIZES: Final[Mapping[str, int]] = {"train": 800, "val": 200, "test": 600}
_SEED: Final = 20265
SplitExamples = dict[str, list[TextExample]]


@dataclass(frozen=True)
class _MiniTextTask:
    """A task: what is asked, how it is scored, and its examples."""

    kind: TextKind
    metrics: tuple[str, ...]
    draw: Callable[[], SplitExamples]


def _gloss_category() -> SplitExamples:
    choices = tuple(CATEGORY_NAMES.values())
    return {
        split: [TextExample(entry(place), CATEGORY_NAMES[read_wordnet()[place].category], choices) for place in places]
        for split, places in gloss_examples().items()
    }


def _facts() -> SplitExamples:
    """No person occurs in two splits, and no question twice."""
    random = Random(f"{_SEED}/facts")
    folk = random.sample(world.neighbours(), world.NEIGHBOURS)
    shares, start = {"train": 140, "val": 40, "test": 120}, 0
    splits: SplitExamples = {}
    for split, share in shares.items():
        questions = [
            (person, relation, form)
            for person in folk[start : start + share]
            for relation, forms in world.QUESTIONS.items()
            for form in forms
        ]
        start += share
        splits[split] = []
        for person, relation, form in random.sample(questions, MINI_TEXT_SIZES[split]):
            answers, right = world.answers(random, person, relation)
            splits[split].append(TextExample(form.format(who=person.name), answers[right], tuple(answers)))
    return splits


def _distinct(name: str, draw: Callable[[Random], TextExample]) -> Callable[[], SplitExamples]:
    """All splits of examples that are drawn one by one; no prompt occurs twice."""

    def examples() -> SplitExamples:
        random = Random(f"{_SEED}/{name}")
        pool: dict[str, TextExample] = {}
        while len(pool) < sum(MINI_TEXT_SIZES.values()):
            example = draw(random)
            pool.setdefault(example.prompt, example)
        queue = iter(pool.values())
        return {split: [next(queue) for _ in range(size)] for split, size in MINI_TEXT_SIZES.items()}

    return examples


def _dialogue(random: Random) -> TextExample:
    prompt, summary, needed = dialogues.ask_summary(random)
    return TextExample(prompt, summary, needed=tuple(needed))


_TASKS: Final[Mapping[str, _MiniTextTask]] = {
    "gloss_category": _MiniTextTask("multiple_choice", ("acc", "acc_norm"), _gloss_category),
    "facts": _MiniTextTask("multiple_choice", ("acc", "acc_norm"), _facts),
    "word_sums": _MiniTextTask(
        "generation", ("exact_match",), _distinct("word_sums", lambda random: TextExample(*sums.ask_sum(random)))
    ),
    "dialogue": _MiniTextTask(
        "generation", ("needed_words", "rouge_l", "rouge1", "rouge2", "token_f1"), _distinct("dialogue", _dialogue)
    ),
    "record_form": _MiniTextTask(
        "generation",
        ("exact_match",),
        _distinct("record_form", lambda random: TextExample(*copying.ask_form(random))),
    ),
}
MINI_TEXT_TASKS: Final = tuple(_TASKS)


@cache
def draw_mini_text(task: str) -> Mapping[str, list[TextExample]]:
    """Train, val, trainval and test of a task; the same on every call.

    Raises:
        BadInput: the task is unknown.
    """
    if task not in _TASKS:
        raise BadInput(f"no task '{task}' in the suite mini_text{nearest(task, _TASKS)}")
    splits = _TASKS[task].draw()
    return {
        "train": splits["train"],
        "val": splits["val"],
        "trainval": splits["train"] + splits["val"],
        "test": splits["test"],
    }


def load(
    task: str,
    cache_dir: str,
    template: str,
    max_length: int,
    truncate: str | None,
    loss_on: str,
    max_new_tokens: int,
    pack: bool,
) -> TextTask:
    """A task of the suite.

    Args:
        task: gloss_category, facts, word_sums, dialogue or record_form.
        cache_dir: the folder below which tokens are kept.
        template, max_length, truncate, loss_on, max_new_tokens, pack: see `TextSettings`.

    Raises:
        BadInput: the task is unknown.
    """
    splits = draw_mini_text(task)
    settings = TextSettings(template, max_length, truncate, loss_on, max_new_tokens, pack)
    return TextTask(
        suite="mini_text",
        name=task,
        group="text",
        kind=_TASKS[task].kind,
        metrics=_TASKS[task].metrics,
        splits=splits,
        fingerprint=fingerprint_of_examples(splits),
        settings=settings,
        cache_dir=str(Path(cache_dir).expanduser()),
    )
