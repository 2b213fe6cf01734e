"""Forms: nothing that a name holds breaks LaTeX, HTML or Markdown, and signs survive."""

from __future__ import annotations

import html.parser

import pytest

from glorabench.analysis.cells import groups_of
from glorabench.reports import latex, rendering
from glorabench.reports.rendering import Part
from glorabench.reports.tables import suite
from test_long_table import made

NASTY = "a_b & 50% <i>$x$</i> {#} \\cmd [chosen on test] ~^ | ±"
PART = Part(NASTY, ["method", "top-1"], [[NASTY, "69.4* ±1.2"], ["[x]", "68.0="]], [NASTY], NASTY)


class Reader(html.parser.HTMLParser):
    """Cells and tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_html_holds_the_text_and_no_tag_of_it() -> None:
    reader = Reader()
    reader.feed(rendering.html_page([PART]))
    assert reader.text.count(NASTY) == 5  # title, caption, cell, note, line
    assert "i" not in reader.tags
    assert reader.tags.count("td") == 4
    assert "69.4* ±1.2" in reader.text


def test_tex_escapes_and_keeps_signs() -> None:
    text = latex.part_tex(PART)
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    assert r"a\_b \& 50\% \textless{}i\textgreater{}\$x\$\textless{}/i\textgreater{} \{\#\} \textbackslash{}cmd" in body
    assert r"69.4$^{*}$ $\pm$1.2 \\" in body
    assert r"68.0$^{=}$ \\" in body
    assert body.count("&") == 2 + 1  # a column each, and the one of the name
    assert r"\begin{tabular}{lr}" in text
    assert "\n[" not in text  # would be an argument of the line before


def test_tex_names_its_packages_and_has_labels_and_the_best_in_bold() -> None:
    text = latex.tex_tables([PART, PART], "mini", bold=True)
    assert text.startswith("% The preamble needs:\n%   \\usepackage{booktabs}\n%   \\usepackage{adjustbox}\n")
    assert [line for line in text.splitlines() if "label" in line] == [r"\label{tab:mini}", r"\label{tab:mini-2}"]
    assert r"\textbf{69.4} $\pm$1.2 \\" in text
    assert r"68.0$^{=}$ \\" in text
    assert latex.label_name("a_b c/d", 1) == "a-b-c-d"
    assert "textbf" not in latex.tex_tables([PART], "mini")


def test_tex_of_a_table_is_balanced() -> None:
    records = [made(m, seed=s, right=r) for m, r in (("lora", 180), ("full", 100)) for s in (0, 1)]
    text = "".join(map(latex.part_tex, suite.suite_parts(groups_of(records))))
    for name in ("table*", "tabular", "adjustbox", "itemize"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") == 1
    bare = text.replace(r"\{", "").replace(r"\}", "")
    assert bare.count("{") == bare.count("}")
    assert "best" in text


@pytest.mark.parametrize("form", ["md", "tex", "html"])
def test_what_was_chosen_on_test_is_marked_in_every_form(form: str) -> None:
    parts = suite.suite_parts(groups_of([made("glora", search="evolution", on="test"), made()]))
    text = (
        {"md": rendering.part_markdown, "tex": latex.part_tex}[form](parts[0])
        if form != "html"
        else rendering.html_page(parts)
    )
    assert "chosen on test" in text
