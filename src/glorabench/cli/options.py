"""The options and words that several commands share, and how a shell completes the words."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from glorabench.errors import BadInput

_SCALES = {"k": 1e3, "M": 1e6, "G": 1e9}

Results = Annotated[
    Path | None,
    typer.Option("--results", metavar="FOLDER", help="Folder of the records (default: results/local, else results)."),
]
Into = Annotated[
    str | None,
    typer.Option(
        "--into",
        metavar="FILE",
        help="Write Markdown into this file, between <!-- COMMAND:SUITE --> and its end. "
        "FILE#NAME chooses the block <!-- COMMAND:NAME -->.",
    ),
]
Form = Literal["text", "md", "tex", "html"]
FormOption = typer.Option("--format", help="What to print.")
SuiteName = Annotated[str, typer.Argument(metavar="SUITE", help="The suite of the records.")]
AnySuite = Annotated[str | None, typer.Argument(metavar="SUITE", help="The suite of the records (default: all).")]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="PACKAGE",
        help="Let _target_ name code of this package of yours: methods, backbones, data, searches.",
    ),
]


def complete_bash() -> None:
    """Let a word that ends in `=` be completed in bash, which cuts words there: the next word is the value."""
    if os.environ.get("COMP_WORDS", "").endswith("=") and os.environ.get("COMP_CWORD", "").isdigit():
        os.environ["COMP_CWORD"] = str(int(os.environ["COMP_CWORD"]) + 1)


def complete_words(context: typer.Context, incomplete: str) -> list[str]:
    """The words that `incomplete` may become: GROUP=, and after it the names in conf/GROUP."""
    from glorabench.config.paths import CONFIG_GROUPS, options

    words = list(context.params.get("words") or [])
    start = ""
    if words[-1:] == ["="]:  # bash cuts words at it
        incomplete, start = f"{words[-2]}={incomplete}", f"{words[-2]}="
    earlier = incomplete[: incomplete.rfind(",") + 1]  # of method=lora,gl the last name is completed
    names = [f"{group}={name}" for group in CONFIG_GROUPS for name in options(group)]
    if earlier:
        group = incomplete.partition("=")[0]
        names = [f"{earlier}{name}" for name in (options(group) if group in CONFIG_GROUPS else ())]
    return [name.removeprefix(start) for name in names if name.startswith(incomplete)]


Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="WORD",
        help="GROUP=NAME or KEY=VALUE, as in conf/, in any order.",
        autocompletion=complete_words,
    ),
]


def number_of(option: str, text: str | None) -> float | None:
    """The number that an option says: `50000`, `50k`, `1.5M`; None where it is not given.

    Raises:
        BadInput: it is no finite number.
    """
    if text is None:
        return None
    scale = _SCALES.get(text[-1:], 1.0)
    try:
        number = float(text[:-1] if text[-1:] in _SCALES else text) * scale
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise BadInput(f"{option} {text!r} is no number: for example 50000, 50k or 1.5M")
    return number
