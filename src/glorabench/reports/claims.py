"""Pages of claims of conf/page/NAME.yaml, decided by records; the same records give the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from glorabench.analysis import statistics
from glorabench.analysis.comparison import Comparison, Seed, Side, check_pairs, compare, select
from glorabench.config.paths import conf_dir, options
from glorabench.errors import BadInput, first_line, nearest, one_of
from glorabench.records.filters import told
from glorabench.records.metrics import Metric
from glorabench.records.record import Record
from glorabench.reports.captions import DETAILS, interval_text
from glorabench.reports.figures import search_curves
from glorabench.reports.rendering import grid
from glorabench.reports.tables.comparison import conclusion_of

_T = TypeVar("_T")
_FIELDS = {"title": str, "text": str, "comparisons": list, "curves": list, "curse": list}

_VERDICT = {1: "holds", -1: "does not hold", 0: "not decided"}
_OUTCOME = {1: "win", -1: "loss", 0: "tie"}
_SUMMARY = ("claim", "verdict", "points", "95 % interval", "n", "wins / ties / losses", "parameters", "FLOPs")
_READ = (
    "points: the first configuration minus the second, mean over tasks, 95 % interval over n seeds. A claim holds "
    f"where the interval is on the side of the first, and does not hold where it is on the other. {DETAILS}"
)
_COST = ("configuration", "records", "runs", "parameters", "stage", "seconds", "TFLOP")
_CURSE = ("configuration", "images", "candidates", "first batch", "winner", "held out", "test", "too high by")
_CURSE_READ = (
    "Mean over tasks and seeds. winner: on the images that chose it; held out: on images that chose nothing; too high "
    f"by: the difference; test: what is reported. {DETAILS}"
)


def spec(name: str) -> dict[str, Any]:
    """What conf/page/NAME.yaml says, checked.

    Raises:
        BadInput: there is no such page, or it is not made as a page is.
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
    for side in _described(page):
        _mapping(side, f"{path}: '{side}'", ("label", "where"), ("label", "where"))
        if not isinstance(side["where"], dict):
            raise BadInput(f"{path}: where of '{side['label']}' is keys and values, got {side['where']!r}")
        if wheres.setdefault(side["label"], side["where"]) != side["where"]:
            raise BadInput(f"{path}: '{side['label']}' is two configurations: give one of them another label")
    return page


def rendered(page: Mapping[str, Any], records: Sequence[Record]) -> dict[str, str]:
    """The files of a page (see `spec`) by name.

    Raises:
        BadInput: naming every configuration and run that is missing.
    """
    wheres = {side["label"]: side["where"] for side in _described(page)}
    chosen = _all(lambda label: Side(label, select(records, wheres[label])), list(wheres))
    sides = {side.label: side for side in chosen}

    def claim(item: Mapping[str, Any]) -> Claim:
        first, second = (sides[item[which]["label"]] for which in ("first", "second"))
        return Claim(item["claim"], item.get("note", ""), compare(first, second))

    def searched(item: Mapping[str, Any]) -> Side:
        side = sides[item["label"]]
        side.mean(side.score)  # refuses a side without results
        if any(r.search is None for r in side.runs.values()):
            raise BadInput(f"{side.label}: its records have no search, so neither curve nor winner")
        return side

    check_pairs((sides[i["first"]["label"]], sides[i["second"]["label"]]) for i in page["comparisons"])
    claims = _all(claim, page["comparisons"])
    drawn, cursed = (_all(searched, page[key]) for key in ("curves", "curse"))
    parts = [[f"# {page['title']}", "", page["text"].strip()], summary(claims)]
    parts += [detail(number, one) for number, one in enumerate(claims, start=1)]
    parts.append(costs((side, told(wheres[label])) for label, side in sides.items()))
    files: dict[str, str] = {}
    if cursed:
        parts.append(curse(cursed))
    if drawn:
        points = search_curves.best_so_far(drawn)
        files = {"curves.svg": search_curves.as_svg(points), "curves.csv": search_curves.as_csv(points)}
        figure = "![Best score so far against candidates scored, a panel for each task](curves.svg)"
        read = "Mean over seeds, on the images that choose the winner; the numbers: [curves.csv](curves.csv)."
        parts.append(["## The searches", "", figure, "", read])
    return {**files, "README.md": "\n\n".join("\n".join(lines) for lines in parts) + "\n"}


def _described(page: Mapping[str, Any]) -> list[Any]:
    """Every description of a configuration, in the order of the page."""
    compared = [item[which] for item in page["comparisons"] for which in ("first", "second")]
    return [*compared, *page["curves"], *page["curse"]]


def _mapping(node: Any, where: str, known: Any, needed: Sequence[str]) -> dict[str, Any]:
    """`node`, a mapping with these keys.

    Raises:
        BadInput: a key that is not known or not there, naming it.
    """
    if not isinstance(node, dict):
        raise BadInput(f"{where}: expected {', '.join(needed)}, got {node!r}")
    for key in node:
        if key not in known:
            raise BadInput(f"{where}: no key '{key}'{nearest(key, known)}")
    for key in needed:
        if key not in node:
            raise BadInput(f"{where}: '{key}' is missing")
    return node


