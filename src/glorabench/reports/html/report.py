"""Write the report: tables, figures and cards of records in one page; same records, same bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from urllib.parse import quote

from glorabench import __version__
from glorabench.analysis import costs
from glorabench.analysis.cells import Group, groups_of
from glorabench.analysis.costs import Point, Standings, points
from glorabench.analysis.suite_layouts import layout_of
from glorabench.errors import BadInput
from glorabench.records.record import Record
from glorabench.reports import captions
from glorabench.reports.figures import figures
from glorabench.reports.html.markup import as_csv, figure, note
from glorabench.reports.html.markup import table as sheet
from glorabench.reports.html.run_cards import embedded
from glorabench.reports.tables import costs as costs_table
from glorabench.reports.tables import forgetting as forgetting_table
from glorabench.reports.tables import suite as suite_table

LIMIT = 2_000_000  # bytes of a page with the cards of its runs
_HERE = files("glorabench.reports.html")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
_READ_TRADEOFFS = (
    "{}, mean over tasks, with its 95 % interval, against what a method costs (inference: what would be deployed, "
    "so 1 where all can be merged). Filled, in bold: on the front, no other method is as accurate and as cheap and "
    "better in one of them, by the means; hollow: another one is; cross: chosen on test, so on no front."
)
_READ_FORGETTING = (
    "Accuracy of the fine-tuned trunk, under the head that it was pretrained with, on its upstream task: what it still "
    "knows; up and to the right is better. 95 % intervals, Student's t over seeds, of means over tasks."
)
_NO_FORGETTING = "No record of this table says what its trunk forgot of the upstream task."
_READ_BARS = "{}, with 95 % intervals (Student's t over seeds); outlined: chosen on test."


def page(records: Iterable[Record]) -> str:
    """The whole file.

    Raises:
        BadInput: the records do not compare (see `cells.cells`).
    """
    return pages(records, "", math.inf)[0]


def pages(records: Iterable[Record], beside: str, limit: float = LIMIT) -> tuple[str, str | None]:
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
    titles = [captions.title_of(group.records, True) for group in groups]
    sections = [_section(i, title, group) for i, (title, group) in enumerate(zip(titles, groups, strict=True), start=1)]
    title, about = f"glorabench: {', '.join(by_suite)}", f"{len(ordered)} runs. {_origins(ordered)}"
    entries = [f'<li><a href="#g{i}">{escape(t)}</a></li>' for i, t in enumerate(titles, start=1)]
    here = '<li><a href="#runs">The runs, one by one</a></li>'
    data = f'<script type="application/json" id="data">{embedded(groups)}</script>\n'
    whole = _file(title, about, [*entries, here], "".join(sections) + _RUNS, data)
    if len(whole) <= limit and len(whole.encode()) <= limit:
        return whole, None
    link = f'<a href="{escape(quote(beside))}">The runs, one by one</a>'
    main = _file(title, about, [*entries, f"<li>{link}</li>"], "".join(sections), "")
    return main, _file(f"{title}: the runs", about, [here], _RUNS, data)


def _file(title: str, about: str, entries: Sequence[str], main: str, data: str) -> str:
    style, script = ((_HERE / f"report.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#main">Skip to the results</a>\n'
        f"<header><h1>{escape(title)}</h1><p>{about}</p>\n"
        f'<nav aria-label="Contents"><ul>{"".join(entries)}</ul></nav>\n'
        "</header>\n"
        f'<main id="main" tabindex="-1">\n{main}</main>\n'
        f"<footer><p>Written by glorabench {escape(__version__)} from records; the same records give the same page.</p>"
        f"</footer>\n{data}"
        f"<script>\n{script}</script>\n</body>\n</html>\n"
    )


_RUNS = """<section id="runs"><h2>The runs, one by one</h2>
<p class="tools"><label for="r-method">Method</label> <select id="r-method"><option value="">all</option></select>
<label for="r-task">Task</label> <select id="r-task"><option value="">all</option></select>
<label for="r-seed">Seed</label> <select id="r-seed"><option value="">all</option></select>
<span class="count" id="r-count" role="status"></span></p>
<noscript><p>The cards of the runs need JavaScript; tables and figures do not.</p></noscript>
<div id="cards"></div><p class="tools"><button type="button" id="r-more" hidden>Show more</button></p></section>
"""


def _section(number: int, title: str, group: Group) -> str:
    every = points(group)
    label = captions.label_of(group.metric)
    forgotten = figures.forgetting(every)
    parts = [
        *(f'<section id="g{number}"><h2>{escape(title)}</h2>', _results_html(number, title, group)),
        *(f"<h3>{escape(_capitalised(label))} and what it costs</h3>", _costs(number, title, group, every)),
        *("<h3>Learning and forgetting</h3>", note(_READ_FORGETTING if forgotten else _NO_FORGETTING)),
        _grid([figure(forgotten)] if forgotten else []),
        _forgetting_html(number, title, group) if forgotten else "",
        *(
            "<h3>Every task</h3>",
            note(_READ_BARS.format(_capitalised(figures.scale_text(group)))),
            _grid([figure(one) for one in figures.tasks(group, every)]),
            "</section>\n",
        ),
    ]
    return "\n".join(parts)


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _costs(number: int, title: str, group: Group, every: Sequence[Point]) -> str:
    try:
        standings, unknown = costs.standings(every), []
    except BadInput as error:
        standings, unknown = {}, [f"Nothing is said of fronts: {error}."]
    drawn = [
        _grid([figure(one) for one in figures.tradeoffs(every, standings)]),
        *map(note, [*unknown, *figures.gaps(every)]),
    ]
    read = _READ_TRADEOFFS.format(_capitalised(captions.label_of(group.metric)))
    return "\n".join([note(read), *drawn, _costs_html(number, title, group, every, standings)])


def _grid(drawn: Sequence[str]) -> str:
    return f'<div class="figures">{"".join(drawn)}</div>' if drawn else ""


def _origins(records: Iterable[Record]) -> str:
    """Devices, commits and versions of torch that the runs name."""
    provenances = [r.provenance for r in records]
    values = {
        "device": {str(p["device"]) for p in provenances if "device" in p},
        "commit": {p["git"]["sha"][:7] for p in provenances if (p.get("git") or {}).get("sha")},
        "torch": {str(p["versions"]["torch"]) for p in provenances if "torch" in p.get("versions", {})},
    }
    return escape(" ".join(f"{name}: {', '.join(sorted(of))}." for name, of in values.items() if of))


def _results_html(number: int, title: str, group: Group) -> str:
    """The wide table of a suite that has one, what it is held against, the long one, notes and findings."""
    parts, lines = [], []
    if layout_of(group.records) is not None:
        whole, *against = suite_table.parts([group], brief=True)
        parts += [sheet(f"table-{number}", title, whole.head, whole.body, suite_table.csv([group])), note(whole.notes)]
        for i, part in enumerate(against, start=1):
            text = as_csv(part.head, part.body)
            parts += [sheet(f"published-{number}-{i}", f"{title}: {part.title}", part.head, part.body, text)]
            parts += map(note, [*part.told, part.notes])
        parts.append("<h3>Every task by itself</h3>")
        lines = list(whole.told)
    (long,) = suite_table.parts([group], long=True)
    text = suite_table.csv([group], long=True)
    parts += [sheet(f"tasks-{number}", f"{title}: every task", long.head, long.body, text), note(long.notes)]
    lines += long.told
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    summary = f"What the comparisons say: {len(lines)} findings"
    parts += [f'<details class="told"><summary>{summary}</summary><ul>{items}</ul></details>'] if lines else []
    return "\n".join(parts)


def _forgetting_html(number: int, title: str, group: Group) -> str:
    """What each method learns and forgets against full fine-tuning; for records of which some say it."""
    part = forgetting_table.part(group)
    text = as_csv(part.head, part.body)
    return sheet(f"forgetting-{number}", f"{title}: forgetting", part.head, part.body, text) + note(part.notes)


def _costs_html(number: int, title: str, group: Group, every: Sequence[Point], standings: Standings) -> str:
    """What each configuration costs, how surely it is on the fronts, and the notes of both."""
    head, rows = costs_table.head(group), costs_table.costs(every)
    parts = [sheet(f"costs-{number}", f"{title}: costs", head, rows, as_csv(head, rows))]
    if standings:
        head, rows = costs_table.FRONTS, costs_table.fronts(every, standings)
        parts.append(sheet(f"fronts-{number}", f"{title}: fronts", head, rows, as_csv(head, rows)))
    return "\n".join([*parts, *map(note, costs_table.remarks(group))])
