"""The `report` command: which records, and where the page goes."""

from __future__ import annotations

import sys
from pathlib import Path

from glorabench.files import write_text
from glorabench.gathered import gathered
from glorabench.report.page import page


def main(suite: str | None, results: Path | None, out: Path | None) -> int:
    """Write the page of a suite, or of all suites, below `results` into `out`.

    Args:
        suite: None: all that have records.
        results: default: results/local, else results.
        out: default: report.html in the results folder.

    Raises:
        BadInput: there are no records, one is corrupt, or the file cannot be written.
    """
    folder, records = gathered(suite, results)
    out = out or folder / "report.html"
    text = page(records)
    write_text(out, text, "give another file with --out")
    print(out, file=sys.stderr)
    return 0
