"""Pages of claims (conf/page/NAME.yaml) that records decide; the same records give the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from glorabench.analysis import statistics
from glorabench.analysis.comparison import Comparison, Seed, Side, check_pairs, compare_sides, select
from glorabench.config.paths import conf_dir, options
from glorabench.errors import BadInput, first_line, nearest, one_of
from glorabench.records.filters import conditions_text
from glorabench.records.metrics import Metric
from glorabench.records.record import Record
from glorabench.reports.captions import DETAILS, interval_text
from glorabench.reports.figures import search_curves
from glorabench.reports.rendering import grid
from glorabench.reports.tables.comparison import conclusion_of

_T = TypeVar("_T")
_FIELDS = {"title": str, "text": str, "comparisons": list, "curves": list, "curse": list}

_VERDICT = {1: "holds", -1: "does not hold", 0: "not decided"}
_OUTCOME = {1: "win", -1: "loss", 0: "not separated"}
_SUMMARY = ("claim", "verdict", "points", "95 % interval", "n", "wins / not separated / losses", "parameters", "FLOPs")
_SUMMARY_NOTE = (
    "points: the first configuration minus the second, mean over tasks, 95 % interval over n seeds. A claim holds "
    f"where the interval is on the side of the first, and does not hold where it is on the other. {DETAILS}"
)
_COST = ("configuration", "records", "runs", "parameters", "stage", "seconds", "TFLOP")
CURSE_COLUMNS = ("configuration", "images", "candidates", "first batch", "winner", "held out", "test", "too high by")
CURSE_NOTE = (
    "Mean over tasks and seeds. winner: on the images that chose it; held out: on images that chose nothing; too high "
    f"by: the difference; test: what is reported. {DETAILS}"
)


def page_spec(name: str) -> dict[str, Any]:
    """Load conf/page/NAME.yaml and check it.

    Raises:
        BadInput: there is no such page, or the file is not a valid page.
    """
    one_of("page", name, options("page"))
    path = conf_dir() / "page" / f"{name}.yaml"
    try:
        page = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except (OmegaConfBaseException, YAMLError) as error:
        raise BadInput(f"{path}: {first_line(error)}") from error
    page = {"curves": [], "curse": [], **_mapping(page, str(path), _FIELDS, ("title", "text", "comparisons"))}
    for key, kind in _FIELDS.items():
        if not isinstance(page[key], kind):
            raise BadInput(f"{path}: {key} is a {'text' if kind is str else 'list'}, got {page[key]!r}")
    for item in page["comparisons"]:
        _mapping(item, f"{path}: comparisons", ("claim", "first", "second", "note"), ("claim", "first", "second"))
    wheres: dict[str, Any] = {}
    for side in _descriptions(page):
        _mapping(side, f"{path}: '{side}'", ("label", "where"), ("label", "where"))
        if not isinstance(side["where"], dict):
            raise BadInput(f"{path}: where of '{side['label']}' is keys and values, got {side['where']!r}")
        if wheres.setdefault(side["label"], side["where"]) != side["where"]:
            raise BadInput(f"{path}: '{side['label']}' is two configurations: give one of them another label")
    return page


def render_page(page: Mapping[str, Any], records: Sequence[Record]) -> dict[str, str]:
    """Render the files of a page (see `page_spec`), by name.

    Raises:
        BadInput: configurations or runs are missing; the message names each of them.
    """
    wheres = {side["label"]: side["where"] for side in _descriptions(page)}
    all_sides = _make_all(lambda label: Side(label, select(records, wheres[label])), list(wheres))
    sides = {side.label: side for side in all_sides}

    def decide(item: Mapping[str, Any]) -> Claim:
        first, second = (sides[item[key]["label"]] for key in ("first", "second"))
        return Claim(item["claim"], item.get("note", ""), compare_sides(first, second))

    def search_side(item: Mapping[str, Any]) -> Side:
        side = sides[item["label"]]
        side.mean(side.score)  # refuses a side without results
        if any(r.search is None for r in side.runs.values()):
            raise BadInput(f"{side.label}: its records have no search, so neither curve nor winner")
        return side

    check_pairs((sides[i["first"]["label"]], sides[i["second"]["label"]]) for i in page["comparisons"])
    claims = _make_all(decide, page["comparisons"])
    curve_sides, curse_sides = (_make_all(search_side, page[key]) for key in ("curves", "curse"))
    parts = [[f"# {page['title']}", "", page["text"].strip()], summary_section(claims)]
    parts += [claim_section(number, claim) for number, claim in enumerate(claims, start=1)]
    parts.append(cost_section((side, conditions_text(wheres[label])) for label, side in sides.items()))
    page_files: dict[str, str] = {}
    if curse_sides:
        parts.append(curse_section(curse_sides))
    if curve_sides:
        points = search_curves.best_so_far(curve_sides)
        page_files = {"curves.svg": search_curves.curves_svg(points), "curves.csv": search_curves.curves_csv(points)}
        figure = "![Best score so far against candidates scored, a panel for each task](curves.svg)"
        read = "Mean over seeds, on the images that choose the winner; the numbers: [curves.csv](curves.csv)."
        parts.append(["## The searches", "", figure, "", read])
    return {**page_files, "README.md": "\n\n".join("\n".join(lines) for lines in parts) + "\n"}


def _descriptions(page: Mapping[str, Any]) -> list[Any]:
    """Every description of a configuration, in the order of the page."""
    comparison_sides = [item[key] for item in page["comparisons"] for key in ("first", "second")]
    return [*comparison_sides, *page["curves"], *page["curse"]]


def _mapping(node: Any, place: str, keys: Any, mandatory: Sequence[str]) -> dict[str, Any]:
    """Check that `node` is a mapping with these keys, and return it.

    Raises:
        BadInput: a key is unknown or missing; the message names it.
    """
    if not isinstance(node, dict):
        raise BadInput(f"{place}: expected {', '.join(mandatory)}, got {node!r}")
    for key in node:
        if key not in keys:
            raise BadInput(f"{place}: no key '{key}'{nearest(key, keys)}")
    for key in mandatory:
        if key not in node:
            raise BadInput(f"{place}: '{key}' is missing")
    return node


def _make_all(make: Callable[[Any], _T], items: Sequence[Any]) -> list[_T]:
    """Call `make` on every item, and report all errors at once."""
    results, messages = [], []
    for item in items:
        try:
            results.append(make(item))
        except BadInput as error:
            messages.append(f"{item}: {error}" if isinstance(item, str) else str(error))
    if messages:
        raise BadInput("this page lacks records: " + " | ".join(dict.fromkeys(messages)))
    return results


@dataclass(frozen=True)
class Claim:
    """The claim that the first side is ahead of the second, with the comparison that decides it."""

    claim: str
    note: str
    comparison: Comparison

    @property
    def verdict(self) -> str:
        """`holds`, `does not hold` or `not decided`."""
        return _VERDICT[self.comparison.sign]


def summary_section(claims: Sequence[Claim]) -> list[str]:
    """The table of all claims: verdict, difference and cost of each."""
    body = []
    for claim in claims:
        comparison = claim.comparison
        tally = " / ".join(map(str, comparison.tally))
        ratios = (_ratio(comparison.params_ratio), _ratio(comparison.flops_ratio))
        body.append((claim.claim, f"**{claim.verdict}**", *_difference_cells(comparison), tally, *ratios))
    return ["## What holds", "", *grid(_SUMMARY, body, ("claim", "verdict")), "", _SUMMARY_NOTE]


def _difference_cells(comparison: Comparison) -> tuple[str, str, str]:
    """The difference of the means, its interval and n; empty where there is no mean."""
    mean, metric = comparison.mean, comparison.metric
    if mean is None:
        return "", "", ""
    return metric.difference_text(mean.value), interval_text(mean, metric), str(mean.n)


def claim_section(number: int, claim: Claim) -> list[str]:
    """The section of one claim, with a row for each task."""
    comparison = claim.comparison
    conclusion = conclusion_of(comparison)
    columns = (
        "task",
        comparison.first.name,
        comparison.second.name,
        comparison.metric.points,
        "95 % interval",
        "n",
        "outcome",
    )
    body: list[tuple[str, ...]] = []
    for row in comparison.tasks:
        difference, scores = row.difference, (row.metric.text(row.first), row.metric.text(row.second))
        gap = (row.metric.difference_text(difference.value), interval_text(difference, row.metric), str(difference.n))
        body.append((row.task, *scores, *gap, _OUTCOME[row.sign]))
    means = ["", ""]
    if comparison.mean is not None:
        means = [comparison.metric.text(side.mean(side.score).value) for side in (comparison.first, comparison.second)]
    body.append((f"mean of {len(comparison.tasks)}", *means, *_difference_cells(comparison), ""))
    note = [claim.note, ""] if claim.note else []
    head = [f"## {number}. {claim.claim}", "", f"{conclusion[0].upper()}{conclusion[1:]}.", "", *note]
    return [*head, *grid(columns, body, ("task", "outcome"))]


def cost_section(sides: Iterable[tuple[Side, str]]) -> list[str]:
    """Seconds and FLOPs of each stage of every side; each side comes with the conditions of its records."""
    body: list[tuple[str, ...]] = []
    for side, conditions in sides:
        columns = (side.name, f"`{conditions}`", str(len(side.runs)), f"{side.params:,.0f}")
        stages = dict(side.stages)
        if len(stages) > 1:
            stages["together"] = {key: sum(stage[key] for stage in stages.values()) for key in ("seconds", "flops")}
        stage_texts = [(n, f"{s['seconds']:,.1f}", f"{s['flops'] / 1e12:,.3f}") for n, s in stages.items()]
        for index, stage in enumerate(stage_texts or [("not recorded", "", "")]):
            body.append((*(columns if index == 0 else ("", "", "", "")), *stage))
    read = "Mean over runs. Seconds are of the machines that the records name, perhaps beside other work."
    return ["## Cost", "", *grid(_COST, body, ("configuration", "records", "stage")), "", read]


def curse_section(sides: Iterable[Side]) -> list[str]:
    """The score of search winners on the images that chose them, on held-out images, and on test."""
    return ["## The winner's curse", "", *grid(CURSE_COLUMNS, curse_rows(sides), ("configuration",)), "", CURSE_NOTE]


def curse_rows(sides: Iterable[Side]) -> list[tuple[str, ...]]:
    """The rows of the table of search winners, as text; every run of the sides has a search."""
    body = []
    for side in sides:
        metric = next(iter(side.runs.values())).metric
        score = metric.text(side.mean(side.score).value)
        first, winner = (metric.text(_search_mean(side, key).value) for key in ("first", "score"))
        searches = [r.search or {} for r in side.runs.values()]
        candidates = f"{fmean(search['evaluated'] for search in searches):,.0f}"
        held_out, gap = "", ""
        if all(search["held_out"] is not None for search in searches):
            held_out = metric.text(_search_mean(side, "held_out").value)
            gap = _excess(_search_mean(side, "score", "held_out"), metric)
        images = " / ".join(_values(search[key] for search in searches) for key in ("n", "n_held_out"))
        body.append((side.name, images, candidates, first, winner, held_out, score, gap))
    return body


def _excess(difference: statistics.Estimate, metric: Metric) -> str:
    return f"{metric.difference_text(difference.value)} ({interval_text(difference, metric) or 'one seed'})"


def _search_mean(side: Side, key: str, minus: str | None = None) -> statistics.Estimate:
    """The mean of a number that each search reports, or of the difference of two numbers."""

    def value(task: str, seed: Seed) -> float:
        search = side.runs[task, seed].search or {}
        return search[key] - (search[minus] if minus else 0)

    return side.mean(value)


def _values(values: Iterable[Any]) -> str:
    return ", ".join(map(str, sorted(set(values))))


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
