"""The commands that look around in a results folder and tidy it: `list`, `show`, `delete`. Light until called."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glorabench.cli.completion import complete_run_ids
from glorabench.cli.options import AnySuite, Form, FormOption, Results
from glorabench.cli.tables import Conditions
from glorabench.errors import BadInput

if TYPE_CHECKING:
    from glorabench.records.record import Record


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
    run: Annotated[
        str,
        typer.Argument(metavar="ID", help="The id of a run, or its beginning.", autocompletion=complete_run_ids),
    ],
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

    path, r = _one_run(run, suite_by_file(None, results))
    print("\n".join(run_lines(r, path)))
    return 0


def _one_run(run: str, records: Mapping[Path, Record]) -> tuple[Path, Record]:
    """The run whose id begins with `run`.

    Raises:
        BadInput: there is none, or there are several.
    """
    matches = [(path, r) for path, r in records.items() if r.run_id.startswith(run)]
    if not matches:
        raise BadInput(f"no run '{run}': `glorabench list` names them; --results FOLDER looks elsewhere")
    if len(matches) > 1:
        ids = ", ".join(r.run_id for _, r in matches[:4])
        raise BadInput(f"'{run}' is the beginning of {len(matches)} ids ({ids}): give more of it")
    return matches[0]


def delete(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ID|KEY=VALUE",
            help="Ids of runs, or their beginnings; with KEY=VALUE all runs that have these values.",
            autocompletion=complete_run_ids,
        ),
    ] = None,
    results: Results = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> int:
    """Delete runs: records, trained weights, predictions, logs.

    It names what goes and asks first. Supernets and searches, which several runs may share, and exports stay.

    Examples:
        glorabench delete 3fa9
        glorabench delete status=failed --results results/local --yes

    Raises:
        BadInput: no such run, one that is being made, nobody can be asked, or a file that cannot be removed.
    """
    from glorabench.records import removal
    from glorabench.records.store import suite_by_file

    if not words:
        raise BadInput("delete needs the id of a run, or KEY=VALUE: `glorabench list` names the runs")
    chosen = _chosen_runs(words, suite_by_file(None, results))
    others = {path: _other_files(path, r) for path, r in chosen.items()}
    for path, r in chosen.items():
        run = f"{r.names['method']} on {r.names['task']}, seed {r.config['seed']}, {r.status}"
        print(f"{r.run_id}  {run}: {1 + len(others[path])} files and folders")
    if not yes and not _agrees(f"Delete {len(chosen)} run{'s' if len(chosen) > 1 else ''}? [y/N] "):
        print("nothing was deleted")
        return 0
    for path, files in others.items():
        try:
            removal.remove_run(path, files)
        except OSError as error:
            raise BadInput(
                f"{error.filename} cannot be removed ({error.strerror}); the record stays: free it and delete again"
            ) from error
    print(f"{len(chosen)} deleted")
    return 0


def _other_files(path: Path, r: Record) -> list[Path]:
    """What a run has left beside its record.

    Raises:
        BadInput: another process makes the run.
    """
    from glorabench.records.removal import files_of_run
    from glorabench.records.store import folder_of_results
    from glorabench.training import ownership

    root = folder_of_results(path)
    if ownership.is_made_elsewhere({**r.config, "results_dir": str(root)}):
        raise BadInput(f"another process makes run {r.run_id}: stop it first")
    return files_of_run(root, r.run_id)


def _chosen_runs(words: Sequence[str], records: Mapping[Path, Record]) -> dict[Path, Record]:
    """The runs that are named, and those that meet the conditions."""
    from glorabench.records import filters

    chosen = dict(_one_run(word, records) for word in words if "=" not in word)
    if conditions := [word for word in words if "=" in word]:
        ids = {r.run_id for r in filters.filter_records(records.values(), filters.parse_conditions(conditions))}
        chosen |= {path: r for path, r in records.items() if r.run_id in ids}
    return chosen


def _agrees(question: str) -> bool:
    """Whether the user says yes.

    Raises:
        BadInput: nobody can be asked.
    """
    if not sys.stdin or not sys.stdin.isatty():
        raise BadInput("delete asks before it deletes, and standard input is no terminal: add --yes")
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False
