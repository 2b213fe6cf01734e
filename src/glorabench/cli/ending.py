"""The end of a sweep over methods: a figure, and what to type next. Light."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from glorabench.errors import BadInput

if TYPE_CHECKING:
    from glorabench.analysis.cells import Group
    from glorabench.records.record import Record

_SEEDS = 5  # seeds that the next command asks for


def method_groups(groups: Sequence[Group]) -> list[Group]:
    """The tables in which at least two methods were scored on test; a tuning sweep has none."""
    on_test = [group for group in groups if group.records[0].config["selection"]["report_on"] == "test"]
    return [group for group in on_test if len({r.names["method"] for r in group.records if r.status == "done"}) > 1]


def show_figure(group: Group, results: Path) -> None:
    """Draw the score of each method against each cost, and print the path of the figure with parameters.

    Args:
        group: the records of one table.
        results: the folder below which the figures go.

    Raises:
        BadInput: a figure cannot be written, or the records cannot be compared.
    """
    from glorabench.analysis.costs import cost_group
    from glorabench.files import safe_name
    from glorabench.reports.figures.files import draw_fronts

    names = group.records[0].names
    folder = results / "figures" / safe_name("-".join([names["data"], *group.by_task, names["backbone"]]))
    figures = draw_fronts([cost_group(group)], folder, "free space or set results_dir=FOLDER")
    for figure in figures[:1]:  # parameters come first
        print(f"figure: {figure}; the other costs are beside it", flush=True)


def show_next(groups: Sequence[Group], words: Sequence[str], results: Path) -> None:
    """Print where the figure of each table is, and three commands that go on from a sweep.

    A figure that cannot be drawn is one line on stderr: the runs are done all the same.

    Args:
        groups: the tables of the sweep.
        words: the words of its command, `-m` included.
        results: its results folder.
    """
    for group in groups:
        try:
            show_figure(group, results)
        except BadInput as error:
            print(f"no figure: {error}", file=sys.stderr)
    if groups:
        commands = next_commands(groups[0], words, results)
        print("\nnext:")
        for command, purpose in commands.items():
            print(f"  {purpose}:\n    {command}", flush=True)


def next_commands(group: Group, words: Sequence[str], results: Path) -> dict[str, str]:
    """Three commands that go on from a sweep, each with what it is for."""
    names = group.records[0].names
    seeds = sorted({r.config["seed"] for r in group.records})
    total = max(_SEEDS, len(seeds) + 2)
    seeds += range(seeds[-1] + 1, seeds[-1] + 1 + total - len(seeds))
    longer = [word for word in words if not word.startswith("seed=")]
    more = [*longer, f"seed={','.join(map(str, seeds))}"]
    commands = {
        _command("run", *more): f"{total} seeds, for narrower intervals (runs that are there are not repeated)",
        _command("report", names["data"], "--results", str(results)): "one HTML page of all results",
    }
    if names["data"] != "folder" and _reads_images(group.records[0]):
        commands[_command("run", "experiment=choose", "data.root=FOLDER")] = "which method to take for your own images"
    else:
        place = [f"results_dir={results}"] if results != Path("results/local") else []
        export = _command("export", f"run={_best_run(group).run_id}", "to=merged", *place)
        commands[export] = "the best run as a plain checkpoint"
    return commands


def _reads_images(record: Record) -> bool:
    return record.provenance.get("data", {}).get("examples", "images") == "images"


def _best_run(group: Group) -> Record:
    runs = [r for r in group.records if r.status == "done"]
    return max(runs, key=lambda r: (r.metric.sign * r.score, r.run_id))


def _command(*words: str) -> str:
    """A command line that the shell of this process can run as it stands."""
    program = Path(sys.argv[0])
    if program.name == "glorabench" and not shutil.which(program.name):  # an environment that is not activated
        return shlex.join([os.path.relpath(program), *words])
    return shlex.join(["glorabench", *words])
