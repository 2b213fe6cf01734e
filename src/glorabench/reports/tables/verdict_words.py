"""Say how two configurations compare, in the same words everywhere: ahead, behind, not separated."""

from __future__ import annotations

from glorabench.analysis.comparison import Comparison
from glorabench.analysis.significance import Verdict

VERDICT_WORDS = {"best": "best", "tied": "not separated", "behind": "behind", "untested": "untested"}


def verdict_text(verdict: Verdict | None, n: int) -> str:
    """A verdict in words: `best`, `not separated (n = 3)`, `behind`; empty where there is none."""
    if verdict is None:
        return ""
    word = VERDICT_WORDS[verdict.kind]
    return f"{word} (n = {n})" if verdict.kind == "tied" else word


def sentence_of(comparison: Comparison, first: str, second: str) -> str:
    """One clause about the means of both sides, with the interval of the paired difference.

    Args:
        comparison: of both sides; it has a mean.
        first, second: what people call the sides.
    """
    mean, metric = comparison.mean, comparison.metric
    if mean is None:
        return f"{first} and {second} have no mean in common"
    low, high = (mean.low, mean.high) if mean.value >= 0 else (-mean.high, -mean.low)
    gap = f"{metric.difference_text(abs(mean.value))} {metric.points}"
    place = "above" if mean.value >= 0 else "below"
    if mean.n < 2:
        return f"{first} is {gap} {place} {second} with one seed, so without an interval"
    interval = f"95 % interval {metric.difference_text(low)} to {metric.difference_text(high)}, {mean.n} seeds"
    if comparison.sign == 0:
        return f"{first} is {gap} {place} {second}, but the interval includes zero ({interval})"
    word = "better" if comparison.sign > 0 else "worse"
    return f"{first} is {gap} {word} than {second} ({interval})"
