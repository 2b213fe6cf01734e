"""The table of exact parameter counts beside the published ones."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glorabench.analysis import published_counts
from glorabench.analysis.published_counts import CountConfig, CountRow
from glorabench.config.compose import compose, expand
from glorabench.errors import BadInput, UnsuitableBackbone
from glorabench.reports.rendering import grid

COUNT_COLUMNS = ("method", "parameters", "published", "why they differ")
_LEFT = ("method", "published", "why they differ")
UNDEFINED = "not defined: "  # and the reason, where a row has no number


@dataclass(frozen=True)
class Table:
    """The counts of one backbone: lines of text, and the notes below them."""

    backbone: str
    lines: Sequence[tuple[str, ...]]
    notes: str


@dataclass(frozen=True)
class Counting:
    """How parameters are counted, which needs networks: what prints a table is handed it.

    Args:
        trained: overrides of a config -> its trained parameters without head.
        head: config of a backbone -> parameters of its head for one class.
    """

    trained: Callable[[Sequence[str]], int]
    head: Callable[[Mapping[str, Any]], int]


def counted(
    row: CountRow, words: Sequence[str], tasks: published_counts.Tasks, count: Counting
) -> int | dict[str, int]:
    """The count of a row, or that of each task.

    Raises:
        BadInput: as `profiling.parameters_of`.
    """
    if not row.per_task:
        return count.trained([*row.run, *words])
    facts = {task: said for group in tasks.values() for task, said in group.items()}
    chosen = {task: tuple(f"{key}={said[name]}" for key, name in row.per_task.items()) for task, said in facts.items()}
    sizes = {own: count.trained([*row.run, *own, *words]) for own in set(chosen.values())}
    return {task: sizes[own] for task, own in chosen.items()}


def tables(book: CountConfig, words: Sequence[str], count: Counting) -> Iterator[Table]:
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
            yield _counts_table(book, [CountRow(" ".join(run), run) for run in own], shared, UnsuitableBackbone, count)
        else:
            yield _counts_table(book, book.rows, [backbone, *others], BadInput, count)


def _counts_table(
    book: CountConfig, rows: Iterable[CountRow], words: Sequence[str], shown: type[BadInput], count: Counting
) -> Table:
    """One table; an error of the kind `shown` is the content of its row."""
    from rich.console import Console
    from rich.progress import track

    config = compose(words)
    name, family = config["names"]["backbone"], config["backbone"].get("family")
    per_class = count.head(config["backbone"])
    rows = [row for row in rows if not row.families or family in row.families]
    lines: list[tuple[str, ...]] = []
    cited: dict[str, str] = {}
    console = Console(stderr=True)
    for row in track(rows, f"counting on {name}", console=console, transient=True, disable=not console.is_terminal):
        try:
            found = counted(row, words, book.tasks, count)
        except shown as error:
            lines.append((row.label, "", "", f"{UNDEFINED}{error}"))
            continue
        if isinstance(found, int):
            size = f"{found:,}"
        else:
            size = f"mean {published_counts.mean_count(book.tasks, found, 'tasks'):,}"
        figures = row.published.get(name, [])
        cited |= {figure.source: book.sources[figure.source] for figure in figures}
        said = [
            (f"{f.printed}, {f.source}", published_counts.reconcile(f, found, per_class, book.tasks)[1])
            for f in figures
        ]
        said += [("", row.note[name])] if name in row.note else []
        first, *more = said or [("", "")]
        lines += [(row.label, size, *first), *(("", "", *line) for line in more)]
    head = "Trained parameters; the language-model head stays frozen"
    if per_class:
        mean = published_counts.mean_head(book.tasks, per_class)
        head = (
            f"Trained parameters without head, which has {per_class:,} for each class, "
            f"{mean:,} on average over the 19 tasks of VTAB-1k"
        )
    return Table(name, lines, "; ".join([head, *(f"{source}: {text}" for source, text in cited.items())]) + ".")


def counts_markdown(made: Table) -> str:
    """A table and its notes as Markdown, under a heading."""
    return "\n".join([f"### {made.backbone}", "", *grid(COUNT_COLUMNS, made.lines, _LEFT), "", made.notes]) + "\n"


def show_counts(made: Table) -> None:
    """Print a table and its notes."""
    from rich.console import Console
    from rich.table import Table as Grid

    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    shown = Grid(title=f"trained parameters on {made.backbone}, head apart")
    for name in COUNT_COLUMNS:
        shown.add_column(name, justify="left" if name in _LEFT else "right")
    for line in made.lines:
        shown.add_row(*line)
    console.print(shown)
    console.print(made.notes, style="dim", soft_wrap=True)
