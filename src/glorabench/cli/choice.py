"""The end of a command with `choose`, as in experiment=choose: its budget, its figures, and what to take. Light."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from glorabench.cli.options import number_of

if TYPE_CHECKING:
    from glorabench.analysis.choice import Budget
    from glorabench.records.record import Record


def budget_of_words(words: Sequence[str]) -> Budget | None:
    """The budget that the words of a command give to `choose`; None where the command has none.

    Raises:
        BadInput: a limit is no number.
    """
    from glorabench.analysis.choice import Budget
    from glorabench.config.compose import choice_settings

    settings = choice_settings(words)
    if settings is None:
        return None

    def limit(key: str) -> float | None:
        value = getattr(settings, key)
        return None if value is None else number_of(f"choose.{key}", str(value))

    return Budget(params=limit("max_params"), latency=limit("max_latency"))


def show_choice(records: Sequence[Record], budget: Budget, results: Path) -> None:
    """Print which method to take within a budget, and where the figures of score against cost are.

    Args:
        records: of the runs; those that were not scored on test are left out.
        budget: what a method may cost.
        results: the folder below which the figures go.

    Raises:
        BadInput: nothing is within the budget, or a figure cannot be written.
    """
    from glorabench.analysis.cells import named_groups_of
    from glorabench.analysis.costs import cost_group
    from glorabench.files import safe_name
    from glorabench.reports.figures.files import draw_fronts
    from glorabench.reports.tables.choice import choice_part
    from glorabench.reports.terminal import show_part

    for group in named_groups_of(r for r in records if r.config["selection"]["report_on"] == "test"):
        names = group.records[0].names
        folder = results / "figures" / safe_name("-".join([names["data"], *group.by_task, names["backbone"]]))
        figures = draw_fronts([cost_group(group)], folder, "free space or set results_dir=FOLDER")
        for figure in figures[:1]:  # parameters come first
            print(f"figure: {figure}; the other costs are beside it", flush=True)
        show_part(choice_part(group, budget))