def _all(make: Callable[[Any], _T], items: Sequence[Any]) -> list[_T]:
    """`make` of every item; what is wrong with any of them is said at once."""
    made, wrong = [], []
    for item in items:
        try:
            made.append(make(item))
        except BadInput as error:
            wrong.append(f"{item}: {error}" if isinstance(item, str) else str(error))
    if wrong:
        raise BadInput("this page lacks records: " + " | ".join(dict.fromkeys(wrong)))
    return made


@dataclass(frozen=True)
class Claim:
    """A claim, that the first side is ahead of the second, and what the records say of it."""

    claim: str
    note: str
    comparison: Comparison

    @property
    def verdict(self) -> str:
        """`holds`, `does not hold` or `not decided`."""
        return _VERDICT[self.comparison.sign]


def summary(claims: Sequence[Claim]) -> list[str]:
    """Every claim with its verdict, the difference and its price."""
    body = []
    for claim in claims:
        c = claim.comparison
        ratios = (_ratio(c.params_ratio), _ratio(c.flops_ratio))
        body.append((claim.claim, f"**{claim.verdict}**", *_gap(c), " / ".join(map(str, c.tally)), *ratios))
    return ["## What holds", "", *grid(_SUMMARY, body, ("claim", "verdict")), "", _READ]


def _gap(c: Comparison) -> tuple[str, str, str]:
    """The difference of the means, its interval and n; empty where there is no mean."""
    if c.mean is None:
        return "", "", ""
    return c.metric.difference_text(c.mean.value), interval_text(c.mean, c.metric), str(c.mean.n)


def detail(number: int, claim: Claim) -> list[str]:
    """One claim, task by task."""
    c = claim.comparison
    conclusion = conclusion_of(c)
    columns = ("task", c.first.name, c.second.name, c.metric.points, "95 % interval", "n", "outcome")
    body: list[tuple[str, ...]] = []
    for on in c.tasks:
        d, scores = on.difference, (on.metric.text(on.first), on.metric.text(on.second))
        gap = (on.metric.difference_text(d.value), interval_text(d, on.metric), str(d.n))
        body.append((on.task, *scores, *gap, _OUTCOME[on.sign]))
    means = ["", ""]
    if c.mean is not None:
        means = [c.metric.text(side.mean(side.score).value) for side in (c.first, c.second)]
    body.append((f"mean of {len(c.tasks)}", *means, *_gap(c), ""))
    note = [claim.note, ""] if claim.note else []
    head = [f"## {number}. {claim.claim}", "", f"{conclusion[0].upper()}{conclusion[1:]}.", "", *note]
    return [*head, *grid(columns, body, ("task", "outcome"))]


def costs(sides: Iterable[tuple[Side, str]]) -> list[str]:
    """Seconds and FLOPs of each stage of every side; with each side goes what chose its records."""
    body: list[tuple[str, ...]] = []
    for side, chosen in sides:
        who = (side.name, f"`{chosen}`", str(len(side.runs)), f"{side.params:,.0f}")
        stages = dict(side.stages)
        if len(stages) > 1:
            stages["together"] = {k: sum(stage[k] for stage in stages.values()) for k in ("seconds", "flops")}
        spent = [(n, f"{s['seconds']:,.1f}", f"{s['flops'] / 1e12:,.3f}") for n, s in stages.items()]
        for index, stage in enumerate(spent or [("not recorded", "", "")]):
            body.append((*(who if index == 0 else ("", "", "", "")), *stage))
    read = "Mean over runs. Seconds are of the machines that the records name, perhaps beside other work."
    return ["## Cost", "", *grid(_COST, body, ("configuration", "records", "stage")), "", read]


def curse(sides: Iterable[Side]) -> list[str]:
    """What choosing the best of many candidates is worth where they were chosen, apart from there, and on test."""
    body = []
    for side in sides:
        metric = next(iter(side.runs.values())).metric
        score = metric.text(side.mean(side.score).value)
        first, winner = (metric.text(_of_search(side, key).value) for key in ("first", "score"))
        searches = [r.search or {} for r in side.runs.values()]
        evaluated = f"{fmean(search['evaluated'] for search in searches):,.0f}"
        held_out, gap = "", ""
        if all(search["held_out"] is not None for search in searches):
            held_out = metric.text(_of_search(side, "held_out").value)
            gap = _excess(_of_search(side, "score", "held_out"), metric)
        images = " / ".join(_values(search[key] for search in searches) for key in ("n", "n_held_out"))
        body.append((side.name, images, evaluated, first, winner, held_out, score, gap))
    return ["## The winner's curse", "", *grid(_CURSE, body, ("configuration",)), "", _CURSE_READ]


def _excess(difference: statistics.Estimate, metric: Metric) -> str:
    return f"{metric.difference_text(difference.value)} ({interval_text(difference, metric) or 'one seed'})"


def _of_search(side: Side, key: str, minus: str | None = None) -> statistics.Estimate:
    """Mean of a number of the searches, or of the difference of two."""

    def value(task: str, seed: Seed) -> float:
        search = side.runs[task, seed].search or {}
        return search[key] - (search[minus] if minus else 0)

    return side.mean(value)


def _values(values: Iterable[Any]) -> str:
    return ", ".join(map(str, sorted(set(values))))


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
