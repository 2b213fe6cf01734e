"""The commands that print an analysis of records: `cost`, `forgetting`, `optimism`, `tuned`."""

from __future__ import annotations

from pathlib import Path

from glorabench.analysis.costs import stood
from glorabench.analysis.tuning import check_budgets, gains, trials
from glorabench.config.paths import conf_dir
from glorabench.records.compatibility import comparable
from glorabench.records.store import gathered
from glorabench.reports.captions import title_of
from glorabench.reports.figures.files import draw
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
    found = stood(gathered(suite, results)[1])
    if drawn is not None:
        draw(found, drawn)
    if form == "csv" and into is None:
        print(costs.csv(found), end="")
    else:
        put([part for each in found for part in costs.parts(*each)], form, into, f"cost:{suite}")
    return 0


def forgetting(suite: str, results: Path | None, form: str, into: str | None) -> int:
    """The `forgetting` command: the table of a suite's records, shown as `form` or written `into` a file.

    Raises:
        BadInput: there are no records, none that says it, or the file has no block for the suite.
    """
    groups = comparable(gathered(suite, results)[1])
    put([forgetting_part(group) for group in groups], form, into, f"forgetting:{suite}")
    return 0


def tuned(suite: str, results: Path | None, into: str | None = None) -> int:
    """The `tuned` command: the fragment of YAML that uses what is best, below the trials of a suite as comments; or the
    table of the trials, written `into` a file.

    Raises:
        BadInput: there are no records, they are no trials of an equal budget, or the file has no block for the suite.
    """
    groups = [(title_of(group, True), trials(group)) for group in comparable(gathered(suite, results)[1])]
    for _, found in groups:
        check_budgets(found)
    if into is not None:
        notes = "top-1 in percent, mean over tasks, by learning rate; at the edge: the best rate is an end of the grid"
        put(
            [Part(title, *tuning.trials_table(found), notes=notes) for title, found in groups],
            "md",
            into,
            f"tuned:{suite}",
        )
        return 0
    for title, found in groups:
        lines = [title, "top-1 in percent, mean over tasks", "", *grid(*tuning.trials_table(found), ("method",)), ""]
        print("\n".join(f"# {line}".rstrip() for line in lines))
        print(tuning.fragment(found, (conf_dir() / "train").glob("*.yaml")), end="")
    return 0


def optimism(suite: str, results: Path | None, form: str, into: str | None) -> int:
    """The `optimism` command: the gains of a suite's records, shown as `form` or written `into` a file.

    Raises:
        BadInput: there are no records, none with a curve, or the file has no block for the suite.
    """
    parts = []
    for group in comparable(gathered(suite, results)[1]):
        made, left = gains(group)
        parts.append(
            Part(title_of(group, True), tuning.GAIN_COLUMNS, tuning.gain_rows(made), tuning.gain_notes(group, left))
        )
    put(parts, form, into, f"optimism:{suite}")
    return 0
