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
UNDEFINED = "not defined: "  # before the reason, where a row has no number


@dataclass(frozen=True)
class CountTable:
    """The counts on one backbone: lines of text, and the notes below them."""

    backbone: str
    lines: Sequence[tuple[str, ...]]
    notes: str


@dataclass(frozen=True)
class Counting:
    """Functions that count parameters. They need networks, so the caller of a table passes them in.

    Args:
        size: overrides of a config -> its trained parameters without head.
        head: config of a backbone -> parameters of its head for one class.
    """

    size: Callable[[Sequence[str]], int]
    head: Callable[[Mapping[str, Any]], int]


def count_of_row(
    row: CountRow, words: Sequence[str], tasks: published_counts.Tasks, count: Counting
) -> int | dict[str, int]:
    """The count of a row; by task, where the row has values for each task.

    Raises:
        BadInput: as `profiling.parameters_of`.
    """
    if not row.per_task:
        return count.size([*row.run, *words])
    overrides: dict[str, tuple[str, ...]] = {}
    for group in tasks.values():
        for task, facts in group.items():
            overrides[task] = tuple(f"{key}={facts[name]}" for key, name in row.per_task.items())
    sizes = {values: count.size([*row.run, *values, *words]) for values in set(overrides.values())}
    return {task: sizes[values] for task, values in overrides.items()}


def count_tables(config: CountConfig, words: Sequence[str], count: Counting) -> Iterator[CountTable]:
    """A table for each backbone that the words name, or else that conf/count.yaml names.

    Where the words name a method, its tables have one row for each of its overrides; else they have all rows.

    Raises:
        BadInput: the words are wrong. A method that a backbone cannot host has the reason in its row.
    """
    backbone_words = [word for word in words if word.partition("=")[0] == "backbone"]
    other_words = [word for word in words if word not in backbone_words]
    method_words = [word for word in other_words if word.startswith("method")]
    backbone_words = backbone_words or [f"backbone={','.join(config.backbones)}"]
    for (backbone,) in expand(backbone_words, multirun=True)[0]:
        if any(word.partition("=")[0] == "method" for word in method_words):
            shared = [backbone, *(word for word in other_words if word not in method_words)]
            jobs = expand([*shared, *method_words], multirun=True)[0]
            runs = [[word for word in job if word.startswith("method")] for job in jobs]
            rows = [CountRow(" ".join(run), run) for run in runs]
            yield _counts_table(config, rows, shared, UnsuitableBackbone, count)
        else:
            yield _counts_table(config, config.rows, [backbone, *other_words], BadInput, count)


def _counts_table(
    config: CountConfig, rows: Iterable[CountRow], words: Sequence[str], row_error: type[BadInput], count: Counting
) -> CountTable:
    """The table of one backbone; an error of type `row_error` becomes the text of its row."""
    from rich.console import Console
    from rich.progress import track

    run_config = compose(words)
    name, family = run_config["names"]["backbone"], run_config["backbone"].get("family")
    per_class = count.head(run_config["backbone"])
    rows = [row for row in rows if not row.families or family in row.families]
    lines: list[tuple[str, ...]] = []
    citations: dict[str, str] = {}
    console = Console(stderr=True)
    for row in track(rows, f"counting on {name}", console=console, transient=True, disable=not console.is_terminal):
        try:
            size = count_of_row(row, words, config.tasks, count)
        except row_error as error:
            lines.append((row.label, "", "", f"{UNDEFINED}{error}"))
            continue
        citations |= {figure.source: config.sources[figure.source] for figure in row.published.get(name, [])}
        lines += _row_lines(row, name, size, per_class, config.tasks)
    notes = [_head_note(per_class, config.tasks), *(f"{source}: {text}" for source, text in citations.items())]
    return CountTable(name, lines, "; ".join(notes) + ".")


def _row_lines(
    row: CountRow, backbone: str, size: int | Mapping[str, int], per_class: int, tasks: published_counts.Tasks
) -> list[tuple[str, ...]]:
    """The lines of a row: one for each published count and one for a note, or a line without either."""
    size_text = f"{size:,}" if isinstance(size, int) else f"mean {published_counts.mean_count(tasks, size, 'tasks'):,}"
    remarks: list[tuple[str, str]] = []
    for figure in row.published.get(backbone, []):
        _, arithmetic = published_counts.reconcile(figure, size, per_class, tasks)
        remarks.append((f"{figure.printed}, {figure.source}", arithmetic))
    if backbone in row.note:
        remarks.append(("", row.note[backbone]))
    first, *other_remarks = remarks or [("", "")]
    return [(row.label, size_text, *first), *(("", "", *remark) for remark in other_remarks)]


def _head_note(per_class: int, tasks: published_counts.Tasks) -> str:
    """What the counts leave out."""
    if not per_class:
        return "Trained parameters; the language-model head stays frozen"
    mean = published_counts.mean_head(tasks, per_class)
    return (
        f"Trained parameters without head, which has {per_class:,} for each class, "
        f"{mean:,} on average over the 19 tasks of VTAB-1k"
    )


def counts_markdown(table: CountTable) -> str:
    """A table and its notes as Markdown, under a heading."""
    return "\n".join([f"### {table.backbone}", "", *grid(COUNT_COLUMNS, table.lines, _LEFT), "", table.notes]) + "\n"


def show_counts(table: CountTable) -> None:
    """Print a table and its notes."""
    from rich.console import Console
    from rich.table import Table as Grid

    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    grid_table = Grid(title=f"trained parameters on {table.backbone}, head apart")
    for name in COUNT_COLUMNS:
        grid_table.add_column(name, justify="left" if name in _LEFT else "right")
    for line in table.lines:
        grid_table.add_row(*line)
    console.print(grid_table)
    console.print(table.notes, style="dim", soft_wrap=True)
