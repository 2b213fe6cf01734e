"""Print the results of a check of data sets, task by task. Light: no torch."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from glorabench.data.checks.inspect import Report
from glorabench.data.suites.suite import Suite, SuiteTask

CHECK_COLUMNS = ("task", "group", "images", "extraction", "status", "fingerprint")


@dataclass(frozen=True)
class TaskCheck:
    """A line of the table: a task, its name in the table, and a report for each variant of its options."""

    row: SuiteTask
    name: str
    reports: tuple[Report, ...]

    @property
    def problems(self) -> list[str]:
        """The problems of all variants, each once."""
        return list(dict.fromkeys(problem for report in self.reports for problem in report.problems))

    @property
    def notes(self) -> list[str]:
        """The notes of the listings and the overlaps of splits, each once."""
        notes = [listing.note for report in self.reports for listing in report.splits.values() if listing.note]
        return list(dict.fromkeys([*notes, *(line for report in self.reports for line in report.overlaps)]))

    @property
    def has_no_folder(self) -> bool:
        """True if the task has no folder."""
        return self.reports[0].has_no_folder

    @property
    def extractions(self) -> list[str]:
        """The extractions of all variants, each once."""
        return list(dict.fromkeys(report.extraction for report in self.reports if report.extraction))

    @property
    def fake(self) -> bool:
        """True if `glorabench data fake` made the images."""
        return any(report.fake for report in self.reports)

    def cells(self) -> tuple[str, ...]:
        """The cells of the line."""
        sizes: dict[str, set[int]] = {}
        for report in self.reports:
            for split, listing in report.splits.items():
                sizes.setdefault(split, set()).add(len(listing))
        spans = {split: dict.fromkeys((min(counts), max(counts))) for split, counts in sizes.items()}
        images = ", ".join(f"{split} {' to '.join(f'{n:,}' for n in span)}" for split, span in spans.items())
        count = len(self.problems)
        status = "missing" if self.has_no_folder else f"{count} problem{'s' * (count > 1)}" if count else "ok"
        has_variants = len(self.reports) > 1
        mark = f"{len(self.reports)} variants" if has_variants else (self.reports[0].fingerprint or "")[:12]
        extraction = " and ".join(self.extractions)
        return self.name, self.row.group, images, extraction, status + ", fake" * self.fake, mark


def print_checks(suite: Suite, checks: Sequence[TaskCheck], root: Path) -> None:
    """Print the results for a suite."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False, markup=False)
    grid = Table(*CHECK_COLUMNS, title=f"{suite.title} in {root}")
    for check in checks:
        grid.add_row(*check.cells())
    console.print(grid)
    for line in (*_wrong(suite, checks, root), *_notes(suite, checks)):
        console.print(line, soft_wrap=True)
    console.print(f"{suite.name}: {sum(not check.problems for check in checks)} of {len(checks)} right", soft_wrap=True)


def _wrong(suite: Suite, checks: Sequence[TaskCheck], root: Path) -> Iterator[str]:
    """One line for each problem, then the missing tasks and how to get them."""
    for check in checks:
        yield from (f"{check.name}: {problem}" for problem in check.problems if not check.has_no_folder)
    if absent := list({check.row.name: check.row for check in checks if check.has_no_folder}.values()):
        places = " or ".join(str(root / inside / "TASK") for inside in suite.inside)
        yield f"missing: {', '.join(row.name for row in absent)}: no folder {places}"
        yield from (f"to get {row.name}: {row.obtain}" for row in absent if row.obtain)
        yield f"to get {suite.title}: {suite.obtain}"


def _notes(suite: Suite, checks: Sequence[TaskCheck]) -> Iterator[str]:
    """Notes: not faults, but useful to know."""
    for check in checks:
        yield from (f"note: {check.name}: {note}" for note in check.notes)
    kinds = {kind: [check.name for check in checks if kind in check.extractions] for kind in ("lossless", "jpeg")}
    if suite.alike and all(kinds.values()):
        fewer = min(kinds, key=lambda kind: len(kinds[kind]))
        yield (
            f"note: only {', '.join(kinds[fewer])} {'are' if len(kinds[fewer]) > 1 else 'is'} {fewer}: accuracies "
            "on the two extractions differ by up to 20 points, so tables refuse to mix them: get all from one archive"
        )
    if any(check.fake for check in checks):
        yield "note: fake data to rehearse with; records of it are marked, and tables refuse them beside others"
