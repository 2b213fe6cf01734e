"""WordNet 3.0: what English words mean, with the category and the parent of each sense.

The package carries the glosses, not the whole database: one line a synset in `assets/wordnet.tsv.xz`, beside the notice
that its licence asks for (`assets/wordnet_licence.txt`). `pack_wordnet` makes the file from the original database.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

PARTS_OF_SPEECH: Final = ("noun", "verb", "adj", "adv")
# The numbers of the lexicographer files, as the database gives them (lexnames(5WN)).
_CATEGORIES: Final = [
    "adj.all",
    "adj.pert",
    "adv.all",
    "noun.Tops",
    "noun.act",
    "noun.animal",
    "noun.artifact",
    "noun.attribute",
    "noun.body",
    "noun.cognition",
    "noun.communication",
    "noun.event",
    "noun.feeling",
    "noun.food",
    "noun.group",
    "noun.location",
    "noun.motive",
    "noun.object",
    "noun.person",
    "noun.phenomenon",
    "noun.plant",
    "noun.possession",
    "noun.process",
    "noun.quantity",
    "noun.relation",
    "noun.shape",
    "noun.state",
    "noun.substance",
    "noun.time",
    "verb.body",
    "verb.change",
    "verb.cognition",
    "verb.communication",
    "verb.competition",
    "verb.consumption",
    "verb.contact",
    "verb.creation",
    "verb.emotion",
    "verb.motion",
    "verb.perception",
    "verb.possession",
    "verb.social",
    "verb.stative",
    "verb.weather",
    "adj.ppl",
]


@dataclass(frozen=True)
class Synset:
    """One sense.

    Args:
        words: that have it, the usual one first.
        category: of the 45 of WordNet, such as noun.food.
        parent: the place of its hypernym in the list of all synsets, or -1.
        definition: what it means.
        examples: sentences that use it.
    """

    words: tuple[str, ...]
    category: str
    parent: int
    definition: str
    examples: tuple[str, ...]


@cache
def read_wordnet() -> tuple[Synset, ...]:
    """All 117,659 synsets, in the order of the database: nouns, verbs, adjectives, adverbs."""
    packed = files("glorabench").joinpath("assets/wordnet.tsv.xz").read_bytes()
    return tuple(_parse(line) for line in lzma.decompress(packed).decode().splitlines())


def _parse(line: str) -> Synset:
    words, category, parent, gloss = line.split("\t")
    definition, *examples = gloss.split('"')
    return Synset(
        words=tuple(words.split(",")),
        category=_CATEGORIES[int(category)],
        parent=int(parent),
        definition=definition.strip(" ;:"),
        examples=tuple(text for text in (example.strip(" ;") for example in examples) if len(text) > 2),
    )


def roots(synsets: tuple[Synset, ...], depth: int) -> list[int]:
    """For each synset the place of its ancestor that is `depth` steps below the top; itself if it is not that deep."""
    found: list[int] = []
    for place in range(len(synsets)):
        line = [place]
        while synsets[line[-1]].parent >= 0 and len(line) < 64:
            line.append(synsets[line[-1]].parent)
        found.append(line[max(0, len(line) - 1 - depth)])
    return found


def pack_wordnet(database: Path, file: Path) -> None:
    """Write the file that `read_wordnet` reads.

    Args:
        database: folder of `data.noun`, `data.verb`, `data.adj` and `data.adv`, as Princeton and Linux distributions
            ship them.
        file: to write.
    """
    rows = [row for part in PARTS_OF_SPEECH for row in _rows(database / f"data.{part}")]
    places = {key: place for place, (key, *_) in enumerate(rows)}
    lines = (
        "\t".join((words, category, str(places.get(parent, -1)), gloss)) for _, words, category, parent, gloss in rows
    )
    file.write_bytes(lzma.compress("\n".join(lines).encode(), preset=9 | lzma.PRESET_EXTREME))


def _rows(file: Path) -> Iterator[tuple[str, str, str, str, str]]:
    """Key, words, category, key of the hypernym, and gloss of each synset of a database file (wndb(5WN))."""
    for line in file.read_text(encoding="latin-1").splitlines():
        if line.startswith("  "):
            continue  # the licence
        facts, gloss = line.split(" | ", 1)
        offset, category, _, count, *fields = facts.split()
        words = [fields[2 * i].split("(")[0].replace("_", " ") for i in range(int(count, 16))]
        pointers = fields[2 * int(count, 16) + 1 :]
        parents = [
            pointers[i + 2] + pointers[i + 1] for i in range(0, len(pointers) - 3, 4) if pointers[i] in ("@", "@i")
        ]
        yield (
            ["n", "v", "a", "r"][PARTS_OF_SPEECH.index(file.suffix[1:])] + offset,
            ",".join(words),
            str(int(category)),
            (parents[0] if parents else ""),
            " ".join(gloss.split()),
        )
