"""The `report` command: which records, and where the page goes."""

from __future__ import annotations

import sys
from pathlib import Path

from glorabench import files
from glorabench.gathered import gathered
from glorabench.report.page import pages


def main(suite: str | None, results: Path | None, out: Path | None) -> int:
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
            files.write_text(path, text, "give another file with --out")
            print(path, file=sys.stderr)
    return 0
