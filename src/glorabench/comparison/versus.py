"""Versus: the `compare` command, two sides chosen by words, at equal parameters or equal cost where asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from glorabench import crossed
from glorabench.cells import MARK, cells
from glorabench.comparison.compare import Comparison, compare, points
from glorabench.comparison.side import Side, place_of
from glorabench.conditions import matching, read, told
from glorabench.errors import BadInput
from glorabench.forms import Part
from glorabench.gathered import gathered
from glorabench.output import put
from glorabench.record import Record
from glorabench.table import FAKE, fake

_OUTCOME = {1: "win", -1: "loss", 0: "tie"}
_EQUAL = 0.05  # what differs by less than this share is called equal
_AT: Mapping[str, tuple[str, Callable[[Side], float | None]]] = {
    "params": ("parameters", lambda side: side.params),
    "flops": ("FLOPs of training and search", lambda side: side.flops),
    "time": ("seconds of training and search", lambda side: side.seconds),
}
AT = tuple(_AT)
_NOTES = (
    "points: top-1 of the first side minus that of the second; interval of a task: "
    f"{crossed.WORDS}; of the mean: over seeds alone. A task is won or lost when its interval "
    "excludes zero, not corrected for the number of tasks, and tied otherwise. Parameters are without the head, of the "
    "subnet; FLOPs and seconds are of training and search together."
)


def main(words: Sequence[str], results: Path | None, at: str | None, form: str, into: str | None = None) -> int:
    """The `compare` command.

    Args:
        words: a suite (mini, if none) and key=value for both sides; the second begins where the first key comes again.
        results: folder of the records.
        at: params, flops or time, where a side is several configurations: the pair that is nearest in it.
        form: text, md, tex or html.
        into: a file, see `output.put`.

    Raises:
        BadInput: no records, words that choose nothing or too much, or nothing in common.
    """
    suite, first, second = parsed(words)
    put([compared(gathered(suite, results)[1], first, second, at)], form, into, f"compare:{suite}")
    return 0


def parsed(words: Sequence[str]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The suite and the conditions on both sides; values are YAML, `2,4` is any of them.

    Raises:
        BadInput: not two sides, two suites, or a value that is no YAML.
    """
    suites = [word for word in words if "=" not in word]
    pairs = [word for word in words if "=" in word]
    keys = [word.partition("=")[0] for word in pairs]
    starts = [index for index, key in enumerate(keys) if key == keys[0]]
    if len(suites) > 1 or len(starts) != 2:
        raise BadInput(
            f"two sides are needed, the second from where the first key comes again, and at most one suite; got "
            f"'{' '.join(words)}'. For example: glorabench compare mini method=lora method.rank=8 method=glora"
        )
    return (suites or ["mini"])[0], read(pairs[: starts[1]]), read(pairs[starts[1] :])


def compared(
    records: Sequence[Record], first: Mapping[str, Any], second: Mapping[str, Any], at: str | None = None
) -> Part:
    """Both sides task by task, and one sentence that the numbers support.

    Raises:
        BadInput: a side is nothing, or several configurations without `at` or alike in it; both are the same; nothing
            in common.
    """
    one, two = ([s for s in _configurations(matching(records, where)) if s.runs] for where in (first, second))
    for where, found in ((first, one), (second, two)):
        if not found:
            raise BadInput(f"no run of {told(where)} is done")
        if len(found) > 1 and at is None:
            names = "; ".join(side.label for side in found)
            ways = " or ".join(AT)
            raise BadInput(f"{told(where)} is {len(found)} configurations ({names}): add a word, or --at {ways}")
    a, b, also = _nearest(one, two, at)
    if a.runs == b.runs:
        raise BadInput(f"{told(first)} and {told(second)} are the same runs of {a.label}: add a word to one side")
    if a.label == b.label:  # a label tells the configurations of one side apart
        a, b = Side(f"{a.label} ({told(first)})", a.records), Side(f"{b.label} ({told(second)})", b.records)
    a, b, left_out = _common(a, b)
    return _part(compare(a, b), [*also, *left_out], records)


