"""The tables of a report: those of `glorabench table` and `glorabench cost`, in the words that these have."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from glorabench import frontier, render, retention
from glorabench.layouts import layout_of
from glorabench.pareto import Standings
from glorabench.points import Point
from glorabench.record import Record
from glorabench.report.markup import as_csv, note
from glorabench.report.markup import table as sheet


def results(number: int, title: str, records: Sequence[Record]) -> str:
    """The wide table of a suite that has one, what it is held against, the long one, notes and findings."""
    parts, told = [], []
    if layout_of(records) is not None:
        whole, *against = render.parts(records, brief=True)
        parts += [sheet(f"table-{number}", title, whole.head, whole.body, render.csv(records)), note(whole.notes)]
        for i, part in enumerate(against, start=1):
            text = as_csv(part.head, part.body)
            parts += [sheet(f"published-{number}-{i}", f"{title}: {part.title}", part.head, part.body, text)]
            parts += map(note, [*part.told, part.notes])
        parts.append("<h3>Every task by itself</h3>")
        told = list(whole.told)
    (long,) = render.parts(records, long=True)
    text = render.csv(records, long=True)
    parts += [sheet(f"tasks-{number}", f"{title}: every task", long.head, long.body, text), note(long.notes)]
    told += long.told
    items = "".join(f"<li>{escape(line)}</li>" for line in told)
    said = f"What the comparisons say: {len(told)} findings"
    parts += [f'<details class="told"><summary>{said}</summary><ul>{items}</ul></details>'] if told else []
    return "\n".join(parts)


def forgetting(number: int, title: str, records: Sequence[Record]) -> str:
    """What each method learns and forgets against full fine-tuning; for records of which some say it."""
    part = retention.part(records)
    text = as_csv(part.head, part.body)
    return sheet(f"forgetting-{number}", f"{title}: forgetting", part.head, part.body, text) + note(part.notes)


def costs(number: int, title: str, records: Sequence[Record], made: Sequence[Point], standings: Standings) -> str:
    """What each configuration costs, how surely it is on the fronts, and the notes of both."""
    head, rows = frontier.head(), frontier.costs(made)
    parts = [sheet(f"costs-{number}", f"{title}: costs", head, rows, as_csv(head, rows))]
    if standings:
        head, rows = frontier.FRONTS, frontier.fronts(made, standings)
        parts.append(sheet(f"fronts-{number}", f"{title}: fronts", head, rows, as_csv(head, rows)))
    return "\n".join([*parts, *map(note, frontier.remarks(records))])
