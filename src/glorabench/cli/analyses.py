"""The commands that print an analysis of records: `cost`, `forgetting`, `optimism`, `tuned`."""

from __future__ import annotations

from pathlib import Path

from glorabench.analysis.cells import groups_of
from glorabench.analysis.costs import cost_group
from glorabench.analysis.tuning import check_budgets, gains, trials
from glorabench.config.paths import conf_dir
from glorabench.records.store import gathered
from glorabench.reports.captions import title_of
from glorabench.reports.figures.files import draw_fronts
from glorabench.reports.rendering import Part, grid, put
from glorabench.reports.tables import costs, tuning
from glorabench.reports.tables.forgetting import part as forgetting_part


def cost(suite: str, results: Path | None, form: str, into: str | None, drawn: Path | None = None) -> int:
    """The `cost` command: costs and fronts of a suite's records, shown as `form` or written `into` a file, and the
    figures of the fronts as accuracy-COST.svg in the folder `drawn`.

    Raises:
        BadInput: there are no records, one is damaged, they do not compare, the file has no block for the suite, or
            the folder cannot be written.
    """
    tables = [cost_group(group) for group in groups_of(gathered(suite, results)[1])]
    if drawn is not None:
        draw_fronts(tables, drawn)
    if form == "csv" and into is None:
        print(costs.csv(tables), end="")
    else:
        put([part for table in tables for part in costs.parts(table)], form, into, f"cost:{suite}")
    return 0


def forgetting(suite: str, results: Path | None, form: str, into: str | None) -> int:
    """The `forgetting` command: the table of a suite's records, shown as `form` or written `into` a file.

    Raises:
        BadInput: there are no records, none that says it, or the file has no block for the suite.
    """
    groups = groups_of(gathered(suite, results)[1])
    put([forgetting_part(group) for group in groups], form, into, f"forgetting:{suite}")
    return 0


def tuned(suite: str, results: Path | None, into: str | None = None) -> int:
    """The `tuned` command: the fragment of YAML that uses what is best, below the trials of a suite as comments; or the
    table of the trials, written `into` a file.

    Raises:
        BadInput: there are no records, they are no trials of an equal budget, or the file has no block for the suite.
    """
    groups = groups_of(gathered(suite, results)[1])
    tables = [(title_of(group.records, True), trials(group.records)) for group in groups]
    for _, of_methods in tables:
        check_budgets(of_methods)
    if into is not None:
        parts = []
        for title, of_methods in tables:
            notes = (
                f"{tuning.trials_note(of_methods)}, by learning rate; at the edge: the best rate is an end of the grid"
            )
            parts.append(Part(title, *tuning.trials_table(of_methods), notes=notes))
        put(parts, "md", into, f"tuned:{suite}")
        return 0
    for title, of_methods in tables:
        table = grid(*tuning.trials_table(of_methods), ("method",))
        lines = [title, tuning.trials_note(of_methods), "", *table, ""]
        print("\n".join(f"# {line}".rstrip() for line in lines))
        print(tuning.fragment(of_methods, (conf_dir() / "train").glob("*.yaml")), end="")
    return 0


def optimism(suite: str, results: Path | None, form: str, into: str | None) -> int:
    """The `optimism` command: the gains of a suite's records, shown as `form` or written `into` a file.

    Raises:
        BadInput: there are no records, none with a curve, or the file has no block for the suite.
    """
    parts = []
    for group in groups_of(gathered(suite, results)[1]):
        of_methods, left_out = gains(group.records)
        notes = tuning.gain_notes(group.records, group.metric, left_out)
        title = title_of(group.records, True)
        parts.append(Part(title, tuning.gain_columns(of_methods), tuning.gain_rows(of_methods), notes))
    put(parts, form, into, f"optimism:{suite}")
    return 0
