"""Errors that mean "the user can fix this": one clear line and exit code 2, never a traceback."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches


class BadInput(ValueError):
    """Something the user gave (a name, a value, a file, a folder) is wrong; the message names the fix."""


def nearest(word: object, known: Iterable[str]) -> str:
    """End of a message about an unknown `word`: the nearest right name, and all of them when they are few."""
    known = sorted(known)
    close = get_close_matches(str(word), known, n=1, cutoff=0.5)
    hint = f"; did you mean '{close[0]}'?" if close else "."
    return f"{hint} Known: {', '.join(known)}." if 0 < len(known) <= 12 else hint


def nearest_key(key: str, known: Iterable[str]) -> str:
    """End of a message about an unknown dotted `key`: the known one whose last part is nearest, if any is close."""
    last = key.rpartition(".")[2]

    def likeness(name: str) -> float:
        return SequenceMatcher(None, last, name.rpartition(".")[2]).ratio() + SequenceMatcher(None, key, name).ratio()

    close = [n for n in known if get_close_matches(last, [n.rpartition(".")[2]], n=1, cutoff=0.6)]
    return f"; did you mean '{max(sorted(close), key=likeness)}'?" if close else "."


def one_of(key: str, value: object, known: Iterable[str]) -> None:
    """Refuse a value that is none of those `known`.

    Raises:
        BadInput: naming the key and the nearest right value.
    """
    known = list(known)
    if value not in known:
        raise BadInput(f"{key} '{value}'{nearest(value, known)}")


def whole(key: str, value: object, least: int = 1) -> None:
    """Refuse what is no whole number of at least `least`.

    Raises:
        BadInput: naming the key.
    """
    if type(value) is not int or value < least:
        raise BadInput(f"{key} must be a whole number of at least {least}, got {value!r}")


def printable(text: str) -> str:
    """Text without control characters, which a terminal would obey: each becomes `?`; line ends and tabs, a blank."""
    blanks = re.sub(r"[\r\n\t]+", " ", text)
    return "".join(letter if letter.isprintable() else "?" for letter in blanks)


def first_line(error: BaseException) -> str:
    """What an error says, in one line of at most 160 characters; its kind when it says nothing."""
    return printable((str(error).splitlines() or [type(error).__name__])[0][:160])


class Unhosted(BadInput):
    """The backbone cannot host the method, or the configuration has nothing to say about the two together."""
