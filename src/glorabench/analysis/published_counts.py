"""Read `conf/count.yaml`: rows, the counts that papers print, and the arithmetic from our counts to theirs.

Papers print two averages over VTAB-1k: over its 19 tasks, and over its three groups. Some counts include a linear head
for each task and some do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from omegaconf import OmegaConf

from glorabench.config.paths import conf_dir, options

Tasks = Mapping[str, Mapping[str, Mapping[str, int]]]  # group -> task -> {classes, what is chosen per task}
_MEAN_OF = {
    "tasks": "the 19 tasks",
    "groups": "the 3 group means",
    "rounded groups": "the 3 group means, each rounded to 0.001 M",
}


@dataclass(frozen=True)
class PublishedCount:
    """A number as printed, and what was counted.

    Args:
        printed: the number, such as `0.24 M` or `4,194,304`.
        source: who prints it.
        mean: what it averages over where a value is chosen per task: `tasks`, `groups` or `rounded groups`.
        head: True where it includes the mean head over the tasks.
        less: parameters that we count and the source does not, by name.
    """

    printed: str
    source: str
    mean: str | None = None
    head: bool = False
    less: Mapping[str, int] = field(default_factory=dict)

    def agrees(self, value: int) -> bool:
        """True where the number equals `value` to the digits that are printed."""
        number, _, unit = self.printed.partition(" ")
        if not unit:
            return int(number.replace(",", "")) == value
        return f"{value / 1e6:.{len(number.partition('.')[2])}f}" == number


@dataclass(frozen=True)
class CountRow:
    """A row of the table: overrides, and the published counts for them.

    Args:
        label: the name of the row.
        run: the overrides that it stands for.
        families: the families of backbones that have the row; empty for all.
        per_task: override -> the name of the value that is chosen per task.
        note: backbone -> a remark.
        published: backbone -> published counts.
    """

    label: str
    run: Sequence[str]
    families: Sequence[str] = ()
    per_task: Mapping[str, str] = field(default_factory=dict)
    note: Mapping[str, str] = field(default_factory=dict)
    published: Mapping[str, Sequence[PublishedCount]] = field(default_factory=dict)


@dataclass(frozen=True)
class CountConfig:
    """All rows, the backbones that have a table, the sources, and the tasks that the means are over."""

    backbones: Sequence[str]
    sources: Mapping[str, str]
    tasks: Tasks
    rows: Sequence[CountRow]


def load_count_config() -> CountConfig:
    """Load conf/count.yaml, and add a row for every method that it does not name."""
    node: Any = OmegaConf.to_container(OmegaConf.load(conf_dir() / "count.yaml"))
    rows = []
    for row in node["rows"]:
        figures = {}
        for backbone, entries in row.pop("published", {}).items():
            figures[backbone] = [PublishedCount(**entry) for entry in entries]
        rows.append(CountRow(published=figures, **row))
    row_words = {word for row in rows for word in row.run}
    rows += [CountRow(name, [f"method={name}"]) for name in options("method") if f"method={name}" not in row_words]
    return CountConfig(node["backbones"], node["sources"], node["tasks"], rows)


def mean_count(tasks: Tasks, values: Mapping[str, int], average: str) -> int:
    """The mean of the values, over tasks or over the means of groups of tasks, as a whole number."""
    if average == "tasks":
        return round(fmean(values.values()))
    means = [fmean(values[task] for task in group) for group in tasks.values()]
    return round(fmean(round(x, -3) if average == "rounded groups" else x for x in means))


def mean_head(tasks: Tasks, per_class: int) -> int:
    """Parameters of a linear head, averaged over the tasks."""
    classes = {task: facts["classes"] for group in tasks.values() for task, facts in group.items()}
    return round(per_class * fmean(classes.values()))


def reconcile(figure: PublishedCount, count: int | Mapping[str, int], per_class: int, tasks: Tasks) -> tuple[int, str]:
    """Compute what the source counts from what we count.

    Args:
        figure: the published count.
        count: our count; by task where it differs.
        per_class: parameters of a linear head for each class.
        tasks: the tasks that a mean is over.

    Returns:
        The number that the source should print, and the arithmetic in words.
    """
    if isinstance(count, int):
        value, arithmetic = count, f"{count:,}"
    else:
        assert figure.mean is not None, f"{figure.printed} ({figure.source}) is a mean over what?"
        value = mean_count(tasks, count, figure.mean)
        arithmetic = f"{value:,} (mean of {_MEAN_OF[figure.mean]})"
    start = arithmetic
    for label, number in figure.less.items():
        value, arithmetic = value - number, f"{arithmetic} - {number:,} ({label})"
    if figure.head:
        head = mean_head(tasks, per_class)
        value, arithmetic = value + head, f"{arithmetic} + {head:,} (mean head)"
    if arithmetic != start:
        arithmetic = f"{arithmetic} = {value:,}"
    if not figure.agrees(value):
        arithmetic = f"not explained: {arithmetic}"
    elif arithmetic == start and isinstance(count, int):
        arithmetic = "the same" if figure.printed in (arithmetic, f"{value} M") else "the same, rounded"
    return value, arithmetic
