"""The first screen of a section: the question, the answer in a sentence with its interval, and the best in short."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

from glorabench.analysis.comparison import Comparison
from glorabench.analysis.costs import Point, deployment_latency
from glorabench.analysis.pairs import compare_points
from glorabench.analysis.tie_groups import Ranking
from glorabench.reports.captions import count_text, estimate_text, interval_text
from glorabench.reports.tables.verdict_words import sentence_of

_RIVALS = ("lora", "glora")
_NEAR = 1.1  # parameters within this factor count as about equal
_MOST_PAIRS = 100  # those that are nearest in parameters
_STEPS = (1, 2, 5)


@dataclass(frozen=True)
class PairRow:
    """One comparison of GLoRA with LoRA.

    Args:
        first, second: the places of both among the points, GLoRA first.
        comparison: of both, None where it is not possible.
        ratio: the parameters of the first, divided by those of the second.
    """

    first: int
    second: int
    comparison: Comparison
    ratio: float


@dataclass(frozen=True)
class Tile:
    """One short answer: a question, a configuration, and its numbers."""

    title: str
    name: str
    text: str


@dataclass(frozen=True)
class Answer:
    """What the first screen says.

    Args:
        question: in one line.
        sentence: the answer, with its interval.
        more: what it costs, and what is best of all.
        tiles: the best of all, the best with few parameters, the best that adds no inference time.
        pairs: head and rows of all comparisons of GLoRA with LoRA, as text.
        places: the two points that the sentence compares; empty where it compares none.
    """

    question: str
    sentence: str
    more: tuple[str, ...]
    tiles: tuple[Tile, ...]
    pairs: tuple[tuple[str, ...], ...]
    places: tuple[int, ...]


def rival_family(point: Point) -> str:
    """`lora` or `glora` for a configuration of these methods; else an empty text."""
    method = str(point.records[0].names["method"]) if point.records else ""
    return method if method in _RIVALS else ""


def answer_of(points: Sequence[Point], ranking: Ranking) -> Answer:
    """The answer that the records of one table give.

    Args:
        points: the configurations of the table.
        ranking: their order and groups.
    """
    best_lines, tiles = _best_lines(points, ranking), _tiles(points, ranking)
    rows = pair_rows(points)
    if not rows:
        question = "Which method learns these tasks best, and with how many parameters?"
        return Answer(
            question, best_lines[0] if best_lines else "There is no result on all tasks yet.", (), tiles, (), ()
        )
    row = _fairest(rows)
    texts = tuple(_pair_text(each, points) for each in sorted(rows, key=lambda each: abs(math.log(each.ratio))))
    head = (
        "GLoRA",
        "LoRA",
        f"difference, {row.comparison.metric.points}",
        "95 % interval",
        "seeds",
        "parameters",
        "FLOPs",
    )
    return Answer(
        "Is GLoRA better than LoRA?",
        _pair_sentence(row, points),
        (_cost_sentence(row, points), *best_lines),
        tiles,
        (head, *texts),
        (row.first, row.second),
    )


def pair_rows(points: Sequence[Point]) -> list[PairRow]:
    """Every configuration of GLoRA against every one of LoRA that has parameters and seeds in common with it."""
    places: dict[str, list[int]] = {family: [] for family in _RIVALS}
    for i, point in enumerate(points):
        if point.may_be_on_front and rival_family(point):
            places[rival_family(point)].append(i)
    sizes = [_params(point) if point.may_be_on_front else 0.0 for point in points]
    pairs = [(i, j) for i, j in product(places["glora"], places["lora"]) if sizes[i] and sizes[j]]
    pairs.sort(key=lambda pair: abs(math.log(sizes[pair[0]] / sizes[pair[1]])))
    rows = []
    for i, j in pairs[:_MOST_PAIRS]:
        comparison = compare_points(points[i], points[j])
        if comparison is not None and comparison.mean is not None and comparison.params_ratio:
            rows.append(PairRow(i, j, comparison, comparison.params_ratio))
    return rows


def _fairest(rows: Sequence[PairRow]) -> PairRow:
    """Of the pairs with about as many parameters the one with the most seeds; else the nearest in parameters."""
    near = [row for row in rows if abs(math.log(row.ratio)) <= math.log(_NEAR)]
    if not near:
        return min(rows, key=lambda row: abs(math.log(row.ratio)))
    return max(near, key=lambda row: (_seeds(row), -abs(math.log(row.ratio))))


def _seeds(row: PairRow) -> int:
    return row.comparison.mean.n if row.comparison.mean else 0


def _pair_sentence(row: PairRow, points: Sequence[Point]) -> str:
    first, second = (_in_sentence(points[i].method) for i in (row.first, row.second))
    word = {1: "Yes", -1: "No", 0: "Not shown"}[row.comparison.sign]
    close = abs(math.log(row.ratio)) <= math.log(_NEAR)
    place = "with about as many parameters" if close else f"with {row.ratio:.2g} times the parameters"
    return f"{word}: {place}, {sentence_of(row.comparison, first, second)}."


def _in_sentence(name: str) -> str:
    """`LoRA (all layers, r = 3)` for `LoRA, all layers, r = 3`: commas of a name would cut a sentence."""
    first, comma, rest = name.partition(", ")
    return f"{first} ({rest})" if comma and "[" not in rest else name


def _cost_sentence(row: PairRow, points: Sequence[Point]) -> str:
    """Parameters, FLOPs and seconds of the first side against the second."""
    sizes = [f"{side.params:,.0f}" for side in (row.comparison.first, row.comparison.second)]
    texts = [f"{row.ratio:.2f} times the parameters ({sizes[0]} against {sizes[1]})"]
    if row.comparison.flops_ratio:
        texts.append(f"{row.comparison.flops_ratio:.2f} times the FLOPs of training")
    first, second = (points[i].costs(partial(deployment_latency, batch=64)) for i in (row.first, row.second))
    if first is not None and second is not None:
        both_merge = float(first.mean()) == float(second.mean()) == 1.0
        ratio = f"{first.mean() / second.mean():.2f} times the inference time"
        texts.append("and no inference time, as both merge" if both_merge else ratio)
    return f"GLoRA costs {', '.join(texts)}."


def _pair_text(row: PairRow, points: Sequence[Point]) -> tuple[str, ...]:
    comparison = row.comparison
    assert comparison.mean is not None, "pair_rows leaves out pairs without a mean"
    flops = comparison.flops_ratio
    return (
        *(points[i].method for i in (row.first, row.second)),
        comparison.metric.difference_text(comparison.mean.value),
        interval_text(comparison.mean, comparison.metric),
        str(comparison.mean.n),
        f"{row.ratio:.2f} x",
        f"{flops:.2f} x" if flops else "",
    )


def _best_lines(points: Sequence[Point], ranking: Ranking) -> list[str]:
    """The best of all, and how many are not separated from it."""
    if not ranking.groups:
        return []
    point = {p.method: p for p in points}[ranking.groups[0].best]
    count = len(ranking.order)
    kinds = [verdict.kind for method, verdict in ranking.verdicts.items() if method != point.method]
    words = {"best": "with the same mean", "tied": "not separated from it", "untested": "not tested against it"}
    texts = [f"{count_text(kinds.count(kind), 'other')} {text}" for kind, text in words.items() if kind in kinds]
    others = ", ".join(texts) or ("every other one is behind" if count > 1 else "nothing to compare it with")
    return [f"Best of all {count}: {_in_sentence(point.method)}, {_score_text(point)}; {others}."]


def _score_text(point: Point) -> str:
    value, interval = estimate_text(point.score, point.metric)
    unit = f" {point.metric.unit}" if point.metric.unit else ""
    return f"{value}{unit}" + (f" ({interval})" if interval else "")


def _tiles(points: Sequence[Point], ranking: Ranking) -> tuple[Tile, ...]:
    by_method = {p.method: p for p in points}
    order = sorted((by_method[m] for m in ranking.order), key=lambda p: (-p.metric.sign * p.score.value, p.method))
    if len(order) < 2:
        return ()
    limit = _round_limit(order)
    kinds = [("Best", order)]
    if limit is not None:
        kinds.append((f"Best below {limit:,} parameters", [p for p in order if _params(p) <= limit]))
    free = [p for p in order if _latency(p) == 1.0]
    if free:
        kinds.append(("best at no inference cost", free))
    titles: dict[str, list[str]] = {}  # of each winner: one tile for a configuration
    for title, chosen in kinds:
        if chosen:
            titles.setdefault(chosen[0].method, []).append(title)
    return tuple(_tile("; ".join(of_one), by_method[method]) for method, of_one in titles.items())


def _tile(title: str, point: Point) -> Tile:
    return Tile(title[:1].upper() + title[1:], point.method, f"{_score_text(point)}, {_params(point):,.0f} parameters")


def _round_limit(points: Sequence[Point]) -> int | None:
    """A round number of parameters that LoRA and GLoRA keep to; without these the round number above the median."""
    sizes = (
        sorted(_params(p) for p in points if rival_family(p)) or sorted(map(_params, points))[: len(points) // 2 + 1]
    )
    largest = sizes[-1]
    if largest <= 0 or all(_params(p) <= largest for p in points):
        return None
    power = 10 ** math.floor(math.log10(largest))
    return next(step * power for step in (*_STEPS, 10) if step * power >= largest)


def _params(point: Point) -> float:
    values = point.costs(lambda r: r.params["method"])
    return 0.0 if values is None else float(values.mean())


def _latency(point: Point) -> float | None:
    values = point.costs(partial(deployment_latency, batch=64))
    return None if values is None else round(float(values.mean()), 9)