def _configurations(records: Sequence[Record]) -> list[Side]:
    """One side for each row that a table of the records would have."""
    found: dict[str, list[Record]] = {}
    for cell in cells(records, by_task=True):
        found.setdefault(cell.method.removesuffix(f" {MARK}"), []).extend(cell.records)
    return [Side(label, own) for label, own in found.items()]


def _nearest(one: Sequence[Side], two: Sequence[Side], at: str | None) -> tuple[Side, Side, list[str]]:
    """The pair that is nearest in what `at` says, and that in words."""
    if at is None:
        return one[0], two[0], []
    what, of = _AT[at]

    def ratio(pair: tuple[Side, Side]) -> float:
        mine, theirs = (of(side) for side in pair)
        return mine / theirs if mine and theirs else math.nan

    pairs = [pair for pair in product(one, two) if not math.isnan(ratio(pair))]
    if not pairs:
        raise BadInput(f"--at {at}: no pair of these sides has both {what} in its records, above zero")
    a, b = min(pairs, key=lambda pair: abs(math.log(ratio(pair))))
    found = ratio((a, b))
    near = f"at equal {what}" if abs(found - 1) <= _EQUAL else f"not at equal {what}"
    alike = [pair for pair in pairs if math.isclose(ratio(pair), found)]
    if len(alike) > 1:
        names = "; ".join(f"{mine.label} and {theirs.label}" for mine, theirs in alike)
        raise BadInput(
            f"--at {at}: {len(alike)} pairs have the ratio {found:.2f}, the nearest to 1: {names}: add a word"
        )
    return a, b, [f"{near}: the ratio is {found:.2f}, the nearest to 1 of {len(pairs)} pairs"]


def _common(a: Side, b: Side) -> tuple[Side, Side, list[str]]:
    """Both sides on the tasks and seeds that they have in common, and what was left out."""
    common = a.runs.keys() & b.runs.keys()
    if not common:
        raise BadInput(f"{a.label} and {b.label} have no task and seed in common: make the runs that one of them lacks")
    said = []
    for side, other in ((a, b), (b, a)):
        lost: dict[str, list[str]] = {}
        for task, seed in sorted(side.runs.keys() - common):
            lost.setdefault(task, []).append(str(seed))
        if lost:
            told = "; ".join(f"{task} (seed {', '.join(seeds)})" for task, seeds in lost.items())
            said.append(f"left out, as {other.label} has no result there: {told}")
    kept = [[r for r in s.records if place_of(r) in common] for s in (a, b)]
    return Side(a.label, kept[0]), Side(b.label, kept[1]), said


def _part(c: Comparison, more: Sequence[str], records: Sequence[Record]) -> Part:
    names = [side.name for side in (c.first, c.second)]
    body = []
    for on in c.tasks:
        tops, span = (f"{100 * on.first:.2f}", f"{100 * on.second:.2f}"), _span(on.difference.low, on.difference.high)
        how = _OUTCOME[on.sign] + " (no outcomes in common: interval over seeds)" * (not on.paired)
        body.append((on.task, *tops, points(on.difference.value), span, str(on.difference.n), how))
    means = [f"{100 * side.mean(side.top1).value:.2f}" for side in (c.first, c.second)]
    mean, span = c.mean, _span(c.mean.low, c.mean.high)
    body.append((f"mean of {len(c.tasks)}", *means, points(mean.value), span, str(mean.n), ""))
    ratios = [(what, of(c.first), of(c.second)) for what, of in _AT.values()]
    price = [f"{mine / theirs:.2f} ({what})" for what, mine, theirs in ratios if mine is not None and theirs]
    said = c.conclusion + (f"; costs, {c.first.label} / {c.second.label}: {', '.join(price)}" if price else "")
    title = f"{FAKE}: " * fake(records) + f"{names[0]} against {names[1]}"
    head = ("task", *names, "points", "95 % interval", "n", "outcome")
    return Part(title, head, body, [said, *more], _NOTES)


def _span(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"{points(low)} to {points(high)}"
