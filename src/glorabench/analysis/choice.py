"""Choose a method for a budget: the best configuration within it, and those that are not told apart from that."""

from __future__ import annotations

from dataclasses import dataclass

from glorabench.analysis.cells import Cell, Group
from glorabench.analysis.costs import AXES, Point, points
from glorabench.analysis.significance import Term, verdicts_on_mean
from glorabench.errors import BadInput
from glorabench.records.metrics import names_of_best


@dataclass(frozen=True)
class Budget:
    """What a configuration may cost, and what it has to reach; None is no limit.

    Args:
        params: trained parameters without the head.
        latency: inference time at batch 64 of what is deployed, relative to the plain backbone.
        flops, seconds: of training and search together.
        score: the least score (the most, where lower is better), in the unit of the metric.
    """

    params: float | None = None
    latency: float | None = None
    flops: float | None = None
    seconds: float | None = None
    score: float | None = None

    @property
    def limits(self) -> dict[str, float]:
        """The limits on costs, by the name of the axis."""
        by_axis = {"params": self.params, "latency_64": self.latency, "flops": self.flops, "seconds": self.seconds}
        return {name: limit for name, limit in by_axis.items() if limit is not None}


@dataclass(frozen=True)
class Choice:
    """What a budget leaves.

    Args:
        best: the configurations with the best mean within the budget; several where means are equal.
        tied: those that a paired test does not tell apart from the best, by parameters.
        within: all within the budget, the best first.
        beyond: why each of the others is not.
    """

    best: list[Point]
    tied: list[Point]
    within: list[Point]
    beyond: dict[str, str]

    @property
    def smallest(self) -> Point:
        """Of the best and those tied with it the one with the fewest parameters."""
        return min([*self.best, *self.tied], key=lambda point: (_params(point), point.method))


def choose_within(group: Group, budget: Budget) -> Choice:
    """The best of a table within a budget.

    Raises:
        BadInput: nothing is within the budget, with the nearest configuration.
    """
    within: list[Point] = []
    beyond: dict[str, str] = {}
    for point in points(group):
        reason = _reason(point, budget)
        if reason:
            beyond[point.method] = reason
        else:
            within.append(point)
    if not within:
        nearest = "; ".join(f"{name}: {reason}" for name, reason in list(beyond.items())[:4])
        raise BadInput(f"no configuration is within this budget ({nearest}): raise a limit")
    metric = within[0].metric
    names = names_of_best({point.method: point.score.value for point in within}, metric)
    cells: dict[str, dict[str, Cell]] = {}
    methods_within = {point.method for point in within}
    for cell in group.cells:
        if cell.method in methods_within:
            cells.setdefault(cell.method, {})[cell.task] = cell
    terms = {task: Term(1 / len(group.by_task)) for task in group.by_task}
    verdicts = verdicts_on_mean(cells, terms)
    within.sort(key=lambda point: -metric.sign * point.score.value)
    ties = [p for p in within if p.method in verdicts and verdicts[p.method].kind == "tied"]
    return Choice([p for p in within if p.method in names], sorted(ties, key=_params), within, beyond)


def _reason(point: Point, budget: Budget) -> str:
    """Why a configuration is no choice; nothing where it is one."""
    if point.reason:
        return point.reason
    if point.contaminated:
        return "something was chosen on the test split"
    for axis in AXES:
        limit = budget.limits.get(axis.name)
        if limit is None:
            continue
        cost = point.cost(axis)
        if cost is None:
            return f"its {axis.short} are not known"
        if cost > limit:
            return f"{_number_text(cost)} {axis.short}, more than {_number_text(limit)}"
    metric = point.metric
    if budget.score is not None and metric.sign * (metric.scale * point.score.value - budget.score) < 0:
        return f"{metric.with_unit(point.score.value)}, {'below' if metric.sign > 0 else 'above'} {budget.score:g}"
    return ""


def _number_text(value: float) -> str:
    """A cost with six digits, or whole where it is large; FLOPs of trillions stay short."""
    return f"{value:,.0f}" if 1000 <= value < 1e9 else f"{value:,.6g}"


def _params(point: Point) -> float:
    return point.cost(AXES[0]) or 0.0
