"""Metrics: name, unit and direction, and the text of their values.

A record describes its metrics, the one that decides first, so a table needs no list of metrics. Which value is best,
which values tie, where an interval ends and what a colour means follow from the description.
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
        name: its name in records and CSV files.
        label: its name in the heads of tables and in sentences.
        unit: `%` for a share, which is stored in [0, 1] and shown times 100; else a unit such as `nats`, or empty.
        higher_is_better: the direction.
        low, high: the smallest and largest possible value; None is no limit.
        per_example: `bits` where an example is right or wrong, `reals` where it has a number. The value of the metric
            is the mean over examples.
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
        """The factor from a stored value to a shown one."""
        return 100.0 if self.unit == PERCENT else 1.0

    @property
    def digits(self) -> int:
        """Decimals of a shown value."""
        return 2 if self.unit == PERCENT else 4

    @property
    def heading(self) -> str:
        """The label with the unit, as the head of a column: `top-1 %`."""
        return f"{self.label} {self.unit}".strip()

    @property
    def sign(self) -> int:
        """1 where higher is better, -1 where lower is better. After multiplication by it the largest value is best."""
        return 1 if self.higher_is_better else -1

    @property
    def points(self) -> str:
        """The unit of a difference of two values."""
        return "points" if self.unit == PERCENT else self.unit or self.label

    def text(self, value: float, digits: int | None = None) -> str:
        """A value as text, without its unit."""
        return f"{self.scale * value:.{self.digits if digits is None else digits}f}"

    def difference_text(self, value: float) -> str:
        """A difference of two values as text, without a minus before a zero."""
        return f"{round(self.scale * value, self.digits) + 0:.{self.digits}f}"

    def with_unit(self, value: float, digits: int | None = None) -> str:
        """A value as text with its unit: `83.20 %`, `2.3010 nats`."""
        return f"{self.text(value, digits)} {self.unit}".strip()

    def within(self, value: float) -> float:
        """The nearest possible value."""
        value = value if self.low is None else max(self.low, value)
        return value if self.high is None else min(self.high, value)


def equal_scale(metrics: Iterable[Metric]) -> bool:
    """True where the metrics share unit and direction, so that a mean over them has a meaning."""
    return len({(metric.unit, metric.higher_is_better) for metric in metrics}) <= 1


def names_of_best(values: Mapping[str, float], metric: Metric) -> list[str]:
    """The names with the best value, in alphabetical order; all of them where several have it."""
    rounded_values = {name: round(metric.sign * value, 12) for name, value in values.items()}  # but for rounding errors
    return sorted(name for name, value in rounded_values.items() if value == max(rounded_values.values()))


def metric_named(metrics: Sequence[Metric], name: str) -> Metric | None:
    """The metric with this name, or None."""
    return next((metric for metric in metrics if metric.name == name), None)
