"""Write the report: tables, figures and cards of records in one page. The same records give the same bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from glorabench import __version__
from glorabench.analysis.cells import named_groups_of
from glorabench.records.record import Record
from glorabench.reports.captions import count_text
from glorabench.reports.claims import CURSE_NOTE
from glorabench.reports.html.run_cards import runs_json
from glorabench.reports.html.section import make_section

PAGE_LIMIT = 2_000_000  # bytes of a page with the cards of its runs
_NOTES = {
    "answer_notes": (
        "The sentence compares one configuration of GLoRA with one of LoRA: of the pairs whose parameters differ by "
        "less than a tenth the one with the most seeds, else the nearest pair in parameters. The difference is that of "
        "the means over tasks on the seeds that both have, and its interval is Student's t over these seeds; that of a "
        "single task counts seeds and test examples as random. Costs are those of training and search."
    ),
    "rank_notes": (
        "The first group holds the best mean and every method that a paired test does not separate from it: the test "
        "counts seeds and test examples as random, and its p values are corrected for their number (Holm); separated "
        "is p below 0.05. Each further group does the same with the methods that are left. Not separated does not mean "
        "equal: these runs cannot tell. Intervals of means are Student's t over seeds."
    ),
    "curse_notes": CURSE_NOTE,
}


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
    groups = [group for of_suite in by_suite.values() for group in named_groups_of(of_suite)]
    sections = [make_section(number, group) for number, group in enumerate(groups, start=1)]
    title, about = f"glorabench: {', '.join(by_suite)}", count_text(len(sorted_records), "run")
    origins = _origins(sorted_records)
    cards = runs_json(groups)
    texts = {"about": about, "origins": origins}
    whole = _render(title=title, sections=sections, cards=cards, runs_address="#runs", **texts)
    if len(whole) <= limit and len(whole.encode()) <= limit:
        return whole, None
    first = _render(title=title, sections=sections, cards="", runs_address=quote(runs_page), **texts)
    return first, _render(title=f"{title}: the runs", sections=[], cards=cards, runs_address="#runs", **texts)


def _render(**values: Any) -> str:
    return _template().render(version=__version__, **_NOTES, **_assets(), **values)


@cache
def _template() -> Any:
    loader = PackageLoader("glorabench", "reports/html")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    return environment.get_template("report.html.j2")


@cache
def _assets() -> dict[str, str]:
    folder = files("glorabench.reports.html")
    names = {"style": ("report.css", "answer.css"), "script": ("report.js", "picture.js")}
    return {key: "".join((folder / name).read_text(encoding="utf-8") for name in of) for key, of in names.items()}


def _origins(records: Iterable[Record]) -> str:
    """Devices, commits and versions of torch behind the runs."""
    provenances = [r.provenance for r in records]
    values = {
        "device": {str(p["device"]) for p in provenances if "device" in p},
        "commit": {p["git"]["sha"][:7] for p in provenances if (p.get("git") or {}).get("sha")},
        "torch": {str(p["versions"]["torch"]) for p in provenances if "torch" in p.get("versions", {})},
    }
    return " ".join(f"{name}: {', '.join(sorted(names))}." for name, names in values.items() if names)
