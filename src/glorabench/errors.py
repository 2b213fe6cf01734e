"""Errors that mean "the user can fix this": one clear line and exit code 2, never a traceback."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches


class BadInput(ValueError):
    """A name, a value, a file or a folder from the user is wrong; the message names the fix."""


def nearest(word: object, options: Iterable[str]) -> str:
    """End of a message about an unknown `word`: the nearest right name, and all of them when they are few."""
    options = sorted(options)
    close = get_close_matches(str(word), options, n=1, cutoff=0.5)
    hint = f"; did you mean '{close[0]}'?" if close else "."
    return f"{hint} Known: {', '.join(options)}." if 0 < len(options) <= 12 else hint


def nearest_key(key: str, keys: Iterable[str]) -> str:
    """End of a message about an unknown dotted `key`: the known one whose last part is nearest, if any is close."""
    last = key.rpartition(".")[2]

    def likeness(name: str) -> float:
        return SequenceMatcher(None, last, name.rpartition(".")[2]).ratio() + SequenceMatcher(None, key, name).ratio()

    close = [n for n in keys if get_close_matches(last, [n.rpartition(".")[2]], n=1, cutoff=0.6)]
    return f"; did you mean '{max(sorted(close), key=likeness)}'?" if close else "."


def one_of(key: str, value: object, options: Iterable[str]) -> None:
    """Refuse a value that is none of the `options`.

    Raises:
        BadInput: naming the key and the nearest right value.
    """
    options = list(options)
    if value not in options:
        raise BadInput(f"{key} '{value}'{nearest(value, options)}")


def check_whole_number(key: str, value: object, least: int = 1) -> None:
    """Refuse a value that is no whole number of at least `least`.

    Raises:
        BadInput: naming the key.
    """
    if type(value) is not int or value < least:
        raise BadInput(f"{key} must be a whole number of at least {least}, got {value!r}")


def printable(text: str) -> str:
    """Text without control characters, which a terminal would obey: each becomes `?`, a line end or tab a blank."""
    blanks = re.sub(r"[\r\n\t]+", " ", text)
    return "".join(letter if letter.isprintable() else "?" for letter in blanks)


def first_line(error: BaseException) -> str:
    """The message of an error in one line of at most 160 characters; its kind if it has no message."""
    return printable((str(error).splitlines() or [type(error).__name__])[0][:160])


class UnsuitableBackbone(BadInput):
    """The backbone cannot host the method, or the configuration has no values for the two together."""
