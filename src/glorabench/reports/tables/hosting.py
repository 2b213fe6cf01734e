"""The tables of `glorabench backbone`: layers and methods of one network, or families of networks and methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from glorabench.analysis.hosting import Hosting, model_of_words, reasons_of_families
from glorabench.reports.rendering import Part

LAYER_COLUMNS = ("layer", "count", "kind", "weights", "roles")
METHOD_COLUMNS = ("method", "parameters", "merges", "why it does not fit")
FAMILY_COLUMNS = ("family", "a model", "fit", "what does not fit, with the number of the reason")


def layers_part(title: str, lines: Sequence[Sequence[str]]) -> Part:
    """The table of layers and roles."""
    return Part(title, LAYER_COLUMNS, lines)


def methods_part(hostings: Sequence[Hosting]) -> Part:
    """The table of methods on one network."""
    merges = {True: "yes", False: "no", None: "nothing to merge"}
    rows = [
        (h.method, "", "", h.reason) if h.reason else (h.method, f"{h.size:,}", merges[h.merges], "") for h in hostings
    ]
    count = sum(not hosting.reason for hosting in hostings)
    return Part(f"{count} of {len(hostings)} methods fit, with the values of conf/method", METHOD_COLUMNS, rows)


def families_part(families: Mapping[str, Sequence[str]], hostings: Mapping[str, Sequence[Hosting]]) -> Part:
    """The table of families, with the reasons below it."""
    refusals, reasons = reasons_of_families(families, hostings)
    rows = []
    for family, words in families.items():
        total, pairs = len(hostings[family]), refusals[family]
        names = ", ".join(f"{method} ({number})" for method, number in pairs)
        rows.append((family, model_of_words(words), f"{total - len(pairs)} of {total}", names))
    findings = [f"({number}) {reason}" for number, reason in enumerate(reasons, 1)]
    return Part("What fits, with the values of conf/method", FAMILY_COLUMNS, rows, findings)
