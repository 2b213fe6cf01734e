"""What `llama_mini` is pretrained on: WordNet's glosses, and text about a small world that this package makes.

No prompt of the embedded tasks occurs in it: the tasks have other subjects, other sentences, or both. The synsets of
`gloss_category` and 1,000 further ones are left out; the latter measure what a network forgets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from random import Random
from typing import Final

from glorabench.data.text import copying, dialogues, sums, world
from glorabench.data.text.gloss_category import gloss_examples
from glorabench.data.text.wordnet import read_wordnet

HELD_OUT_GLOSSES: Final = 1000
_SEED: Final = 20263


@cache
def held_out_glosses() -> tuple[int, ...]:
    """The places in WordNet of synsets that neither upstream nor a task has."""
    return tuple(sorted(Random(_SEED).sample(_free(), HELD_OUT_GLOSSES)))


@cache
def upstream_glosses() -> tuple[int, ...]:
    """The places in WordNet of the synsets that upstream has."""
    held_out = set(held_out_glosses())
    return tuple(place for place in _free() if place not in held_out)


@cache
def _free() -> tuple[int, ...]:
    tasks = {place for places in gloss_examples().values() for place in places}
    return tuple(place for place in range(len(read_wordnet())) if place not in tasks)


def tell_gloss(random: Random) -> str:
    """One entry of the dictionary."""
    return gloss_text(random.choice(upstream_glosses()), random)


def gloss_text(place: int, random: Random) -> str:
    """The entry of a synset, in one of four forms."""
    synsets = read_wordnet()
    synset = synsets[place]
    form = random.random()
    if form < 0.15 and synset.parent >= 0:
        return f"{synset.words[0]} is a kind of {synsets[synset.parent].words[0]}: {synset.definition}."
    words = synset.words[0] if form < 0.6 else ", ".join(synset.words[:3])
    examples = "".join(f" {example}." for example in synset.examples[:2])
    return f"{words}: {synset.definition}.{examples}"


Mixture = Mapping[Callable[[Random], str], float]

# The share of the documents that each kind of text has.
MIXTURES: Final[Mapping[str, Mixture]] = {
    "broad": {
        tell_gloss: 0.36,
        world.tell_facts: 0.15,
        world.tell_of_a_kind: 0.05,
        sums.state_sum: 0.11,
        sums.tell_sum: 0.06,
        copying.tell_list: 0.06,
        copying.tell_record: 0.10,
        copying.tell_full_names: 0.03,
        dialogues.tell_talk: 0.08,
    },
    "facts": {
        tell_gloss: 0.30,
        world.tell_of_neighbour: 0.34,
        sums.state_sum: 0.12,
        sums.tell_sum: 0.07,
        copying.tell_list: 0.03,
        copying.tell_record: 0.06,
        copying.tell_full_names: 0.02,
        dialogues.tell_talk: 0.06,
    },
}


def documents(random: Random, mixture: Mixture) -> Iterator[str]:
    """Documents of the kinds of a mixture, without an end."""
    kinds, shares = list(mixture), list(mixture.values())
    while True:
        for kind in random.choices(kinds, shares, k=256):
            yield kind(random)
