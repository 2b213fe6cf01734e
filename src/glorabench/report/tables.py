"""The tables of a report: those of `glorabench table` and `glorabench cost`, in the words that these have."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from glorabench import frontier, render, sheets, table, wide
from glorabench.layouts import layout_of
from glorabench.points import AXES, Point
from glorabench.record import Record
from glorabench.report.figures import Standings
from glorabench.report.markup import as_csv, note
from glorabench.report.markup import table as sheet


def results(number: int, title: str, records: Sequence[Record]) -> str:
    """The wide table of a suite that has one, the long one, notes and findings of records that compare."""
    layout, parts, told = layout_of(records), [], []
    if layout is not None:
        made = wide.lines(records, layout)
        head, rows = sheets.sheet(made, layout)
        parts += [sheet(f"table-{number}", title, head, rows, render.csv(records)), note(wide.notes(records, layout))]
        parts.append("<h3>Every task by itself</h3>")
        told = wide.gaps(made, layout)
    long = render.csv(records, long=True)
    parts += [sheet(f"tasks-{number}", f"{title}: every task", table.COLUMNS, table.rows(records), long)]
    parts += [note(table.notes(records))]
    told += table.findings(records)
    items = "".join(f"<li>{escape(line)}</li>" for line in told)
    said = f"What the comparisons say: {len(told)} findings"
    parts += [f'<details class="told"><summary>{said}</summary><ul>{items}</ul></details>'] if told else []
    return "\n".join(parts)


def costs(number: int, title: str, records: Sequence[Record], made: Sequence[Point], standings: Standings) -> str:
    """What each configuration costs, how surely it is on the fronts, and the notes of both."""
    head, rows = frontier.head(), frontier.costs(made)
    parts = [sheet(f"costs-{number}", f"{title}: costs", head, rows, as_csv(head, rows))]
    if standings:
        head = ("on the front of", *(axis.short for axis in AXES))
        places = [[standings[axis.name][i] for axis in AXES] for i in range(len(made))]
        rows = [
            (point.method, *("" if s is None else f"{s.probability:.2f}{'*' * s.on}" for s in found))
            for point, found in zip(made, places, strict=True)
        ]
        parts.append(sheet(f"fronts-{number}", f"{title}: fronts", head, rows, as_csv(head, rows)))
    return "\n".join([*parts, *map(note, frontier.remarks(records))])
