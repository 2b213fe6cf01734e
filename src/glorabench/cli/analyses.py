"""The commands that print an analysis of records: `cost`, `forgetting`, `optimism`, `tuned`. Light until called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from glorabench.cli.options import Form, FormOption, Into, Results, Suite


def cost(
    suite: Suite = "mini",
    results: Results = None,
    form: Annotated[Literal["text", "md", "tex", "html", "csv"], FormOption] = "text",
    into: Into = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", metavar="FOLDER", help="Draw the fronts there, as accuracy-COST.svg.")
    ] = None,
) -> int:
    """Print accuracy against what it costs: the Pareto fronts.

    The costs are parameters, FLOPs, training time, memory and latency.

    Raises:
        BadInput: there are no records, one is damaged, they do not compare, the file has no block for the suite, or
            the folder cannot be written.
    """
    from glorabench.analysis.costs import stood
    from glorabench.records.store import gathered
    from glorabench.reports.figures.files import draw
    from glorabench.reports.rendering import put
    from glorabench.reports.tables import costs

    standings = stood(gathered(suite, results)[1])
    if figures is not None:
        draw(standings, figures)
    if form == "csv" and into is None:
        print(costs.csv(standings), end="")
    else:
        put([part for each in standings for part in costs.parts(*each)], form, into, f"cost:{suite}")
    return 0


def forgetting(
    suite: Suite = "mini", results: Results = None, form: Annotated[Form, FormOption] = "text", into: Into = None
) -> int:
    """Print learning against forgetting of the upstream task.

    Forgetting is what the adapted network has lost on the task that the backbone was pretrained on.

    Raises:
        BadInput: there are no records, none that says it, or the file has no block for the suite.
    """
    from glorabench.records.compatibility import comparable
    from glorabench.records.store import gathered
    from glorabench.reports.rendering import put
    from glorabench.reports.tables.forgetting import part

    groups = comparable(gathered(suite, results)[1])
    put([part(group) for group in groups], form, into, f"forgetting:{suite}")
    return 0


def tuned(suite: Suite = "mini", results: Results = None, into: Into = None) -> int:
    """Print the best learning rate of each method, as YAML.

    It is the one that equal tuning found best. The trials stand above it as comments.

    Raises:
        BadInput: there are no records, they are no trials of an equal budget, or the file has no block for the suite.
    """
    from glorabench.analysis.tuning import check_budgets, trials
    from glorabench.config.paths import conf_dir
    from glorabench.records.compatibility import comparable
    from glorabench.records.store import gathered
    from glorabench.reports.captions import title_of
    from glorabench.reports.rendering import Part, grid, put
    from glorabench.reports.tables import tuning

    groups = [(title_of(group, True), trials(group)) for group in comparable(gathered(suite, results)[1])]
    for _, group in groups:
        check_budgets(group)
    if into is not None:
        notes = "top-1 in percent, mean over tasks, by learning rate; at the edge: the best rate is an end of the grid"
        parts = [Part(title, *tuning.trials_table(group), notes=notes) for title, group in groups]
        put(parts, "md", into, f"tuned:{suite}")
        return 0
    for title, group in groups:
        lines = [title, "top-1 in percent, mean over tasks", "", *grid(*tuning.trials_table(group), ("method",)), ""]
        print("\n".join(f"# {line}".rstrip() for line in lines))
        print(tuning.fragment(group, (conf_dir() / "train").glob("*.yaml")), end="")
    return 0


def optimism(
    suite: Suite = "mini", results: Results = None, form: Annotated[Form, FormOption] = "text", into: Into = None
) -> int:
    """Print what reporting the best epoch would have added.

    Runs here report the last epoch. The gain of the best one is read from their curves on val.

    Raises:
        BadInput: there are no records, none with a curve, or the file has no block for the suite.
    """
    from glorabench.analysis.tuning import gains
    from glorabench.records.compatibility import comparable
    from glorabench.records.store import gathered
    from glorabench.reports.captions import title_of
    from glorabench.reports.rendering import Part, put
    from glorabench.reports.tables import tuning

    parts = []
    for group in comparable(gathered(suite, results)[1]):
        rows, left_out = gains(group)
        notes = tuning.gain_notes(group, left_out)
        parts.append(Part(title_of(group, True), tuning.GAIN_COLUMNS, tuning.gain_rows(rows), notes))
    put(parts, form, into, f"optimism:{suite}")
    return 0
