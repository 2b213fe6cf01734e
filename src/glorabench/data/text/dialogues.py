"""Talk: upstream reports what people say to each other; the task `dialogue` wants a summary of a longer exchange."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Final

from glorabench.data.text.vocabulary import CITIES, COLOURS, DAYS, FIRST_NAMES, FOODS, THINGS

# What is said, and the reports of it: upstream only.
_SAID: Final = (
    (
        "I will go to {town} on {day}.",
        ("{a} will go to {town} on {day}.", "On {day} {a} will be in {town}.", "{a} wants to see {town} on {day}."),
    ),
    (
        "I lost my {colour} {thing}.",
        (
            "{a} has lost a {colour} {thing}.",
            "The {colour} {thing} of {a} is lost.",
            "{a} looks for a {colour} {thing}.",
        ),
    ),
    (
        "{b}, can you lend me a {thing}?",
        ("{a} needs a {thing}.", "{a} asks {b} for a {thing}.", "{b} may lend {a} a {thing}."),
    ),
    (
        "I made {food} for you, {b}.",
        ("{a} made {food} for {b}.", "{b} gets {food} from {a}.", "There is {food} for {b}."),
    ),
    (
        "{b}, meet me in {town} at {hour}.",
        (
            "{a} and {b} meet in {town} at {hour}.",
            "At {hour} {a} will meet {b}.",
            "{b} should come to {town} at {hour}.",
        ),
    ),
    (
        "{b}, I saw your {thing} in {town}.",
        ("{a} saw the {thing} of {b}.", "The {thing} of {b} is in {town}.", "{b} hears of a {thing} in {town}."),
    ),
)
_REPORTS: Final = ("{a} said: {said} So {report}", "{a}: {said} {report}", "{a} told {b}: {said} That means: {report}")

# The exchanges of the task: in each line one of the remarks that a bar separates; then the summary.
_EXCHANGES: Final = (
    (
        "{a}: Are you free this {day}?|{a}: {b}, do you have time this {day}?",
        "{b}: I think so. Why?|{b}: Yes, nothing planned.",
        "{a}: There is a market in {town}, let us look for a {thing}.|"
        "{a}: I need a {thing}, and {town} has its market.",
        "{b}: Good idea!|{b}: Then we go together.",
        "{a} and {b} will visit the market in {town} this {day} to find a {thing}.",
    ),
    (
        "{a}: Hello {b}, my {thing} broke again.|{a}: {b}, the {thing} fell down and is gone.",
        "{b}: Oh no. I have a {colour} one to spare.|{b}: Take mine, the {colour} one.",
        "{a}: Could I fetch it {day}?|{a}: May I come by on {day}?",
        "{b}: Sure, any time.|{b}: Do that.",
        "{b} gives {a} a {colour} {thing}, to be fetched {day}.",
    ),
    (
        "{a}: Who is cooking {day}?|{a}: {day}, who makes dinner?",
        "{b}: Not me, I am away in {town}.|{b}: You, as I stay in {town}.",
        "{a}: Then it will be {food} from me.|{a}: Fine, I can do {food}.",
        "{b}: Keep some!|{b}: What a pity, I like that.",
        "{a} cooks {food} {day} because {b} is away in {town}.",
    ),
    (
        "{a}: The {hour} bus to {town} is full.|{a}: No seats to {town} at {hour}.",
        "{b}: What now?|{b}: Really?",
        "{a}: We take the one after it, {day} is calm.|{a}: On {day} the next one is empty.",
        "{b}: Fine with me.|{b}: I can wait.",
        "{a} and {b} take a later bus than {hour} to {town} on {day}.",
    ),
    (
        "{a}: Did you call the shop in {town}?|{a}: {b}, any news from the shop in {town}?",
        "{b}: Yes, they keep the {colour} {thing} for us.|{b}: The {colour} {thing} is ours if we hurry.",
        "{a}: Until when?|{a}: How long?",
        "{b}: Until {day}.|{b}: They close after {day}.",
        "The shop in {town} keeps a {colour} {thing} for {a} and {b} until {day}.",
    ),
    (
        "{a}: {b}, I forgot the {food}!|{a}: There is no {food} left, {b}.",
        "{b}: No problem, I can get it in {town}.|{b}: I pass {town} anyway.",
        "{a}: And a {thing}, please.|{a}: We lack a {thing}, too.",
        "{b}: Will do, before {hour}.|{b}: Both before {hour}, then.",
        "{b} gets {food} and a {thing} for {a} in {town} before {hour}.",
    ),
)


def tell_talk(random: Random) -> str:
    """One to three remarks, each with a report of it."""
    return " ".join(_remark(random) for _ in range(random.randint(1, 3)))


def _remark(random: Random) -> str:
    said, reports = random.choice(_SAID)
    slots = _slots(random)
    form = random.choice(_REPORTS)
    return form.format(said=said.format(**slots), report=random.choice(reports).format(**slots), **slots)


def ask_summary(random: Random) -> tuple[str, str, Sequence[str]]:
    """An exchange of four lines, its summary, and the words that a summary must have."""
    *lines, summary = random.choice(_EXCHANGES)
    slots = _slots(random)
    remarks = [random.choice(line.split("|")) for line in lines]
    needed = [value for key, value in slots.items() if f"{{{key}}}" in summary]
    return " ".join(remarks).format(**slots), summary.format(**slots), needed


def _slots(random: Random) -> Mapping[str, str]:
    a, b = random.sample(FIRST_NAMES, 2)
    return {
        "a": a,
        "b": b,
        "town": random.choice(CITIES),
        "day": random.choice(DAYS),
        "thing": random.choice(THINGS),
        "colour": random.choice(COLOURS),
        "food": random.choice(FOODS),
        "hour": f"{random.randint(1, 12)}",
    }
