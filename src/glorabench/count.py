"""`glorabench count`: exact parameter counts on the meta device, without weights, beside the published ones."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from glorabench import cost, published, streams
from glorabench.backbones.base import Backbone
from glorabench.compose import compose, expand
from glorabench.config.instantiate import BACKBONE, METHOD, make
from glorabench.errors import BadInput
from glorabench.forms import grid
from glorabench.output import embed
from glorabench.published import Book, Row

COLUMNS = ("method", "parameters", "published", "why they differ")
_LEFT = ("method", "published", "why they differ")
UNDEFINED = "not defined: "  # and the reason, where a row has no number


class Unhosted(BadInput):
    """The backbone cannot host the method, or the configuration has nothing to say about the two together."""


@dataclass(frozen=True)
class Table:
    """The counts of one backbone: lines of text, and the notes below them."""

    backbone: str
    lines: Sequence[tuple[str, ...]]
    notes: str


@lru_cache(maxsize=2)  # a table asks for the same backbone, or the same two, in every row
def pristine(config: str, classes: int = 1) -> Backbone:
    """The backbone of a config, in JSON, on the meta device, with a head where it has one: copy it."""
    with torch.device("meta"):
        backbone = make(json.loads(config), BACKBONE)
        if backbone.head is not None:
            backbone.set_head(classes)
    return backbone


def counts(overrides: Sequence[str]) -> dict[str, int | None]:
    """What `cost.parameters` says of a config, for a head of one class.

    Raises:
        BadInput: a hyper-parameter is wrong.
        Unhosted: the backbone cannot host the method.
    """
    try:
        config = compose(overrides)
    except BadInput as error:
        raise Unhosted(str(error)) from error
    method = make(config["method"], METHOD)
    with torch.device("meta"):
        backbone = copy.deepcopy(pristine(json.dumps(config["backbone"])))
        try:
            method.inject(backbone)
        except BadInput as error:
            raise Unhosted(str(error)) from error
    return cost.parameters(backbone)


def trained(overrides: Sequence[str]) -> int:
    """Trained parameters without head; of all paths, where the method is a supernet.

    Raises:
        BadInput: as `counts`.
    """
    found = counts(overrides)
    size = found["method"] if found["supernet"] is None else found["supernet"]
    assert size is not None
    return size


def counted(row: Row, words: Sequence[str], tasks: published.Tasks) -> int | dict[str, int]:
    """The count of a row, or that of each task.

    Raises:
        BadInput: as `counts`.
    """
    if not row.per_task:
        return trained([*row.run, *words])
    facts = {task: said for group in tasks.values() for task, said in group.items()}
    chosen = {task: tuple(f"{key}={said[name]}" for key, name in row.per_task.items()) for task, said in facts.items()}
    sizes = {own: trained([*row.run, *own, *words]) for own in set(chosen.values())}
    return {task: sizes[own] for task, own in chosen.items()}


def tables(book: Book, words: Sequence[str]) -> Iterator[Table]:
    """A table for each backbone that the words name, or that the book shows: of the words' own method, or all rows.

    Raises:
        BadInput: the words are wrong. A method that a backbone cannot host has the reason in its row.
    """
    chosen = [word for word in words if word.partition("=")[0] == "backbone"]
    others = [word for word in words if word not in chosen]
    method = [word for word in others if word.startswith("method")]
    for (backbone,) in expand(chosen or [f"backbone={','.join(book.backbones)}"], multirun=True)[0]:
        if any(word.partition("=")[0] == "method" for word in method):
            shared = [backbone, *(word for word in others if word not in method)]
            jobs = expand([*shared, *method], multirun=True)[0]
            own = [[word for word in job if word.startswith("method")] for job in jobs]
            yield _table(book, [Row(" ".join(run), run) for run in own], shared, Unhosted)
        else:
            yield _table(book, book.rows, [backbone, *others], BadInput)


def _table(book: Book, rows: Iterable[Row], words: Sequence[str], shown: type[BadInput]) -> Table:
    """One table; an error of the kind `shown` is the content of its row."""
    from rich.console import Console
    from rich.progress import track

    config = compose(words)
    name, family = config["names"]["backbone"], config["backbone"].get("family")
    per_class = sum(p.numel() for p in pristine(json.dumps(config["backbone"])).head_parameters())
    rows = [row for row in rows if not row.families or family in row.families]
    lines: list[tuple[str, ...]] = []
    cited: dict[str, str] = {}
    console = Console(stderr=True)
    quiet = not console.is_terminal
    for row in track(rows, f"counting on {name}", console=console, transient=True, disable=quiet):
        streams.check()
        try:
            found = counted(row, words, book.tasks)
        except shown as error:
            lines.append((row.label, "", "", f"{UNDEFINED}{error}"))
            continue
        size = f"{found:,}" if isinstance(found, int) else f"mean {published.mean(book.tasks, found, 'tasks'):,}"
        figures = row.published.get(name, [])
        cited |= {figure.source: book.sources[figure.source] for figure in figures}
        said = [(f"{f.printed}, {f.source}", published.reconcile(f, found, per_class, book.tasks)[1]) for f in figures]
        said += [("", row.note[name])] if name in row.note else []
        first, *more = said or [("", "")]
        lines += [(row.label, size, *first), *(("", "", *line) for line in more)]
    head = "Trained parameters; the language-model head stays frozen"
    if per_class:
        mean = published.mean_head(book.tasks, per_class)
        head = (
            f"Trained parameters without head, which has {per_class:,} for each class, "
            f"{mean:,} on average over the 19 tasks of VTAB-1k"
        )
    return Table(name, lines, "; ".join([head, *(f"{source}: {text}" for source, text in cited.items())]) + ".")


def markdown(made: Table) -> str:
    """A table and its notes as Markdown, under a heading."""
    return "\n".join([f"### {made.backbone}", "", *grid(COLUMNS, made.lines, _LEFT), "", made.notes]) + "\n"


def show(made: Table) -> None:
    """Print a table and its notes."""
    from rich.console import Console
    from rich.table import Table as Grid

    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    shown = Grid(title=f"trained parameters on {made.backbone}, head apart")
    for name in COLUMNS:
        shown.add_column(name, justify="left" if name in _LEFT else "right")
    for line in made.lines:
        shown.add_row(*line)
    console.print(shown)
    console.print(made.notes, style="dim", soft_wrap=True)


def main(words: Sequence[str], form: str = "text", into: Path | None = None) -> int:
    """Print the tables as `form`, or write them `into` a file between its markers.

    Raises:
        BadInput: the words are wrong, no backbone can host their method, or the file has no markers.
    """
    made: Iterable[Table] = tables(published.book(), words)
    if any(word.partition("=")[0] == "method" for word in words):
        made = list(made)
        lines = [line for each in made for line in each.lines]
        if not any(size for _, size, *_ in lines):
            raise BadInput(lines[0][3].removeprefix(UNDEFINED))
    if into is not None:
        embed("\n".join(map(markdown, made)), "table:counts", into)
    elif form == "md":
        print("\n".join(map(markdown, made)), end="")
    else:
        for each in made:
            show(each)
    return 0
