"""The task `gloss_category`: which of ten kinds of thing a dictionary entry explains. The labels are WordNet's own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from random import Random
from typing import Final

from glorabench.data.text.wordnet import read_wordnet, roots

CATEGORY_NAMES: Final[Mapping[str, str]] = {
    "noun.animal": "an animal",
    "noun.plant": "a plant",
    "noun.food": "something to eat or drink",
    "noun.person": "a person",
    "noun.artifact": "something made by people",
    "noun.body": "a part of the body",
    "noun.location": "a place",
    "noun.substance": "a substance",
    "noun.communication": "something said or written",
    "noun.act": "something done",
}
GLOSS_SIZES: Final[Mapping[str, int]] = {"train": 800, "val": 200, "test": 600}
_SEED: Final = 20262
_DEPTH: Final = 7  # steps below the top of the hypernyms at which a subtree is cut off
_LONGEST: Final = 160  # characters of a definition


@cache
def gloss_examples() -> Mapping[str, tuple[int, ...]]:
    """For each split the places of its synsets in WordNet.

    Whole subtrees of hypernyms go to one split, and no word occurs in two splits. The categories are equally frequent.
    """
    random = Random(_SEED)
    synsets, subtrees = read_wordnet(), roots(read_wordnet(), _DEPTH)
    splits: dict[str, list[int]] = {split: [] for split in GLOSS_SIZES}
    owners: dict[str, str] = {}  # of a word: the split
    for category in CATEGORY_NAMES:
        trees: dict[int, list[int]] = defaultdict(list)
        for place, synset in enumerate(synsets):
            is_name = synset.words[0][0].isupper()  # a city, or a genus in Latin
            if synset.category == category and not is_name and 20 <= len(synset.definition) <= _LONGEST:
                trees[subtrees[place]].append(place)
        queue = list(trees.values())
        random.shuffle(queue)
        for split, size in GLOSS_SIZES.items():
            share, chosen = size // len(CATEGORY_NAMES), 0
            while chosen < share:
                tree = queue.pop()
                random.shuffle(tree)
                # No subtree gives more than a fifth of a category, so that the split does not hang on one of them.
                for place in tree[: max(1, share // 5)]:
                    words = [word.lower() for word in synsets[place].words]
                    if chosen < share and all(owners.get(word, split) == split for word in words):
                        owners |= dict.fromkeys(words, split)
                        splits[split].append(place)
                        chosen += 1
    return {split: tuple(random.sample(places, len(places))) for split, places in splits.items()}


def entry(place: int) -> str:
    """The word and its definition."""
    synset = read_wordnet()[place]
    return f"{synset.words[0]}: {synset.definition}."
