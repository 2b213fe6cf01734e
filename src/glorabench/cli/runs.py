"""The commands that look around in a results folder: `list` and `show`. Light until called."""

from __future__ import annotations

from typing import Annotated

import typer

from glorabench.cli.options import AnySuite, Form, FormOption, Results
from glorabench.cli.tables import Conditions
from glorabench.errors import BadInput


def list_runs(
    suite: AnySuite = None,
    conditions: Conditions = None,
    results: Results = None,
    sort: Annotated[
        str | None,
        typer.Option("--sort", metavar="COLUMN", help="Sort by this column (default: newest first)."),
    ] = None,
    form: Annotated[Form, FormOption] = "text",
) -> int:
    """List the runs of a results folder, the newest first.

    Examples:
        glorabench list --results results
        glorabench list mini method=lora,glora --sort score

    Raises:
        BadInput: there are no records, none meets the conditions, or there is no such column.
    """
    from glorabench.records import filters
    from glorabench.records.store import no_records, suite_by_file
    from glorabench.reports.rendering import Part, output_parts
    from glorabench.reports.tables.runs import RUN_COLUMNS, run_rows

    words = list(conditions or [])
    if suite is not None and "=" in suite:  # the suite may be left out
        suite, words = None, [suite, *words]
    by_path = suite_by_file(suite, results)
    if not by_path:
        raise no_records(suite, results)
    ids = {r.run_id for r in filters.filter_records(by_path.values(), filters.parse_conditions(words))}
    by_path = {path: r for path, r in by_path.items() if r.run_id in ids}
    output_parts([Part(f"{len(by_path)} runs", RUN_COLUMNS, run_rows(by_path, sort))], form, None, "list")
    return 0


def show(
    run: Annotated[str, typer.Argument(metavar="ID", help="The id of a run, or its beginning.")],
    results: Results = None,
) -> int:
    """Show one run: metrics, parameters, cost, curves, config, files.

    Examples:
        glorabench show 3fa9
        glorabench show 3fa9 --results results

    Raises:
        BadInput: there is no such run, there are several, or its record is damaged.
    """
    from glorabench.records.store import suite_by_file
    from glorabench.reports.tables.runs import run_lines

    matches = [(path, r) for path, r in suite_by_file(None, results).items() if r.run_id.startswith(run)]
    if not matches:
        raise BadInput(f"no run '{run}': `glorabench list` names them; --results FOLDER looks elsewhere")
    if len(matches) > 1:
        ids = ", ".join(r.run_id for _, r in matches[:4])
        raise BadInput(f"'{run}' is the beginning of {len(matches)} ids ({ids}): give more of it")
    path, r = matches[0]
    print("\n".join(run_lines(r, path)))
    return 0
