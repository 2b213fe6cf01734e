"""Write the report: tables, figures and cards of records in one page; same records, same bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from glorabench import __version__
from glorabench.analysis import costs
from glorabench.analysis.cells import Group, groups_of
from glorabench.analysis.costs import Point, Standings, points
from glorabench.analysis.suite_layouts import layout_of
from glorabench.errors import BadInput
from glorabench.records.record import Record
from glorabench.reports import captions
from glorabench.reports.figures import figures
from glorabench.reports.figures.figures import Figure
from glorabench.reports.html.markup import Download, HtmlTable, csv_text
from glorabench.reports.html.run_cards import embedded
from glorabench.reports.tables import costs as costs_table
from glorabench.reports.tables import forgetting as forgetting_table
from glorabench.reports.tables import suite as suite_table

PAGE_LIMIT = 2_000_000  # bytes of a page with the cards of its runs
_READ_TRADEOFFS = (
    "{}, mean over tasks with its 95 % interval, against a cost. Filled, in bold: on the front, where no other method "
    "is as good and as cheap and better in one of them; hollow: another one is; cross: chosen on test."
)
_READ_FORGETTING = (
    "What is learned on the tasks, across, against what is left of the upstream task, up; 95 % intervals over seeds."
)
_NO_FORGETTING = "No record of this table says what its trunk forgot of the upstream task."
_READ_BARS = "{}, with 95 % intervals over seeds; outlined: chosen on test."


def report_page(records: Iterable[Record]) -> str:
    """The whole file.

    Raises:
        BadInput: the records do not compare (see `cells.cells`).
    """
    return report_pages(records, "", math.inf)[0]


def report_pages(records: Iterable[Record], beside: str, limit: float = PAGE_LIMIT) -> tuple[str, str | None]:
    """The page and, where it would be larger than `limit` bytes, a second one that has the cards of the runs.

    Args:
        records: of any suites.
        beside: what the second page will be called, as the first one links to it.
        limit: of the first one with the cards in it.

    Raises:
        BadInput: the records do not compare (see `cells.cells`).
    """
    ordered = sorted(records, key=lambda r: (r.names["data"], r.names["task"], r.names["method"], r.run_id))
    by_suite: dict[str, list[Record]] = {}
    for r in ordered:
        by_suite.setdefault(r.names["data"], []).append(r)
    groups = [group for of_suite in by_suite.values() for group in groups_of(of_suite)]
    sections = [_section(number, group) for number, group in enumerate(groups, start=1)]
    title, about = f"glorabench: {', '.join(by_suite)}", f"{len(ordered)} runs. {_origins(ordered)}"
    cards = embedded(groups)
    whole = _rendered(title=title, about=about, sections=sections, cards=cards, runs_address="#runs")
    if len(whole) <= limit and len(whole.encode()) <= limit:
        return whole, None
    first = _rendered(title=title, about=about, sections=sections, cards="", runs_address=quote(beside))
    return first, _rendered(title=f"{title}: the runs", about=about, sections=[], cards=cards, runs_address="#runs")


def _rendered(**values: Any) -> str:
    return _template().render(version=__version__, **_assets(), **values)


@cache
def _template() -> Any:
    loader = PackageLoader("glorabench", "reports/html")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    return environment.get_template("report.html.j2")


@cache
def _assets() -> dict[str, str]:
    folder = files("glorabench.reports.html")
    names = {"style": "report.css", "script": "report.js"}
    return {key: (folder / name).read_text(encoding="utf-8") for key, name in names.items()}


@dataclass(frozen=True)
class DrawnFigure:
    """A figure as the page shows it."""

    title: str
    image: str
    note: str
    csv: Download

    @classmethod
    def of(cls, figure: Figure) -> DrawnFigure:
        """With the numbers of a figure as its file."""
        return cls(figure.title, figure.image, figure.note, Download(csv_text(figure.head, figure.rows), figure.name))


@dataclass(frozen=True)
class Section:
    """What the page says of one table's records, in the order in which it stands there.

    Args:
        number, title: of the section.
        suite_tables: the wide table of a suite that has one and what it is held against, with their notes.
        tasks_table, tasks_note: a row for each task and method.
        findings: what the comparisons say.
        score: what the metric is called.
        costs_note, cost_figures, cost_remarks, cost_tables, cost_table_notes: the score against costs.
        forgetting_note, forgetting_figures, forgetting_tables: learning and forgetting.
        bars_note, bars: a figure for each task.
    """

    number: int
    title: str
    suite_tables: list[tuple[HtmlTable, list[str]]]
    tasks_table: HtmlTable
    tasks_note: str
    findings: list[str]
    score: str
    costs_note: str
    cost_figures: list[DrawnFigure]
    cost_remarks: list[str]
    cost_tables: list[HtmlTable]
    cost_table_notes: list[str]
    forgetting_note: str
    forgetting_figures: list[DrawnFigure]
    forgetting_tables: list[tuple[HtmlTable, str]]
    bars_note: str
    bars: list[DrawnFigure]


def _section(number: int, group: Group) -> Section:
    title = captions.title_of(group.records, True)
    every = points(group)
    score = _capitalised(captions.label_of(group.metric))
    forgotten = figures.forgetting(every)
    try:
        standings, unknown = costs.standings(every), []
    except BadInput as error:
        standings, unknown = {}, [f"Nothing is said of fronts: {error}."]
    suite_tables, findings = _suite_tables(number, title, group)
    (tasks,) = suite_table.parts([group], long=True)
    rows = suite_table.csv([group], long=True)
    return Section(
        number=number,
        title=title,
        suite_tables=suite_tables,
        tasks_table=HtmlTable(f"tasks-{number}", f"{title}: every task", tasks.head, tasks.body, rows),
        tasks_note=tasks.notes,
        findings=[*findings, *tasks.told],
        score=score,
        costs_note=_READ_TRADEOFFS.format(score),
        cost_figures=[DrawnFigure.of(figure) for figure in figures.tradeoffs(every, standings)],
        cost_remarks=[*unknown, *figures.gaps(every)],
        cost_tables=_cost_tables(number, title, group, every, standings),
        cost_table_notes=costs_table.remarks(group),
        forgetting_note=_READ_FORGETTING if forgotten else _NO_FORGETTING,
        forgetting_figures=[DrawnFigure.of(forgotten)] if forgotten else [],
        forgetting_tables=_forgetting_tables(number, title, group) if forgotten else [],
        bars_note=_READ_BARS.format(_capitalised(figures.scale_text(group))),
        bars=[DrawnFigure.of(figure) for figure in figures.tasks(group, every)],
    )


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _origins(records: Iterable[Record]) -> str:
    """Devices, commits and versions of torch that the runs name."""
    provenances = [r.provenance for r in records]
    values = {
        "device": {str(p["device"]) for p in provenances if "device" in p},
        "commit": {p["git"]["sha"][:7] for p in provenances if (p.get("git") or {}).get("sha")},
        "torch": {str(p["versions"]["torch"]) for p in provenances if "torch" in p.get("versions", {})},
    }
    return " ".join(f"{name}: {', '.join(sorted(of))}." for name, of in values.items() if of)


def _suite_tables(number: int, title: str, group: Group) -> tuple[list[tuple[HtmlTable, list[str]]], list[str]]:
    """The wide table of a suite that has one and what it is held against, each with its notes; and its findings."""
    if layout_of(group.records) is None:
        return [], []
    whole, *against = suite_table.parts([group], brief=True)
    tables = [(HtmlTable(f"table-{number}", title, whole.head, whole.body, suite_table.csv([group])), [whole.notes])]
    for i, part in enumerate(against, start=1):
        table = HtmlTable(f"published-{number}-{i}", f"{title}: {part.title}", part.head, part.body)
        tables.append((table, [*part.told, part.notes]))
    return tables, list(whole.told)


def _forgetting_tables(number: int, title: str, group: Group) -> list[tuple[HtmlTable, str]]:
    """What each method learns and forgets against full fine-tuning; for records of which some say it."""
    part = forgetting_table.part(group)
    return [(HtmlTable(f"forgetting-{number}", f"{title}: forgetting", part.head, part.body), part.notes)]


def _cost_tables(
    number: int, title: str, group: Group, every: Sequence[Point], standings: Standings
) -> list[HtmlTable]:
    """What each configuration costs, and how surely it is on the fronts."""
    tables = [HtmlTable(f"costs-{number}", f"{title}: costs", costs_table.head(group), costs_table.costs(every))]
    if standings:
        rows = costs_table.fronts(every, standings)
        tables.append(HtmlTable(f"fronts-{number}", f"{title}: fronts", costs_table.FRONTS, rows))
    return tables
