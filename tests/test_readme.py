"""The first page: short, and every figure of its answer stands on the page that it links to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from glorabench.analysis.cells import NamedGroup
from glorabench.records.record import read_all
from glorabench.reports.tables.suite import answer_sentences

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
ANSWERS = re.findall(
    r"\| (-?\d+\.\d\d) \| (-?\d+\.\d\d) to (-?\d+\.\d\d) \|$", README.partition("## Two")[0], re.MULTILINE
)
PAGES = [(ROOT / "results" / name / "README.md").read_text() for name in ("mini", "glora")]


def test_it_has_five_screens_at_most() -> None:
    assert len(README.splitlines()) <= 150


def test_it_answers_with_figures() -> None:
    assert len(ANSWERS) >= 4


@pytest.mark.parametrize("figures", ANSWERS, ids=lambda figures: figures[0])
def test_each_answer_stands_on_a_page_of_results(figures: tuple[str, str, str]) -> None:
    """A page may compare the two the other way round, which turns the signs."""
    points, low, high = map(float, figures)
    forms = [f"{low:.2f} to {high:.2f}", f"{-high:.2f} to {-low:.2f}"]
    lines = [line for page in PAGES for line in page.splitlines() if any(form in line for form in forms)]
    assert any(f"{abs(points):.2f}" in line for line in lines)


def test_it_shows_the_answer_of_the_committed_quickstart() -> None:
    group = NamedGroup(read_all([ROOT / "results" / "quickstart" / "runs"]))
    assert "```\n" + "\n".join(answer_sentences(group)) + "\n```" in README
