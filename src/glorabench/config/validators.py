"""Validators of the values of a config: each says in its message what is allowed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from glorabench.errors import nearest

LARGEST_COUNT = 2**31 - 1  # no count of epochs, images or tokens is larger


def _refuse(phrase: str, value: object) -> PydanticCustomError:
    return PydanticCustomError("glorabench", "{phrase}, got {value}", {"phrase": phrase, "value": repr(value)[:200]})


def validator(phrase: str, holds: Callable[[Any], bool], optional: bool) -> Any:
    """Accepts a value if `holds` is true for it, and null if the value is optional."""

    def check(value: Any) -> Any:
        if (optional and value is None) or (value is not None and holds(value)):
            return value
        raise _refuse(f"must be {phrase}", value)

    return BeforeValidator(check)


def is_whole(value: object, least: float = -math.inf, most: float = math.inf) -> bool:
    """True for a whole number in a range. A boolean is no number."""
    return type(value) is int and least <= value <= most


def is_number(value: object, least: float = -math.inf, limit: float = math.inf) -> bool:
    """True for a finite number from `least` to less than `limit`. A boolean is no number."""
    return type(value) in (int, float) and math.isfinite(value) and least <= value < limit  # type: ignore[arg-type]


def whole_number(least: int, most: int = LARGEST_COUNT, optional: bool = False) -> Any:
    """A whole number in a range."""
    bounds = f"of at least {least}" if most == LARGEST_COUNT else f"from {least} to {most}"
    phrase = f"a whole number {bounds}{' or null' if optional else ''}"
    return validator(phrase, lambda value: is_whole(value, least, most), optional)


def number_from(least: float, optional: bool = False) -> Any:
    """A number with a lower bound."""
    phrase = f"a number of at least {least:g}{' or null' if optional else ''}"
    return validator(phrase, lambda value: is_number(value, least), optional)


def positive_number(optional: bool = False) -> Any:
    """A number above 0."""
    return validator(
        f"{'null or ' if optional else ''}a number above 0", lambda value: is_number(value, 0) and value > 0, optional
    )


def share_value() -> Any:
    """A share, less than the whole."""
    return validator("a number from 0 to below 1", lambda value: is_number(value, 0, 1), False)


def is_text(value: object) -> bool:
    """True for text that is not empty and has no control characters."""
    return isinstance(value, str) and value != "" and value.isprintable()


def text_value(phrase: str, optional: bool = False) -> Any:
    """Printable text."""
    return validator(f"{phrase}{' or null' if optional else ''}", is_text, optional)


def list_value(what: str, holds: Callable[[Any], bool]) -> Any:
    """A validator of a list that is not empty, each value once."""
    return validator(
        f"a list of different {what}",
        lambda values: isinstance(values, list) and all(map(holds, values)) and 0 < len(set(values)) == len(values),
        False,
    )


def limit_value() -> Any:
    """A validator of a limit; the command that uses it reads its text."""
    return validator("a number such as 50000 or 50k, or null", lambda v: is_number(v, 0) or is_text(v), True)


@dataclass(frozen=True)
class OneOf:
    """A validator: the value as it is, if it is one of the options."""

    options: tuple[str, ...]
    optional: bool

    def __call__(self, value: Any) -> Any:
        """Refuse another value."""
        if value in self.options or (self.optional and value is None):
            return value
        hint = nearest(value, self.options)
        raise PydanticCustomError("glorabench", "{phrase}", {"phrase": f"{_in_quotes(value)}{hint}"})


def one_option(*options: str, optional: bool = False) -> Any:
    """One of a few texts."""
    return BeforeValidator(OneOf(options, optional))


def switch(optional: bool = False) -> Any:
    """True or false."""
    return validator(f"true{', ' if optional else ' or '}false{' or null' if optional else ''}", _is_bool, optional)


def _is_bool(value: Any) -> bool:
    return type(value) is bool


def duration_value() -> Any:
    """A time as Lightning's Timer reads it, longer than nothing."""
    pattern = re.compile(r"\d+:\d\d:\d\d:\d\d")
    phrase = "days:hours:minutes:seconds in quotes, such as '00:01:30:00', or null"
    return validator(phrase, lambda v: isinstance(v, str) and bool(pattern.fullmatch(v)) and bool(v.strip("0:")), True)


def _in_quotes(value: object) -> str:
    return f"'{value}'" if isinstance(value, str | int | float | bool | None) else repr(value)[:200]
