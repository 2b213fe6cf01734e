"""Write the report: tables, figures and cards of records in one page. The same records give the same bytes."""

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
from glorabench.reports.html.run_cards import runs_json
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
    """Render the report with all its cards as one page.

    Raises:
        BadInput: the records do not compare (see `cells.cells`).
    """
    return report_pages(records, "", math.inf)[0]


def report_pages(records: Iterable[Record], runs_page: str, limit: float = PAGE_LIMIT) -> tuple[str, str | None]:
    """Render the report; where it is larger than `limit` bytes, the cards of runs move to a second page.

    Args:
        records: records of any suites.
        runs_page: the name of the second page; the first page links to it.
        limit: the largest size of a page with cards, in bytes.

    Returns:
        The page, and the second page or None.

    Raises:
        BadInput: the records do not compare (see `cells.cells`).
    """
    sorted_records = sorted(records, key=lambda r: (r.names["data"], r.names["task"], r.names["method"], r.run_id))
    by_suite: dict[str, list[Record]] = {}
    for r in sorted_records:
        by_suite.setdefault(r.names["data"], []).append(r)
    groups = [group for of_suite in by_suite.values() for group in groups_of(of_suite)]
    sections = [_section(number, group) for number, group in enumerate(groups, start=1)]
    title, about = f"glorabench: {', '.join(by_suite)}", f"{len(sorted_records)} runs. {_origins(sorted_records)}"
    cards = runs_json(groups)
    whole = _render(title=title, about=about, sections=sections, cards=cards, runs_address="#runs")
    if len(whole) <= limit and len(whole.encode()) <= limit:
        return whole, None
    first = _render(title=title, about=about, sections=sections, cards="", runs_address=quote(runs_page))
    return first, _render(title=f"{title}: the runs", about=about, sections=[], cards=cards, runs_address="#runs")


def _render(**values: Any) -> str:
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
    """A figure of the page."""

    title: str
    image: str
    note: str
    csv: Download

    @classmethod
    def from_figure(cls, figure: Figure) -> DrawnFigure:
        """Take a figure, with its numbers as the file."""
        return cls(figure.title, figure.image, figure.note, Download(csv_text(figure.head, figure.rows), figure.name))


@dataclass(frozen=True)
class Section:
    """The section of one group of records, its parts in the order of the page.

    Args:
        number, title: number and title of the section.
        suite_tables: the wide table of the suite, where it has one, and published figures; with their notes.
        tasks_table, tasks_note: a row for each task and method.
        findings: lines that state the comparisons.
        score: the label of the metric.
        costs_note, cost_figures, cost_remarks, cost_tables, cost_table_notes: the score against costs.
        forgetting_note, forgetting_figures, forgetting_tables: learning and forgetting.
        bars_note, bars: a bar chart for each task.
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
    all_points = points(group)
    score = _capitalise(captions.label_of(group.metric))
    forgetting = figures.forgetting_figure(all_points)
    try:
        standings, remarks = costs.standings(all_points), []
    except BadInput as error:
        standings, remarks = {}, [f"Nothing is said of fronts: {error}."]
    suite_tables, findings = _suite_tables(number, title, group)
    (tasks,) = suite_table.suite_parts([group], long=True)
    rows = suite_table.suite_csv([group], long=True)
    return Section(
        number=number,
        title=title,
        suite_tables=suite_tables,
        tasks_table=HtmlTable(f"tasks-{number}", f"{title}: every task", tasks.head, tasks.body, rows),
        tasks_note=tasks.notes,
        findings=[*findings, *tasks.findings],
        score=score,
        costs_note=_READ_TRADEOFFS.format(score),
        cost_figures=[DrawnFigure.from_figure(figure) for figure in figures.tradeoff_figures(all_points, standings)],
        cost_remarks=[*remarks, *figures.missing_figures(all_points)],
        cost_tables=_cost_tables(number, title, group, all_points, standings),
        cost_table_notes=costs_table.remarks(group),
        forgetting_note=_READ_FORGETTING if forgetting else _NO_FORGETTING,
        forgetting_figures=[DrawnFigure.from_figure(forgetting)] if forgetting else [],
        forgetting_tables=_forgetting_tables(number, title, group) if forgetting else [],
        bars_note=_READ_BARS.format(_capitalise(figures.scale_text(group))),
        bars=[DrawnFigure.from_figure(figure) for figure in figures.task_figures(group, all_points)],
    )


def _capitalise(text: str) -> str:
    return text[:1].upper() + text[1:]


def _origins(records: Iterable[Record]) -> str:
    """Devices, commits and versions of torch behind the runs."""
    provenances = [r.provenance for r in records]
    values = {
        "device": {str(p["device"]) for p in provenances if "device" in p},
        "commit": {p["git"]["sha"][:7] for p in provenances if (p.get("git") or {}).get("sha")},
        "torch": {str(p["versions"]["torch"]) for p in provenances if "torch" in p.get("versions", {})},
    }
    return " ".join(f"{name}: {', '.join(sorted(names))}." for name, names in values.items() if names)


def _suite_tables(number: int, title: str, group: Group) -> tuple[list[tuple[HtmlTable, list[str]]], list[str]]:
    """The wide table of the suite, where it has one, and published figures, with notes; and the findings."""
    if layout_of(group.records) is None:
        return [], []
    whole, *against = suite_table.suite_parts([group], brief=True)
    tables = [
        (HtmlTable(f"table-{number}", title, whole.head, whole.body, suite_table.suite_csv([group])), [whole.notes])
    ]
    for i, part in enumerate(against, start=1):
        table = HtmlTable(f"published-{number}-{i}", f"{title}: {part.title}", part.head, part.body)
        tables.append((table, [*part.findings, part.notes]))
    return tables, list(whole.findings)


def _forgetting_tables(number: int, title: str, group: Group) -> list[tuple[HtmlTable, str]]:
    """The table of what each method learns and forgets; some records must have measured it."""
    part = forgetting_table.forgetting_part(group)
    return [(HtmlTable(f"forgetting-{number}", f"{title}: forgetting", part.head, part.body), part.notes)]


def _cost_tables(
    number: int, title: str, group: Group, all_points: Sequence[Point], standings: Standings
) -> list[HtmlTable]:
    """The tables of costs, and of the probability that each configuration is on a front."""
    columns, cost_rows = costs_table.cost_columns(group), costs_table.cost_rows(all_points)
    tables = [HtmlTable(f"costs-{number}", f"{title}: costs", columns, cost_rows)]
    if standings:
        rows = costs_table.front_rows(all_points, standings)
        tables.append(HtmlTable(f"fronts-{number}", f"{title}: fronts", costs_table.FRONTS, rows))
    return tables
