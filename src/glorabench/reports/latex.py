"""Render tables as LaTeX."""

from __future__ import annotations

import re
from collections.abc import Sequence

from glorabench.reports.rendering import WORD_COLUMNS, Part

PACKAGES = ("booktabs", "adjustbox")
_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "±": r"$\pm$", "[": "{[}", "]": "{]}", '"': "''", "`": "'",
}  # fmt: skip
_BEST = re.compile(r"^(\S+?)\*")  # a value with the sign of the best


def tex_tables(parts: Sequence[Part], name: str, bold: bool = False) -> str:
    """Render tables one after the other, below a comment that names the packages.

    Args:
        parts: the tables.
        name: of the tables, for their labels `tab:NAME`, `tab:NAME-2` and so on.
        bold: print values that are best in bold.
    """
    packages = "".join(rf"%   \usepackage{{{package}}}" + "\n" for package in PACKAGES)
    tables = (part_tex(part, label_name(name, i), bold) for i, part in enumerate(parts, start=1))
    return f"% The preamble needs:\n{packages}" + "\n".join(tables)


def label_name(name: str, number: int) -> str:
    """A label that \\ref takes: letters, digits and hyphens."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") or "table"
    return plain if number == 1 else f"{plain}-{number}"


def part_tex(part: Part, label: str = "table", bold: bool = False) -> str:
    """Render a table as LaTeX, for the packages booktabs and adjustbox."""
    columns = "".join("l" if name in WORD_COLUMNS else "r" for name in part.head)
    rows = [" & ".join(_cell(text, bold) for text in row) + r" \\" for row in part.body]
    items = [rf"\item {_tex(line)}" for line in part.findings]
    return "\n".join([
        r"\begin{table*}",
        rf"\caption{{{_tex(part.title)}}}",
        rf"\label{{tab:{label}}}",
        r"\begin{adjustbox}{max width=\textwidth}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(_tex, part.head)) + r" \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{adjustbox}",
        *([r"\par\footnotesize " + _tex(part.notes)] if part.notes else []),
        r"\end{table*}",
        # outside the float: published tables have more lines than a page
        *([r"\begin{itemize}\footnotesize", *items, r"\end{itemize}"] if items else []),
        "",
    ])  # fmt: skip


def _cell(text: str, bold: bool) -> str:
    match = _BEST.match(text) if bold else None
    if match is None:
        return _tex(text)
    return rf"\textbf{{{_tex(match[1])}}}{_tex(text[match.end() :])}"


def _tex(text: str) -> str:
    return re.sub(r"(?<=\d)([*=])(?= |$)", r"$^{\1}$", "".join(_TEX.get(letter, letter) for letter in text))
