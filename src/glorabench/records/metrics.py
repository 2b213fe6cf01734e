"""What a metric is: its name, unit and direction, and how its values stand in a text.

A record describes the metrics that it holds, the one that decides first, so that a table needs no list of them: which
value is best, what ties, where an interval ends and what a colour means follow from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

PERCENT = "%"


@dataclass(frozen=True)
class Metric:
    """A metric.

    Args:
        name: in records and CSV files.
        label: in the heads of tables and in sentences.
        unit: `%` of a share, which is kept in [0, 1] and shown times 100; else what it counts, such as `nats`, or
            nothing.
        higher_is_better: its direction.
        low, high: the ends that no value can pass; None is no end.
        per_example: `bits` where an example is right or wrong, `reals` where it has a number. The value is the mean of
            them.
    """

    name: str
    label: str
    unit: str = PERCENT
    higher_is_better: bool = True
    low: float | None = 0.0
    high: float | None = 1.0
    per_example: Literal["bits", "reals"] = "bits"

    @property
    def scale(self) -> float:
        """What a value is shown times."""
        return 100.0 if self.unit == PERCENT else 1.0

    @property
    def digits(self) -> int:
        """Decimals of a value that is shown."""
        return 2 if self.unit == PERCENT else 4

    @property
    def heading(self) -> str:
        """The label with the unit, as a column is called: `top-1 %`."""
        return f"{self.label} {self.unit}".strip()

    @property
    def sign(self) -> int:
        """1 where higher is better, -1 where lower is: times it, the largest value is the best."""
        return 1 if self.higher_is_better else -1

    @property
    def points(self) -> str:
        """What a difference of two values is counted in."""
        return "points" if self.unit == PERCENT else self.unit or self.label

    def text(self, value: float, digits: int | None = None) -> str:
        """A value, without its unit."""
        return f"{self.scale * value:.{self.digits if digits is None else digits}f}"

    def difference_text(self, value: float) -> str:
        """A difference of two values; no minus stands before a zero."""
        return f"{round(self.scale * value, self.digits) + 0:.{self.digits}f}"

    def with_unit(self, value: float, digits: int | None = None) -> str:
        """A value with its unit: `83.20 %`, `2.3010 nats`."""
        return f"{self.text(value, digits)} {self.unit}".strip()

    def within(self, value: float) -> float:
        """The nearest value that is possible."""
        value = value if self.low is None else max(self.low, value)
        return value if self.high is None else min(self.high, value)


def equal_scale(metrics: Iterable[Metric]) -> bool:
    """True where a mean over the metrics means something: they share unit and direction."""
    return len({(metric.unit, metric.higher_is_better) for metric in metrics}) <= 1


def names_of_best(values: Mapping[str, float], metric: Metric) -> list[str]:
    """The names with the best value, in the order of the alphabet.

    Values that are equal are all the best, in whatever order their rows stand.
    """
    rounded = {name: round(metric.sign * value, 12) for name, value in values.items()}  # but for rounding errors
    return sorted(name for name, value in rounded.items() if value == max(rounded.values()))


def metric_named(metrics: Sequence[Metric], name: str) -> Metric | None:
    """The metric of this name, if it is among them."""
    return next((metric for metric in metrics if metric.name == name), None)
