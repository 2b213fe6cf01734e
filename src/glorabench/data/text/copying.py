"""Texts that can only be continued by copying: lists and records upstream, the task `record_form` downstream."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Final

from glorabench.data.text.vocabulary import (
    CITIES,
    COLOURS,
    DAYS,
    FIRST_NAMES,
    FOODS,
    INSTRUMENTS,
    JOBS,
    LAST_NAMES,
    MONTHS,
    PETS,
    THINGS,
)

WORDS: Final = (*FIRST_NAMES, *CITIES, *JOBS, *PETS, *FOODS, *INSTRUMENTS, *COLOURS, *THINGS, *DAYS, *MONTHS)
FIELDS: Final[Mapping[str, Sequence[str]]] = {
    "name": FIRST_NAMES,
    "town": CITIES,
    "day": DAYS,
    "month": MONTHS,
    "colour": COLOURS,
    "thing": THINGS,
    "food": FOODS,
    "job": JOBS,
    "animal": PETS,
}
_ORDINALS: Final = ["first", "second", "third", "fourth", "fifth", "sixth"]
# Instructions of the task; no upstream text has one of these forms.
FORMS: Final = (
    ("Write the visit as who @ where @ when.", "{name} @ {town} @ {day}", "name town day"),
    ("Turn this into when -> what -> who.", "{day} -> {thing} -> {name}", "day thing name"),
    ("Give the place and the month only.", "{town} + {month}", "town month"),
    ("Answer as a bill.", "1 x {food} for {name}", "food name"),
    ("Make a notice of it.", "Wanted: {job} - {town}", "job town"),
    ("Reply with thing ( colour ) owner.", "{thing} ( {colour} ) {name}", "colour thing name"),
)
_NEWS: Final[Mapping[str, tuple[str, ...]]] = {
    "name town day": (
        "It was {day} when {name} finally saw {town}.",
        "People in {town} expect {name} to arrive by {day}.",
        "{name} wrote: see you {day} at the gate of {town}!",
    ),
    "day thing name": (
        "By {day} the {thing} must be with {name}.",
        "Please hand {name} the {thing}, no later than {day}.",
        "The {thing} was missing; on {day} it turned up with {name}.",
    ),
    "town month": (
        "The fair of {town} opens in {month}.",
        "Come {month}, half of {town} is under snow.",
        "We left in {month} and never came back to {town}.",
    ),
    "food name": (
        "The waiter put down {food} in front of {name}.",
        "A plate of {food}, said {name}, nothing else.",
        "Tonight {name} will try {food} for once.",
    ),
    "job town": (
        "They look for a {job} over in {town}.",
        "{town} has lost its last {job}.",
        "A young {job} took the night train to {town}.",
    ),
    "colour thing name": (
        "The {colour} {thing} on the shelf was left by {name}.",
        "{name} paints each {thing} {colour}.",
        "Whoever finds a {colour} {thing} should ring {name}.",
    ),
}


def repeat_tokens(random: Random, vocabulary: range, length: int, longest: int) -> tuple[list[int], int]:
    """Random tokens, and the same again until the row is full: nothing but looking back predicts the second half.

    Args:
        random: the source of chance.
        vocabulary: the tokens that may occur.
        length: of the row.
        longest: the most tokens before they repeat.

    Returns:
        The row, and how many tokens it has before they repeat.
    """
    period = random.randint(4, longest)
    pattern = [random.randrange(vocabulary.start, vocabulary.stop) for _ in range(period)]
    return (pattern * (length // period + 1))[:length], period


def tell_list(random: Random) -> str:
    """A list of words, and what stands where in it."""
    items = random.sample(WORDS, random.randint(3, 6))
    ways: Sequence[Callable[[], str]] = (
        lambda: f"Again: {', '.join(items)}.",
        lambda: f"In reverse: {', '.join(reversed(items))}.",
        lambda: f"The first is {items[0]}. The last is {items[-1]}.",
        lambda: " ".join(f"The {_ORDINALS[i]} is {items[i]}." for i in random.sample(range(len(items)), 2)),
        lambda: _neighbours(random, items),
        lambda: f"There are {len(items)}.",
    )
    return " ".join([f"The list: {', '.join(items)}.", *(way() for way in random.sample(ways, random.randint(2, 4)))])


def _neighbours(random: Random, items: Sequence[str]) -> str:
    place = random.randrange(len(items) - 1)
    return f"After {items[place]} comes {items[place + 1]}."


def tell_record(random: Random) -> str:
    """One to three records of fields, and the fields read out again."""
    fields = random.sample(list(FIELDS), random.randint(2, 4))
    rows = [{field: random.choice(FIELDS[field]) for field in fields} for _ in range(random.randint(1, 3))]
    text = [" ".join(f"{field}: {row[field]};" for field in fields) for row in rows]
    for _ in range(random.randint(2, 5)):
        row = random.choice(rows)
        text.append(_reading(random, row, fields, len(rows) > 1))
    return " ".join(text)


def _reading(random: Random, row: Mapping[str, str], fields: Sequence[str], several: bool) -> str:
    key, value = random.sample(list(fields), 2)
    if several:
        return f"Where the {key} is {row[key]}, the {value} is {row[value]}."
    ways = (
        f"The {value} is {row[value]}.",
        f"{row[value]} is the {value}.",
        f"{value} = {row[value]}.",
        f"{key} and {value}: {row[key]}, {row[value]}.",
        f"{row[key]} / {row[value]}.",
        f"{value}, then {key}: {row[value]}, {row[key]}.",
    )
    return random.choice(ways)


def tell_full_names(random: Random) -> str:
    """People with first and last names, and either name told from the other."""
    firsts, lasts = random.sample(FIRST_NAMES, 3), random.sample(LAST_NAMES, 3)
    places = random.sample(range(3), 3)
    opening = ", ".join(f"{first} {last}" for first, last in zip(firsts, lasts, strict=True))
    readings = (
        f"{firsts[i]} is called {lasts[i]}."
        if random.random() < 0.5
        else f"The first name of {lasts[i]} is {firsts[i]}."
        for i in places
    )
    return f"Here come {opening}. {' '.join(readings)}"


def ask_form(random: Random) -> tuple[str, str]:
    """An instruction with a sentence, and what the sentence says in the form that the instruction asks for."""
    instruction, form, fields = random.choice(FORMS)
    values = {field: random.choice(FIELDS[field]) for field in fields.split()}
    return f"{instruction} {random.choice(_NEWS[fields]).format(**values)}", form.format(**values)
