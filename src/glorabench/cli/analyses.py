"""The commands that print an analysis of records: `cost`, `forgetting`, `optimism`, `tuned`. Light until called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from glorabench.cli.options import Form, FormOption, Into, Results, SuiteName


def cost(
    suite: SuiteName = "mini",
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
    from glorabench.analysis.cells import groups_of, named_groups_of
    from glorabench.analysis.costs import cost_group
    from glorabench.records.store import load_suite
    from glorabench.reports.figures.files import draw_fronts
    from glorabench.reports.rendering import output_parts
    from glorabench.reports.tables import costs

    records = load_suite(suite, results)[1]
    is_csv = form == "csv" and into is None
    tables = [cost_group(group) for group in (groups_of(records) if is_csv else named_groups_of(records))]
    if figures is not None:
        draw_fronts(tables, figures)
    if is_csv:
        print(costs.costs_csv(tables), end="")
    else:
        output_parts([part for table in tables for part in costs.cost_parts(table)], form, into, f"cost:{suite}")
    return 0


def forgetting(
    suite: SuiteName = "mini", results: Results = None, form: Annotated[Form, FormOption] = "text", into: Into = None
) -> int:
    """Print learning against forgetting of the upstream task.

    Forgetting is what the adapted network has lost on the task that the backbone was pretrained on.

    Raises:
        BadInput: there are no records, none that says it, or the file has no block for the suite.
    """
    from glorabench.analysis.cells import named_groups_of
    from glorabench.records.store import load_suite
    from glorabench.reports.rendering import output_parts
    from glorabench.reports.tables.forgetting import forgetting_part

    groups = named_groups_of(load_suite(suite, results)[1])
    output_parts([forgetting_part(group) for group in groups], form, into, f"forgetting:{suite}")
    return 0


def tuned(suite: SuiteName = "mini", results: Results = None, into: Into = None) -> int:
    """Print the best learning rate of each method, as YAML.

    It is the one that equal tuning found best. The trials stand above it as comments.

    Raises:
        BadInput: there are no records, they are no trials of an equal budget, or the file has no block for the suite.
    """
    from glorabench.analysis.cells import groups_of
    from glorabench.config.paths import conf_dir
    from glorabench.records.store import load_suite
    from glorabench.reports.rendering import output_parts
    from glorabench.reports.tables import tuning

    groups = groups_of(load_suite(suite, results)[1])
    if into is not None:
        output_parts(tuning.trial_parts(groups), "md", into, f"tuned:{suite}")
    else:
        print(tuning.commented_yaml(groups, (conf_dir() / "train").glob("*.yaml")), end="")
    return 0


def optimism(
    suite: SuiteName = "mini", results: Results = None, form: Annotated[Form, FormOption] = "text", into: Into = None
) -> int:
    """Print what reporting the best epoch would have added.

    Runs here report the last epoch. The gain of the best one is read from their curves on val.

    Raises:
        BadInput: there are no records, none with a curve, or the file has no block for the suite.
    """
    from glorabench.analysis.cells import named_groups_of
    from glorabench.records.store import load_suite
    from glorabench.reports.rendering import output_parts
    from glorabench.reports.tables import tuning

    groups = named_groups_of(load_suite(suite, results)[1])
    output_parts([tuning.gain_part(group) for group in groups], form, into, f"optimism:{suite}")
    return 0


def choose(
    suite: SuiteName = "mini",
    results: Results = None,
    max_params: Annotated[
        str | None, typer.Option("--max-params", metavar="N", help="Most trained parameters: 50000, 50k or 1.5M.")
    ] = None,
    max_latency: Annotated[
        str | None,
        typer.Option("--max-latency", metavar="X", help="Most inference time at batch 64; the plain backbone is 1."),
    ] = None,
    max_tflop: Annotated[
        str | None, typer.Option("--max-tflop", metavar="N", help="Most TFLOP of training and search.")
    ] = None,
    max_seconds: Annotated[
        str | None, typer.Option("--max-seconds", metavar="N", help="Most seconds of training and search.")
    ] = None,
    at_least: Annotated[
        str | None, typer.Option("--at-least", metavar="SCORE", help="The score to reach, as a table shows it.")
    ] = None,
    form: Annotated[Form, FormOption] = "text",
    into: Into = None,
) -> int:
    """Choose a method for a budget, from records.

    It prints the configurations within the budget, which of them are not separated from the best, and one sentence.

    Examples:
        glorabench choose mini --results results --max-params 20k
        glorabench choose mini --max-latency 1 --at-least 70

    Raises:
        BadInput: there are no records, a limit is no number, or nothing is within the budget.
    """
    from glorabench.analysis.cells import named_groups_of
    from glorabench.analysis.choice import Budget
    from glorabench.cli.options import number_of
    from glorabench.records.store import load_suite
    from glorabench.reports.rendering import output_parts
    from glorabench.reports.tables.choice import choice_part

    tflop = number_of("--max-tflop", max_tflop)
    budget = Budget(
        params=number_of("--max-params", max_params),
        latency=number_of("--max-latency", max_latency),
        flops=None if tflop is None else 1e12 * tflop,
        seconds=number_of("--max-seconds", max_seconds),
        score=number_of("--at-least", at_least),
    )
    groups = named_groups_of(load_suite(suite, results)[1])
    output_parts([choice_part(group, budget) for group in groups], form, into, f"choose:{suite}")
    return 0
