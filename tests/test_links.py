"""Every link of the pages leads somewhere, in the repository and on the site; those elsewhere have the right form.

And pages read the same in both places.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "results/*.md", "results/*/*.md", ".github/**/*.md")
    for path in ROOT.glob(pattern)
)
LINK = re.compile(r"\]\(([^)\s]*)\)")
CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]+`", re.MULTILINE | re.DOTALL)
ADDRESS = re.compile(r"https://[a-z0-9-]+(\.[a-z0-9-]+)+(/\S*)?")


@cache
def text_of(page: str) -> str:
    """A page without its code."""
    return CODE.sub(lambda match: match[0].strip("`") if match[0].count("\n") == 0 else "", read(page))


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@cache
def anchors(page: str) -> set[str]:
    """The anchors of the headings that GitHub and the site have in common."""
    prose = re.sub(r"^(```|~~~).*?^\1", "", read(page), flags=re.MULTILINE | re.DOTALL)
    titles = [title.lower() for title in re.findall(r"^#+ (.+)$", prose, re.MULTILINE)]
    plain = [re.sub(r"[^\w\s-]", "", title).strip() for title in titles]
    return {title.replace(" ", "-") for title in plain} & {re.sub(r"[-\s]+", "-", title) for title in plain}


def problem(page: str, link: str) -> str:
    """What is wrong with a link; nothing where it is right."""
    if re.match(r"\w+:", link):
        return "" if ADDRESS.fullmatch(link) else "is no https address"
    name, _, anchor = link.partition("#")
    target = (ROOT / page).parent / name if name else ROOT / page
    if not target.is_file():
        return "is no file" if not target.is_dir() else "is a folder: link to a file in it"
    if not target.resolve().is_relative_to(ROOT.resolve()):
        return "leaves the repository"
    place = target.resolve().relative_to(ROOT.resolve()).as_posix()
    if anchor and anchor not in anchors(place):
        return f"has no heading '{anchor}'"
    return ""


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    links = LINK.findall(text_of(page))
    faults = {link: reason for link in links if (reason := problem(page, link))}
    assert not faults


def test_the_pages_and_their_links_are_seen() -> None:
    assert {"README.md", "CONTRIBUTING.md", "docs/tables.md", "results/mini/README.md"} <= set(PAGES)
    assert sum(len(LINK.findall(text_of(page))) for page in PAGES) > 120


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        ("tables.md", ""),
        ("tables.md#verdicts", ""),
        ("https://arxiv.org/abs/2306.07967", ""),
        ("../docs/nowhere.md", "is no file"),
        ("../docs", "is a folder: link to a file in it"),
        ("tables.md#nowhere", "has no heading 'nowhere'"),
        ("#nowhere", "has no heading 'nowhere'"),
        ("../../elsewhere.md", "is no file"),
        ("http://example.org", "is no https address"),
        ("https://nowhere", "is no https address"),
    ],
)
def test_a_wrong_link_is_seen(link: str, reason: str) -> None:
    assert problem("docs/cost.md", link) == reason


@pytest.mark.parametrize("page", PAGES)
def test_a_list_stands_apart_from_the_text_before_it(page: str) -> None:
    """Otherwise the site shows its items as one paragraph."""
    lines = re.sub(r"^(```|~~~).*?^\1", "", read(page), flags=re.MULTILINE | re.DOTALL).splitlines()
    glued = []
    for before, line in pairwise(lines):
        starts = re.match(r"([-*]|\d+\.) ", line) and before and not re.match(r"\s|[-*] |\d+\. |<!--|---$", before)
        glued += [line] if starts else []
    assert not glued


def test_the_index_names_every_page_of_docs() -> None:
    index = set(LINK.findall(text_of("docs/README.md")))
    assert {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"} <= index
