"""Which methods fit which families of networks (conf/families.yaml), and the reasons why some do not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import yaml

from glorabench.config.paths import conf_dir


@dataclass(frozen=True)
class Hosting:
    """One method on one backbone, with the values of conf/method.

    Args:
        method: its name in conf/method.
        size: its trained parameters without head, of all paths of a supernet; None where it does not fit.
        reason: why it does not fit; empty where it does.
        merges: whether it can be merged; None where there is nothing to merge.
    """

    method: str
    size: int | None
    reason: str
    merges: bool | None = None


def load_families() -> dict[str, list[str]]:
    """The words that choose a backbone of each family."""
    text = (conf_dir() / "families.yaml").read_text(encoding="utf-8")
    return {str(name): list(words) for name, words in yaml.safe_load(text).items()}


def model_of_words(words: Iterable[str]) -> str:
    """The model that the words of a family choose."""
    return dict(word.split("=", 1) for word in words)["backbone.model"]


def shared_reason(reason: str, model: str) -> str:
    """A reason without what is of one network alone: its name, its class, numbers of blocks, widths."""
    reason = re.sub(rf", a \w+(?=:)|; those of {re.escape(model)} have widths \[[\d, ]+\]", "", reason)
    reason = re.sub(r"^method.targets: |: choose of what it has with .*", "", reason)
    reason = reason.replace(f"backbone {model}", "the network").replace(model, "the network")
    reason = re.sub(r"(?:\w+\.)*\d+\.(?=[a-z])", "", reason)
    return re.sub(
        r"FacT cuts weights into .* slices; (.*) is \d+ x \d+",
        r"FacT cuts weights into squares; \1 is no row of them",
        reason,
    )


def reasons_of_families(
    families: Mapping[str, Sequence[str]], hostings: Mapping[str, Sequence[Hosting]]
) -> tuple[dict[str, list[tuple[str, int]]], list[str]]:
    """The methods that each family cannot host, each with the number of its reason; and the reasons, numbered from 1.

    Args:
        families: see `load_families`.
        hostings: of each family, every method.
    """
    reasons: list[str] = []
    refusals: dict[str, list[tuple[str, int]]] = {}
    for family, words in families.items():
        model, refusals[family] = model_of_words(words), []
        for hosting in hostings[family]:
            if not hosting.reason:
                continue
            reason = shared_reason(hosting.reason, model)
            if reason not in reasons:
                reasons.append(reason)
            refusals[family].append((hosting.method, reasons.index(reason) + 1))
    return refusals, reasons
