"""Sums: upstream states them and tells what happens to things; the task `word_sums` asks, and wants the working."""

from __future__ import annotations

from random import Random
from typing import Final

from glorabench.data.text.vocabulary import FIRST_NAMES, FOODS, NUMBER_WORDS, THINGS

LARGEST: Final = 99
_GAINS: Final = ("{who} gets {n} more", "{who} buys {n} more", "Then {m} brings {n} more", "{who} picks up {n} more")
_LOSSES: Final = ("{who} loses {n}", "{who} sells {n}", "{who} gives {n} to {m}", "Then {m} takes {n} away")
_QUESTIONS: Final = (
    (
        "A shop holds {a} {things}. A cart delivers {b}, and customers carry off {c}. What remains?",
        "{who} starts the week with {a} {things}, earns {b} and spends {c}. What is left at the end?",
        "In a store lie {a} {things}. After {b} arrive, {c} go to {m}. How many stay behind?",
    ),
    (
        "{who} collected {a} {things} and {m} collected {b}. Together they threw out {c}. How many do they still own?",
        "Of {a} {things} and another {b} in the cellar, {c} were broken. How many are whole?",
        "{m} packed {a} {things}, {who} packed {b}, and {c} fell from the car. How many arrived?",
    ),
)


def state_sum(random: Random) -> str:
    """Three to six sums and differences of numbers up to 99; the small numbers in words at times."""
    return " ".join(_sum(random) for _ in range(random.randint(3, 6)))


def _sum(random: Random) -> str:
    a, b = _pair(random)
    if random.random() < 0.15 and a + b <= len(NUMBER_WORDS):
        first, second, third = (NUMBER_WORDS[n - 1] for n in (a, b, a + b))
        return f"{first.capitalize()} and {second} make {third}."
    if random.random() < 0.1:
        return f"{a + b} is more than {a}." if random.random() < 0.5 else f"{a} is less than {a + b}."
    return f"{a} + {b} = {a + b}." if random.random() < 0.5 else f"{a + b} - {b} = {a}."


def _pair(random: Random) -> tuple[int, int]:
    total = random.randint(2, LARGEST if random.random() < 0.7 else 20)
    a = random.randint(1, total - 1)
    return a, total - a


def tell_sum(random: Random) -> str:
    """What happens to the things that somebody has, each change with its sum."""
    who, m = random.sample(FIRST_NAMES, 2)
    things = random.choice((*THINGS[:12], "egg", "pear", "plum"))
    n = random.randint(1, 60)
    text = [f"{who} has {n} {plural(things, n)}."]
    for _ in range(random.randint(1, 3)):
        more = n < 5 or (n < LARGEST - 30 and random.random() < 0.5)
        change = random.randint(1, min(30, n - 1)) if not more else random.randint(1, 30)
        after = n + change if more else n - change
        sign = "+" if more else "-"
        event = random.choice(_GAINS if more else _LOSSES).format(who=who, m=m, n=change)
        text.append(f"{event}: {n} {sign} {change} = {after}.")
        n = after
    return " ".join([*text, f"Now {who} has {n} {plural(things, n)}."])


def ask_sum(random: Random) -> tuple[str, str]:
    """A word problem of two steps, and its working: `12 + 7 = 19; 19 - 4 = 15`."""
    who, m = random.sample(FIRST_NAMES, 2)
    a, b = random.randint(3, 60), random.randint(2, 30)
    c = random.randint(1, min(30, a + b - 1))
    things = plural(random.choice((*THINGS[12:], *("egg", "pear", "plum"))), 2)
    question = random.choice(random.choice(_QUESTIONS)).format(who=who, m=m, a=a, b=b, c=c, things=things)
    return question, f"{a} + {b} = {a + b}; {a + b} - {c} = {a + b - c}"


def plural(thing: str, n: int) -> str:
    """A noun, in the plural unless n is 1."""
    if n == 1 or thing in FOODS:
        return thing
    return {"knife": "knives", "brush": "brushes", "box": "boxes"}.get(thing, f"{thing}s")
