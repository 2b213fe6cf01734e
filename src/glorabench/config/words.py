"""The words of a command line: paths get the quotes that Hydra's grammar needs, and each group gets one name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from glorabench.errors import BadInput, first_line

PATH_KEYS = ("results_dir", "cache_dir", "data.root", "data.cache_dir", "backbone.weights_from")
OPTIONAL_GROUPS = ("search", "experiment")  # groups that may be left out
OPEN_GROUPS = ("logger",)  # groups of which several names may be given
# values that are no paths: null, booleans, lists, sweeps, interpolations and quoted text
_NO_PATH = re.compile(
    r"(?i:null|true|false)|[\[{'\"].*|.*\$\{.*|(choice|range|interval|glob|sort|shuffle|tag|str)\(.*\)"
)


def quote_paths(words: Iterable[str]) -> list[str]:
    """The words with the values of paths in quotes, so that `data.root=~/my data (1)` is read as it is typed."""
    return [_quote(word) for word in words]


def _quote(word: str) -> str:
    key, equals, value = word.partition("=")
    if not equals or key.lstrip("+") not in PATH_KEYS or not value or _NO_PATH.fullmatch(value) or "," in value:
        return word
    return f"{key}={quote(value)}"


def quote(text: str) -> str:
    """A text in the quotes of Hydra's grammar, which reads it as it is."""
    escaped = re.sub(r"(\\*)(?='|$)", lambda match: 2 * match[1], text).replace("'", "\\'")
    return f"'{escaped}'"


def parse_words(parser: OverridesParser, words: Sequence[str]) -> list[Override]:
    """Parse the words as Hydra's overrides.

    Raises:
        BadInput: a word is no override. The message says how to quote its value.
    """
    return [_parse_word(parser.parse_overrides, word) for word in words]


def _parse_word(parse_overrides: Callable[[list[str]], list[Override]], word: str) -> Override:
    key, equals, value = word.partition("=")
    try:
        return parse_overrides([word])[0]
    except (HydraException, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else first_line(error)
        advice = f". A value with blanks or signs is quoted: \"{key}='{value}'\"" if equals and "'" not in value else ""
        raise BadInput(f"'{word[:200]}': {reason} (an override is key=value){advice[:300]}") from error


def check_groups(overrides: Iterable[Override], groups: Sequence[str]) -> None:
    """Check that each word about a group gives it one name; a sweep gives it one at a time.

    Raises:
        BadInput: a list, a mapping or a number where a name is meant, or a group that is taken away.
    """
    for override in overrides:
        key = str(override.key_or_group)
        if key.startswith("hydra.") and key.partition(".")[2] == "sweeper.params":
            _check_params(override)
        if key not in groups:
            continue
        if override.is_delete() and key not in OPTIONAL_GROUPS:
            raise BadInput(f"'{override.input_line}': a run needs a {key}: choose one with {key}=NAME")
        if not override.is_delete() and not override.is_sweep_override():
            value: Any = override.value()
            if key in OPEN_GROUPS and isinstance(value, list):
                _check_names(key, value)
            elif not (isinstance(value, str) or (value is None and key in OPTIONAL_GROUPS)):
                raise BadInput(f"{key} must be one name, got {override.get_value_string()}; several: -m {key}=A,B")


def _check_names(key: str, names: list[Any]) -> None:
    """Check several names of one group: each once, and not beside `none`."""
    words = [str(name) for name in names]
    if not words or len(set(words)) < len(words) or ("none" in words and len(words) > 1):
        raise BadInput(f"{key}=[{','.join(words)}] must name each once, and none alone: for example {key}=[wandb,csv]")


def _check_params(override: Override) -> None:
    value: Any = override.value()
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise BadInput(f"hydra.sweeper.params holds keys and values, got {override.get_value_string()}")
