"""Print the result of a check of texts. Light: no torch."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final

from glorabench.data.text.files.checking import alpaca_file
from glorabench.data.text.files.collection import SPLITS_OF_TEXT, TextCollection
from glorabench.data.text.task import TextExample

TEXT_CHECK_COLUMNS: Final = ("split", "examples", "prompt: median and longest", "completion: median and longest")


def print_texts(form: str, root: str, texts: TextCollection | None, problems: Sequence[str]) -> None:
    """Print the splits with the characters of their prompts and completions, then problems and notes.

    Args:
        form: of the texts.
        root: the file or folder.
        texts: what was read; None where that was not possible.
        problems: a line for each.
    """
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False, markup=False)
    if texts is not None:
        grid = Table(*TEXT_CHECK_COLUMNS, title=f"{form} in {root}, in characters")
        for split in SPLITS_OF_TEXT:
            grid.add_row(split, f"{len(texts.splits[split]):,}", *_lengths(texts.splits[split]))
        console.print(grid)
    for line in (*problems, *(_notes(form, texts) if texts is not None else ())):
        console.print(line, soft_wrap=True)
    console.print(f"{form}: {'right' if not problems else f'{len(problems)} problems'}", soft_wrap=True)


def _lengths(examples: Sequence[TextExample]) -> tuple[str, str]:
    prompts = [len(e.prompt) + len(e.context) + sum(len(t) for role, t in e.turns if role == "user") for e in examples]
    completions = [len(example.completion) for example in examples]
    return tuple(f"{median(sizes):,.0f}, {max(sizes):,}" for sizes in (prompts, completions))  # type: ignore[return-value]


def _notes(form: str, texts: TextCollection) -> Iterator[str]:
    """Notes: not faults, but useful to know."""
    yield f"note: {texts.origin}"
    yield f"note: fingerprint {texts.fingerprint[:12]}"
    if texts.groups:
        counts = (f"{name} {sum(e.group == name for e in texts.splits['test']):,}" for name in texts.groups)
        yield f"note: test sets: {', '.join(counts)}"
    for split, count in texts.left_out.items():
        yield f"note: {count:,} rows of {split or 'the file'} are left out"
    yield from (f"note: {line}" for line in texts.leaks)
    if form == "alpaca":
        yield f"note: the file is {alpaca_file(texts)}"
    if texts.is_fake:
        yield "note: fake data to rehearse with; records of it are marked, and tables refuse them beside others"
