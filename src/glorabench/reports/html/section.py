"""The section of one group of records: every part of the page that is about one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from glorabench.analysis import costs
from glorabench.analysis.cells import Group
from glorabench.analysis.costs import Point, Standings, points
from glorabench.analysis.pairs import MOST_COMPARED
from glorabench.analysis.suite_layouts import layout_of
from glorabench.analysis.tie_groups import Ranking, ranking
from glorabench.errors import BadInput
from glorabench.reports import captions
from glorabench.reports.answer import Answer, answer_of, rival_family
from glorabench.reports.figures import figures
from glorabench.reports.figures.figures import Figure
from glorabench.reports.figures.picture import SHAPES, mark_path
from glorabench.reports.figures.spots import MOST_SPOTS, pictures, spots_of
from glorabench.reports.html.markup import Download, HtmlTable, csv_text
from glorabench.reports.html.picture_data import picture_json
from glorabench.reports.html.ranking_rows import RankTable, rank_table
from glorabench.reports.html.search_part import curse_table, search_figures, searched_sides
from glorabench.reports.tables import costs as costs_table
from glorabench.reports.tables import forgetting as forgetting_table
from glorabench.reports.tables import suite as suite_table

_READ_TRADEOFFS = (
    "Filled: on the front, so no other method is as good and as cheap and better in one of them. Hollow: another one "
    "is. Cross: chosen on test."
)
_READ_FORGETTING = "To the right: learns more. Higher: forgets less. Crosses of lines are 95 % intervals over seeds."
_NO_FORGETTING = "No record of this table says what its trunk forgot of the upstream task."
_READ_BARS = "{}, with 95 % intervals over seeds; the order is that of the ranking. Outlined: chosen on test."


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

    @property
    def switch(self) -> str:
        """What the switch between figures calls it: the words behind `and`."""
        return self.title.rpartition(" and ")[2]


@dataclass(frozen=True)
class FirstPicture:
    """The picture of the first screen.

    Args:
        wide, narrow: as SVG, for a wide and for a narrow screen.
        legend: class, mark and text of each group of ties.
        data: the numbers of its points and pairs, as JSON.
        names: of the points that can be compared, with their places.
        note: what is not drawn; may be empty.
    """

    wide: str
    narrow: str
    legend: list[tuple[str, str, str]]
    data: str
    names: list[tuple[int, str]]
    note: str


@dataclass(frozen=True)
class Section:
    """The section of one group of records, its parts in the order of the page.

    Args:
        number, title: number and title of the section.
        answer: the question and its answer.
        picture: None where no configuration has a mean and a size.
        rank: the ranking; None likewise.
        bars_note, bars: a bar chart for each task.
        score: the label of the metric.
        costs_note, cost_figures, cost_remarks, cost_tables, cost_table_notes: the score against costs.
        forgetting_note, forgetting_figures, forgetting_tables: learning and forgetting.
        searches, curse: figures of searches, and the table of their winners with its note.
        suite_tables: the wide table of the suite, where it has one, and published figures; with their notes.
        tasks_table, tasks_note: a row for each task and method.
        findings: lines that state the comparisons.
    """

    number: int
    title: str
    answer: Answer
    picture: FirstPicture | None
    rank: RankTable | None
    bars_note: str
    bars: list[DrawnFigure]
    score: str
    costs_note: str
    cost_figures: list[DrawnFigure]
    cost_remarks: list[str]
    cost_tables: list[HtmlTable]
    cost_table_notes: list[str]
    forgetting_note: str
    forgetting_figures: list[DrawnFigure]
    forgetting_tables: list[tuple[HtmlTable, str]]
    searches: list[DrawnFigure]
    curse: list[HtmlTable]
    suite_tables: list[tuple[HtmlTable, list[str]]]
    tasks_table: HtmlTable
    tasks_note: str
    findings: list[str]


def make_section(number: int, group: Group) -> Section:
    """Compute and draw all parts of a section.

    Raises:
        BadInput: the records do not compare (see `cells.cells`).
    """
    title = captions.title_of(group.records, True)
    all_points = points(group)
    of_group = ranking(group, all_points)
    families = {point.method: rival_family(point) for point in all_points}
    answer = answer_of(all_points, of_group)
    score = _capitalise(captions.label_of(group.metric))
    forgetting = figures.forgetting_figure(all_points)
    try:
        standings, remarks = costs.standings(all_points), []
    except BadInput as error:
        standings, remarks = {}, [f"Nothing is said of fronts: {error}."]
    suite_tables, findings = _suite_tables(number, title, group)
    (tasks,) = suite_table.suite_parts([group], long=True)
    rows = suite_table.suite_csv([group], long=True)
    sides = searched_sides(all_points)
    return Section(
        number=number,
        title=title,
        answer=answer,
        picture=_picture(all_points, of_group, families, answer),
        rank=rank_table(all_points, of_group, families),
        bars_note=_READ_BARS.format(_capitalise(figures.scale_text(group))),
        bars=[DrawnFigure.from_figure(figure) for figure in figures.task_figures(group, all_points)],
        score=score,
        costs_note=_READ_TRADEOFFS,
        cost_figures=[DrawnFigure.from_figure(figure) for figure in figures.tradeoff_figures(all_points, standings)],
        cost_remarks=[*remarks, *figures.missing_figures(all_points)],
        cost_tables=_cost_tables(number, title, group, all_points, standings),
        cost_table_notes=costs_table.remarks(group),
        forgetting_note=_READ_FORGETTING if forgetting else _NO_FORGETTING,
        forgetting_figures=[DrawnFigure.from_figure(forgetting)] if forgetting else [],
        forgetting_tables=_forgetting_tables(number, title, group) if forgetting else [],
        searches=[DrawnFigure.from_figure(figure) for figure in search_figures(sides)],
        curse=[HtmlTable(f"curse-{number}", f"{title}: winners of searches", *curse_table(sides))] if sides else [],
        suite_tables=suite_tables,
        tasks_table=HtmlTable(f"tasks-{number}", f"{title}: every task", tasks.head, tasks.body, rows),
        tasks_note=tasks.notes,
        findings=[*findings, *tasks.findings],
    )


def _picture(
    all_points: Sequence[Point], of_group: Ranking, families: dict[str, str], answer: Answer
) -> FirstPicture | None:
    spots = spots_of(all_points, of_group, families)
    if not spots:
        return None
    legend = []
    for i, group in enumerate(of_group.groups[: len(SHAPES) + 1]):
        rest = len(group.members) - 1
        others = f" and {captions.count_text(rest, 'other')} not separated from it" if rest else ""
        is_last = i == len(SHAPES)
        legend.append((f"g{i}", mark_path(i, 8, 8), "further groups" if is_last else f"{group.best}{others}"))
    if any(spot.group is None for spot in spots):
        legend.append(("spoiled", mark_path(None, 8, 8), "chosen on test, not ranked"))
    places = answer.places or tuple(i for i, p in enumerate(all_points) if p.method in of_group.order[:2])
    names = [(i, point.method) for i, point in enumerate(all_points) if point.may_be_on_front]
    names = names if len(names) <= MOST_COMPARED else []
    note = f" The picture shows {len(spots)} of {len(all_points):,} methods." if len(spots) == MOST_SPOTS else ""
    drawn = pictures(spots, all_points, of_group)
    return FirstPicture(*drawn, legend, picture_json(all_points, places), names, note)


def _capitalise(text: str) -> str:
    return text[:1].upper() + text[1:]


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
