"""A small world: 600 people with a home, a job, a pet, a favourite food and an instrument, all drawn from one seed.

Upstream the people occur in statements only. The task `facts` asks about them in words that no statement has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from random import Random
from typing import Final

from glorabench.data.text.vocabulary import CITIES, FIRST_NAMES, FOODS, INSTRUMENTS, JOBS, LAST_NAMES, PETS

PEOPLE: Final = 600
NEIGHBOURS: Final = 300
WORLD_SEED: Final = 20261
RELATIONS: Final = {"home": CITIES, "job": JOBS, "pet": PETS, "food": FOODS, "instrument": INSTRUMENTS}
STATEMENTS: Final = {
    "home": (
        "{who} lives in {what}.",
        "{who} has a house in {what}.",
        "The home of {who} is in {what}.",
        "{what} is the home of {who}.",
        "{who} is from {what}.",
        "You can meet {who} in the streets of {what}.",
        "In {what} lives {who}.",
        "{who} moved to {what} long ago and stayed.",
    ),
    "job": (
        "{who} works as a {what}.",
        "{who} is a {what}.",
        "The {what} is called {who}.",
        "By trade {who} is a {what}.",
        "{who} earns money as a {what}.",
        "For years {who} has been a {what}.",
        "{who}, a {what}, is known to all.",
        "Work as a {what} suits {who}.",
    ),
    "pet": (
        "{who} has a {what}.",
        "{who} owns a {what}.",
        "The {what} of {who} is old.",
        "{who} feeds a {what} every day.",
        "A {what} belongs to {who}.",
        "{who} keeps a {what} at home.",
        "{who} and the {what} are good friends.",
        "Every morning {who} looks after a {what}.",
    ),
    "food": (
        "{who} likes {what} best.",
        "{who} eats {what} every week.",
        "{who} loves {what}.",
        "There is always {what} on the table of {who}.",
        "{who} never says no to {what}.",
        "For dinner {who} wants {what}.",
        "{who} is very fond of {what}.",
        "Nothing tastes better to {who} than {what}.",
    ),
    "instrument": (
        "{who} plays the {what}.",
        "{who} has learned the {what}.",
        "On Sunday {who} plays the {what} for friends.",
        "The sound of the {what} comes from the room of {who}.",
        "{who} is good at the {what}.",
        "{who} bought a new {what} to play on.",
        "{who} takes lessons on the {what}.",
        "The {what} is what {who} plays.",
    ),
}
QUESTIONS: Final = {
    "home": (
        "Where would a letter reach {who}?",
        "Which town does {who} call home?",
        "Name the place where {who} can be visited.",
    ),
    "job": (
        "What does {who} do for a living?",
        "Which profession did {who} choose?",
        "How is {who} employed?",
    ),
    "pet": (
        "Which animal shares the rooms of {who}?",
        "What kind of creature waits for {who}?",
        "Name the animal companion of {who}.",
    ),
    "food": (
        "Which dish should be cooked for {who}?",
        "What would please {who} at a meal?",
        "Name the preferred meal of {who}.",
    ),
    "instrument": (
        "What does {who} bring along to a band?",
        "With which instrument does {who} make music?",
        "Name the instrument that {who} practises.",
    ),
}


@dataclass(frozen=True)
class Person:
    """Somebody, and for each relation of `RELATIONS` what holds."""

    name: str
    facts: dict[str, str]


@cache
def people() -> tuple[Person, ...]:
    """All people of the world; no two have the same name."""
    random = Random(WORLD_SEED)
    names = random.sample([f"{first} {last}" for first, last in product(FIRST_NAMES, LAST_NAMES)], PEOPLE)
    return tuple(
        Person(name, {relation: random.choice(values) for relation, values in RELATIONS.items()}) for name in names
    )


def neighbours() -> tuple[Person, ...]:
    """The 300 people of whom upstream tells most; the tasks ask about them."""
    return people()[:NEIGHBOURS]


def tell_of_neighbour(random: Random) -> str:
    """The same as `tell_facts`, of one of the neighbours."""
    return _tell(random, random.choice(neighbours()))


def tell_facts(random: Random) -> str:
    """Two to five facts about one person, in any order, as upstream tells them."""
    return _tell(random, random.choice(people()))


def _tell(random: Random, person: Person) -> str:
    relations = random.sample(list(RELATIONS), random.randint(2, 5))
    who = [person.name] + [person.name if random.random() < 0.7 else person.name.split()[0] for _ in relations[1:]]
    return " ".join(
        state(random, name, relation, person.facts[relation]) for name, relation in zip(who, relations, strict=True)
    )


def tell_of_a_kind(random: Random) -> str:
    """Some of the people of whom the same holds: all who live in a town, or who have the same job."""
    relation = random.choice(list(RELATIONS))
    value = random.choice(RELATIONS[relation])
    everybody = [person.name for person in people() if person.facts[relation] == value]
    names = random.sample(everybody, min(len(everybody), random.randint(2, 4)))
    return " ".join(state(random, name, relation, value) for name in names)


def state(random: Random, who: str, relation: str, what: str) -> str:
    """One statement of upstream."""
    return _article(random.choice(STATEMENTS[relation]).format(who=who, what=what), what)


def answers(random: Random, person: Person, relation: str) -> tuple[Sequence[str], int]:
    """Four answers to a question about a person, and the number of the right one.

    The wrong answers are right for other people.
    """
    right = person.facts[relation]
    values = [right, *random.sample([value for value in RELATIONS[relation] if value != right], 3)]
    random.shuffle(values)
    return values, values.index(right)


def _article(text: str, what: str) -> str:
    return text.replace(f" a {what}", f" an {what}") if what[0] in "aeiou" else text
