"""The commands that write pages or send records on: `page`, `report`, `figure`, `push`. Light until called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from glorabench.cli.options import AnySuite, Conditions, Results, SuiteName
from glorabench.errors import BadInput


def page(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A file of conf/page/.")],
    results: Annotated[
        Path | None, typer.Option("--results", metavar="FOLDER", help="Folder of the records (default: results/NAME).")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="Folder of the page (default: that of the records)."),
    ] = None,
) -> int:
    """Write the results page conf/page/NAME.yaml from records.

    It is README.md, and curves.svg with curves.csv if the page has curves.

    Raises:
        BadInput: no such page, records that it needs are missing, a README.md is in the way, or the folder cannot be
            written.
    """
    from glorabench.files import check_writable, write_text
    from glorabench.records import record
    from glorabench.reports.claims import page_spec, render_page

    folder = results or Path("results") / name
    out = out or folder
    mark = f"<!-- written by `glorabench page {name}`: change conf/page/{name}.yaml or the records, not this file -->\n"
    readme = out / "README.md"
    if readme.exists() and not _is_own(readme):
        raise BadInput(f"{readme} was written by hand: give another folder with --out, or remove it")
    page = page_spec(name)
    if not (folder / "runs").is_dir():
        raise BadInput(f"no records below {folder / 'runs'}: make them with `glorabench run`, or give --results FOLDER")
    files = render_page(page, record.read_all([folder / "runs"]))
    check_writable(out, "give another folder with --out")
    for file, text in files.items():
        write_text(out / file, mark + text if file == readme.name else text, "give another folder with --out")
        print(out / file, file=sys.stderr)
    return 0


def _is_own(readme: Path) -> bool:
    try:
        return readme.read_text(encoding="utf-8").startswith("<!-- written by `glorabench page ")
    except (OSError, UnicodeDecodeError):
        return False


def report(
    suite: AnySuite = None,
    results: Results = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The file (default: report.html in the results folder)."),
    ] = None,
) -> int:
    """Write one HTML page of all records: tables, figures, runs.

    Each run has a card. Of many runs the cards stand in a second page beside the first. docs/report.md says more.

    Raises:
        BadInput: there are no records, one is corrupt, or the file cannot be written.
    """
    from glorabench.files import write_text
    from glorabench.records.store import load_suite
    from glorabench.reports.html.report import report_pages

    folder, records = load_suite(suite, results)
    out = out or folder / "report.html"
    runs_page = out.with_name(f"{out.stem}-runs{out.suffix}")
    whole, runs = report_pages(records, runs_page.name)
    for path, text in ((out, whole), (runs_page, runs)):
        if text is not None:
            write_text(path, text, "give another file with --out")
            print(path, file=sys.stderr)
    return 0


def figure(
    suite: SuiteName = "mini",
    conditions: Conditions = None,
    results: Results = None,
    kind: Annotated[
        Literal["front", "ranking", "tasks"], typer.Option("--kind", help="Score against parameters, means, or tasks.")
    ] = "front",
    form: Annotated[Literal["pdf", "svg", "png"], typer.Option("--format", help="The kind of file.")] = "pdf",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The file (default: SUITE-KIND.FORMAT here).")
    ] = None,
    width: Annotated[float, typer.Option("--width", metavar="INCHES", help="The width, from 2 to 20 inches.")] = 5.5,
) -> int:
    """Draw a figure for a paper from records.

    Examples:
        glorabench figure mini --kind front --format pdf --out front.pdf
        glorabench figure mini method=lora,glora --kind tasks --format svg --width 6.9

    Raises:
        BadInput: there are no records, they are of several protocols, or the file cannot be written.
    """
    from glorabench.analysis.cells import named_groups_of
    from glorabench.files import safe_name, whole_file
    from glorabench.records import filters
    from glorabench.records.store import load_suite
    from glorabench.reports.figures.paper import paper_figure

    if not 2 <= width <= 20:
        raise BadInput(f"--width {width:g}: give 2 to 20 inches")
    words = conditions or []
    if "=" in suite:  # the suite may be left out
        suite, words = "mini", [suite, *words]
    records = filters.filter_records(load_suite(suite, results)[1], filters.parse_conditions(words))
    filters.one_protocol(records)
    groups = named_groups_of(records)
    if len(groups) > 1:
        raise BadInput(f"the records of '{suite}' make {len(groups)} tables: choose one by KEY=VALUE, as in `table`")
    path = out or Path(f"{safe_name(suite)}-{kind}.{form}")
    image = paper_figure(groups[0], kind, form, width)
    with whole_file(path, "give another file with --out") as draft:
        draft.write_bytes(image)
    print(path, file=sys.stderr)
    return 0


def push(
    suite: AnySuite = None,
    results: Results = None,
    project: Annotated[str, typer.Option("--project", metavar="NAME", help="The project in W&B.")] = "glorabench",
    entity: Annotated[
        str | None, typer.Option("--entity", metavar="NAME", help="Team or user (default: that of the login).")
    ] = None,
    mode: Annotated[Literal["offline", "online"], typer.Option("--mode", help="Where the runs go.")] = "offline",
    again: Annotated[bool, typer.Option("--again", help="Push also what was pushed before.")] = False,
) -> int:
    """Replay records into W&B, each once.

    Examples:
        glorabench push                                     every record below results/local or results, offline
        glorabench push mini --results results --mode online --entity my-team
        wandb sync results/wandb/pushed/glorabench/wandb/offline-run-*      sends what was pushed offline

    Raises:
        BadInput: there are no records, or W&B cannot be reached or refuses.
    """
    from glorabench.records.store import load_suite
    from glorabench.reports.wandb_push import Target, offline_folder, push_records

    folder, records = load_suite(suite, results)
    target = Target(project, entity, mode)
    count, total = push_records(folder, records, target, again)
    place = "online" if mode == "online" else f"offline, in {offline_folder(folder, target) / 'wandb'}"
    print(f"{count} of {total} runs pushed to {target.place} ({place}); the others were there already")
    return 0
