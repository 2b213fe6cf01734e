"""The table of what a budget leaves, and one sentence that says what to take."""

from __future__ import annotations

from collections.abc import Sequence

from glorabench.analysis.cells import Group
from glorabench.analysis.choice import Budget, Choice, choose_within
from glorabench.analysis.costs import AXES, Point
from glorabench.reports.captions import DETAILS, estimate_text, title_of
from glorabench.reports.rendering import Part

_WORDS = {
    "params": "at most {:,.0f} parameters",
    "latency_64": "inference at most {:g} times that of the plain backbone",
    "flops": "at most {:.3g} FLOPs of training and search",
    "seconds": "at most {:,.0f} seconds of training and search",
}
_NOTE = (
    "best: the highest mean within the budget; not separated: a paired test over seeds and examples finds no "
    f"difference from the best, which is no proof that it is as good. {DETAILS}"
)


def choice_part(group: Group, budget: Budget) -> Part:
    """The configurations within a budget, the best first, and what to take.

    Raises:
        BadInput: nothing is within the budget.
    """
    choice = choose_within(group, budget)
    metric = choice.best[0].metric
    head = ("method", metric.heading, "95 % interval", "n", "verdict", "parameters", "latency 64")
    body = [_row(point, choice) for point in choice.within]
    lines = [sentence(choice, budget)]
    if choice.beyond:
        lines.append("beyond the budget: " + "; ".join(f"{name} ({reason})" for name, reason in choice.beyond.items()))
    return Part(title_of(group.records, True), head, body, lines, _NOTE)


def _row(point: Point, choice: Choice) -> tuple[str, ...]:
    verdict = "best" if point in choice.best else "not separated" if point in choice.tied else ""
    costs = {axis.name: point.cost(axis) for axis in AXES}
    params, latency = costs["params"], costs["latency_64"]
    return (
        point.method,
        *estimate_text(point.score, point.metric),
        str(point.score.n),
        verdict,
        "" if params is None else f"{params:,.0f}",
        "" if latency is None else f"{latency:.2f}",
    )


def sentence(choice: Choice, budget: Budget) -> str:
    """What to take within a budget, in one sentence."""
    first = choice.best[0]
    metric = first.metric
    names = _join_names([point.method for point in choice.best])
    verb = "are the best" if len(choice.best) > 1 else "is the best"
    text = f"{budget_text(budget)}{names} {verb}, with {metric.label} {metric.with_unit(first.score.value)}"
    if not choice.tied:
        return text
    smallest = choice.smallest
    ties = _join_names([point.method for point in choice.tied])
    text += f"; not separated from it: {ties}"
    params = smallest.cost(AXES[0])
    return text if params is None else f"{text}; the smallest of them is {smallest.method}, {params:,.0f} parameters"


def budget_text(budget: Budget) -> str:
    """A budget as the beginning of a sentence; nothing where there is no limit."""
    words = [_WORDS[name].format(limit) for name, limit in budget.limits.items()]
    if budget.score is not None:
        words.append(f"a score from {budget.score:g} on")
    return f"Within {', '.join(words)}: " if words else ""


def _join_names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
