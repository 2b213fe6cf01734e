"""The commands that write pages or send records on: `page`, `report`, `push`."""

from __future__ import annotations

import sys
from pathlib import Path

from glorabench.errors import BadInput
from glorabench.files import check_writable, write_text
from glorabench.records import record
from glorabench.records.record import Record
from glorabench.records.store import gathered
from glorabench.reports.claims import rendered, spec
from glorabench.reports.html.report import pages
from glorabench.reports.wandb_push import Target, offline_folder, push_records


def page(name: str, results: Path | None, out: Path | None) -> int:
    """The `page` command: README.md, and curves.svg with curves.csv if the page has curves, in the folder `out`.

    Args:
        name: of a file of conf/page/.
        results: folder of the records (default: results/NAME).
        out: default: `results`.

    Raises:
        BadInput: no such page, records that it needs are missing, a README.md is in the way, or the folder cannot be
            written.
    """
    folder = results or Path("results") / name
    out = out or folder
    mark = f"<!-- written by `glorabench page {name}`: change conf/page/{name}.yaml or the records, not this file -->\n"
    readme = out / "README.md"
    if readme.exists() and not _is_own(readme):
        raise BadInput(f"{readme} was written by hand: give another folder with --out, or remove it")
    files = rendered(spec(name), _records(folder))
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


def _records(folder: Path) -> list[Record]:
    if not (folder / "runs").is_dir():
        raise BadInput(f"no records below {folder / 'runs'}: make them with `glorabench run`, or give --results FOLDER")
    return record.read_all([folder / "runs"])


def report(suite: str | None, results: Path | None, out: Path | None) -> int:
    """Write the page of a suite, or of all suites, below `results` into `out`; of many runs, their cards beside it.

    Args:
        suite: None: all that have records.
        results: default: results/local, else results.
        out: default: report.html in the results folder.

    Raises:
        BadInput: there are no records, one is corrupt, or the file cannot be written.
    """
    folder, records = gathered(suite, results)
    out = out or folder / "report.html"
    beside = out.with_name(f"{out.stem}-runs{out.suffix}")
    whole, runs = pages(records, beside.name)
    for path, text in ((out, whole), (beside, runs)):
        if text is not None:
            write_text(path, text, "give another file with --out")
            print(path, file=sys.stderr)
    return 0


def push(
    suite: str | None, results: Path | None, project: str, entity: str | None, mode: str, again: bool = False
) -> int:
    """The `push` command.

    Args:
        suite: None is every suite of the folder.
        results: folder of the records; None is the first of results/local and results that has any.
        project, entity, mode: see `Target`.
        again: also what was pushed before.

    Raises:
        BadInput: there are no records, or W&B cannot be reached or refuses.
    """
    folder, records = gathered(suite, results)
    target = Target(project, entity, mode)
    sent, total = push_records(folder, records, target, again)
    where = "online" if mode == "online" else f"offline, in {offline_folder(folder, target) / 'wandb'}"
    print(f"{sent} of {total} runs pushed to {target.place} ({where}); the others were there already")
    return 0
