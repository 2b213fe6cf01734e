"""The options and words that several commands share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import typer

from glorabench.cli.completion import complete_words
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
Conditions = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE", help="Only records with these values, in words of the config. A,B is any of both."
    ),
]
ShowNotes = Annotated[
    bool, typer.Option("--notes", help="On a terminal also the comparisons, and what columns and signs mean.")
]
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
